"""Where a recording's electrodes sit, as MNE and the BIDS tables want it.

Owns the choice between positions that the recording brings and those of a template, and the
sentence that says which. Knows nothing of files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from devices.continuous import Continuous
from pipeline.electrodes import canonical_name

TEMPLATE: Final = (
    "Positions of the electrodes' names in MNE's template (Colin 27, 10-05 system): not measured "
    "on this head."
)
SIMULATED: Final = (
    "Positions of the electrodes' names in MNE's template (Colin 27, 10-05 system): the simulated "
    "head has its electrodes there."
)
RECORDED: Final = "Positions as the recording brings them; it does not say how they were measured."
_LANDMARKS: Final = ("nasion", "lpa", "rpa")


def place_electrodes(raw: Any, recording: Continuous) -> str:
    """Set the positions of a `Raw`; return the sentence that says whose they are.

    Empty, and nothing set, where no EEG channel has a known place.
    """
    import mne

    names = [
        name
        for name, kind in zip(recording.ch_names, recording.ch_types, strict=True)
        if kind == "eeg"
    ]
    # MNE 1.13 gave the template its head's name.
    known_to_mne = mne.channels.get_builtin_montages()
    which = next(name for name in ("colin27_1005", "standard_1005") if name in known_to_mne)
    template = mne.channels.make_standard_montage(which)
    known = template.get_positions()
    if recording.positions:
        places: Mapping[str, Any] = {
            name: recording.positions[name] for name in names if name in recording.positions
        }
        # MNE-BIDS wants landmarks: the recording's frame is the head's, the template's are put
        # into it.
        said, frame = RECORDED, "head"
        marks = _landmarks_in_head(template)
    else:
        spelt = {name: canonical_name(name) for name in names}
        places = {
            name: known["ch_pos"][spelling]
            for name, spelling in spelt.items()
            if spelling is not None and spelling in known["ch_pos"]
        }
        said, frame = (SIMULATED if recording.is_simulated else TEMPLATE), known["coord_frame"]
        marks = {key: known[key] for key in _LANDMARKS}
    if not places:
        return ""
    nowhere = [math.nan] * 3
    placed = {name: places.get(name, nowhere) for name in names}
    montage = mne.channels.make_dig_montage(placed, coord_frame=frame, **marks)
    raw.set_montage(montage, on_missing="ignore", verbose="ERROR")
    return said


def _landmarks_in_head(template: Any) -> dict[str, Any]:
    import mne

    native_to_head = mne.channels.compute_native_head_t(template)
    positions = template.get_positions()
    return {key: mne.transforms.apply_trans(native_to_head, positions[key]) for key in _LANDMARKS}
