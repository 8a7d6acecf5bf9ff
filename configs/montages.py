"""Electrodes by board and by cap, in the order of the channels: what the makers document.

Owns the labels that more than one package names: bridges and readers, the virtual headset, the
window, training. Positions follow from the labels (`pipeline.electrodes`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

AVERAGE: Final = "average"
"""The word for a reference that is the mean of the channels."""

CYTON: Final = ("Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2")
DAISY: Final = (*CYTON, "F7", "F8", "F3", "F4", "T7", "T8", "P3", "P4")
GANGLION: Final = ("Fp1", "Fp2", "O1", "O2")
MUSE: Final = ("TP9", "AF7", "AF8", "TP10")
_SYNTHETIC = "Fz C3 Cz C4 Pz PO7 Oz PO8 F5 F7 F3 F1 F2 F4 F6 F8"
SYNTHETIC: Final = tuple(_SYNTHETIC.split())
"""BrainFlow's synthetic board."""
_CAP32 = (
    "Fp1 Fp2 AF3 AF4 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz "
    "C4 T8 CP5 CP1 CP2 CP6 P7 P3 Pz P4 P8 PO3 PO4 O1 Oz O2"
)
CAP32: Final = tuple(_CAP32.split())
_CAP63 = (
    "Fp1 Fp2 AF7 AF3 AFz AF4 AF8 F7 F5 F3 F1 F2 F4 F6 F8 FT9 FT7 FC5 FC3 FC1 FCz "
    "FC2 FC4 FC6 FT8 FT10 T7 C5 C3 C1 Cz C2 C4 C6 T8 TP9 TP7 CP5 CP3 CP1 CPz CP2 "
    "CP4 CP6 TP8 TP10 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2"
)
CAP63: Final = tuple(_CAP63.split())
"""A 63-channel 10-10 cap against Fz: that of THINGS-EEG2, in the order of the published models."""

TYPED: Final[Mapping[str, tuple[str, ...]]] = {
    "cyton": CYTON,
    "daisy": DAISY,
    "cyton-daisy": DAISY,
}
"""What `--montage` takes by name."""
OFFERED: Final[Mapping[str, tuple[str, ...]]] = {
    "OpenBCI Cyton (8)": CYTON,
    "OpenBCI Cyton + Daisy (16)": DAISY,
    "OpenBCI Ganglion (4)": GANGLION,
    "Muse (4)": MUSE,
}
"""What the window offers for a stream that names no electrode."""
