"""Makes the tables that the virtual brain ships with: `python -m research.virtual_brain.tables`.

Owns the recipe of `pipeline/electrodes.json` (directions of the 10-05 template) and of
`pipeline/virtual_brain/leadfield.safetensors` (every dipole at every electrode). Not needed at run
time; a test computes some rows anew and compares.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import pipeline
from pipeline.values import Float64

_PIPELINE = Path(pipeline.__file__).parent


def template_directions() -> dict[str, list[float]]:
    """Return unit vectors of MNE's 10-05 template from the centre of its best sphere."""
    import mne

    names = mne.channels.get_builtin_montages()
    kind = "colin27_1005" if "colin27_1005" in names else "standard_1005"
    montage = mne.channels.make_standard_montage(kind)
    info = mne.create_info(montage.ch_names, 250.0, "eeg")
    info.set_montage(montage)
    points = np.array([ch["loc"][:3] for ch in info["chs"]])
    directions = points - _symmetric_centre(points)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return {
        name: [round(float(x), 5) for x in row]
        for name, row in zip(montage.ch_names, directions, strict=True)
    }


def _symmetric_centre(points: Float64) -> Float64:
    """Least-squares centre of a sphere through `points`, put on the midline."""
    design = np.c_[2 * points, np.ones(len(points))]
    centre = np.linalg.lstsq(design, (points**2).sum(axis=1), rcond=None)[0][:3]
    centre[0] = 0.0
    return np.asarray(centre, dtype=np.float64)


def main() -> None:
    """Write both tables."""
    text = json.dumps(template_directions(), separators=(",", ":")).replace("],", "],\n")
    (_PIPELINE / "electrodes.json").write_text(text + "\n", encoding="utf-8")

    from devices.virtual.forward import free_leadfield
    from pipeline.electrodes import electrode_names
    from pipeline.virtual_brain.sources import source_positions

    # safetensors writes the buffer as it lies: it must be contiguous
    table = np.ascontiguousarray(
        free_leadfield(electrode_names(), source_positions()), dtype=np.float16
    )
    save_file(
        {"leadfield": table},
        str(_PIPELINE / "virtual_brain" / "leadfield.safetensors"),
        metadata={"unit": "uV per nAm", "axes": "electrode, source, xyz"},
    )


if __name__ == "__main__":
    main()
