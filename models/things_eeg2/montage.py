"""Channels and rates of THINGS-EEG2 (Gifford et al., NeuroImage 2022).

Owns facts only: 63 channels in the order that the published models expect.
"""

from __future__ import annotations

_ORDER = """
Fp1 Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 F2 F4 F6 F8 FT9 FT7 FC5 FC3 FC1 FCz FC2 FC4 FC6 FT8 FT10
T7 C5 C3 C1 Cz C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 CP4 CP6 TP8 TP10
P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2
"""
CH_NAMES: tuple[str, ...] = tuple(_ORDER.split())
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
