"""Recordings as BIDS data sets: BrainVision with its sidecars, by MNE-BIDS.

Owns what a data set says of a recording: who made it, where the electrodes sit, what the events
mean. Knows nothing of session folders or galleries: what was shown comes as names and bytes.
"""
