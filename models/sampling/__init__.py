"""Draws samples from diffusion models: every system's one way from noise to a clean sample.

`denoisers` makes any network answer one question, `schedules` says at which noise levels it is
asked, `solvers` step from level to level (`watching` looks on), `noise` draws by seed, `pictures`
leaves torch. See
docs/models/sampling.md.
"""
