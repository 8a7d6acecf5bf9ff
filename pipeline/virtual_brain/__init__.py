"""The virtual brain: dipoles, noise and evoked responses as pure, seeded functions.

Owns the physics that the virtual headset streams and that encoders are trained on. Knows nothing
of LSL, MNE, clocks or torch.

Imported part by part: who wants the head alone does not wait for SciPy's filters.
"""
