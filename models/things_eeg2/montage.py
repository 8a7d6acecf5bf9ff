"""Channels and rates of THINGS-EEG2 (Gifford et al., NeuroImage 2022).

Owns facts only: 63 channels in the order that the published models expect.
"""

from __future__ import annotations

from configs.montages import CAP63

CH_NAMES: tuple[str, ...] = CAP63
POSTERIOR: tuple[str, ...] = CH_NAMES[CH_NAMES.index("P7") :]
"""The 17 occipital and parietal channels of the original release. Systems that moved from about
28 % to about 60 % of 200-way top-1 use these instead of 63 (recurring setting, not a controlled
study: NeuroBridge 63.2, UBP 50.9)."""

SFREQ = 250.0
"""Hz, after preprocessing; recorded at 1000."""
TMIN, TMAX = 0.0, 1.0
"""What the models see, s from onset: 250 samples."""
SEED = 20200220
"""Of every shuffle in the published preprocessing."""
TARGET_EVENT = 99999
"""Code of the catch target, which is dropped."""
