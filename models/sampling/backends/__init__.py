"""What runs a sampler's networks: torch itself, or an engine that another library built of them.

`base` says what a back-end is, each has a module of its own, `choice` picks one for a machine,
`engines` builds, checks and loads, `cache` keeps what was built. See docs/models/sampling.md.
"""
