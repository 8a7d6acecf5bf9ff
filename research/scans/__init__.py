"""The decoders of fMRI on one simulated person after another: one table."""
