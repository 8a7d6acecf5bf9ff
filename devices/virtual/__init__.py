"""The virtual headset: MNE's forward model around `pipeline.virtual_brain`, published over LSL.

Owns the simulated amplifier as product code, for the demo, for tests and for training people.
"""
