"""BOLD5000 as MinD-Vis reads it: GLMsingle responses by region, lists of what was shown, pictures.

Owns the structure of the folder `BOLD5000`. Chang et al., Scientific Data 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from configs.arrays import array_errors
from configs.guard import open_file, read_text
from models.mind_vis.data import PATCH_SIZE, Faults, Part, Pictures, Responses, fit, join
from models.things_eeg2.errors import ThingsError
from models.things_eeg2.tables import read_table
from models.training.errors import DatasetError
from pipeline.values import Float64

REGIONS = ("EarlyVis", "LOC", "OPA", "PPA", "RSC")
"""In the order in which their voxels stand."""
RESPONSES = "BOLD5000_GLMsingle_ROI_betas/py"
STIMULI = "BOLD5000_Stimuli"
REPEATED = "repeated_stimuli_113_list.txt"
_AGAIN = "rep_"
"""Prefix of a picture's name where it is shown again."""
_KINDS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")


def load_bold5000(
    folder: Path,
    *,
    subjects: Sequence[str],
    faults: Faults = Faults(),  # noqa: B008 - frozen
    single_trials: bool = False,
    patch_size: int = PATCH_SIZE,
) -> Responses:
    """Read people's responses and what they saw; the repeated pictures are the test, meaned.

    Parameters
    ----------
    folder : Path
        `BOLD5000`.
    subjects : sequence of str
        `CSI1` to `CSI4`.
    faults : Faults
        Of the published code, to repeat.
    single_trials : bool
        Append the single trials of the test part to its means.
    patch_size : int
        What rows are padded to multiples of.

    Raises
    ------
    DatasetError
        A file is missing or of another structure.
    """
    images = _open_pictures(folder / STIMULI)
    repeated = _repeated(folder / STIMULI)
    return join(
        [
            _person(
                folder,
                name,
                images,
                repeated,
                faults=faults,
                single_trials=single_trials,
                patch_size=patch_size,
            )
            for name in subjects
        ]
    )


def load_bold5000_signals(
    folder: Path,
    *,
    subjects: Sequence[str],
    faults: Faults = Faults(),  # noqa: B008 - frozen
    patch_size: int = PATCH_SIZE,
) -> list[Float64]:
    """Training responses alone, one matrix a person: what is pre-trained on (no test part)."""
    repeated = _repeated(folder / STIMULI)
    people = [
        _person(
            folder,
            name,
            _NoPictures(),
            repeated,
            faults=faults,
            single_trials=False,
            patch_size=patch_size,
        )
        for name in subjects
    ]
    return [person.train.voxels for person in people]


def _person(
    folder: Path,
    subject: str,
    images: Pictures,
    repeated: Sequence[str],
    *,
    faults: Faults,
    single_trials: bool,
    patch_size: int,
) -> Responses:
    voxels = _voxels(folder / RESPONSES, subject)
    shown = shown_pictures(folder / STIMULI, subject)
    if len(shown) != len(voxels):
        raise DatasetError(
            f"{subject} has {len(voxels)} responses and was shown {len(shown)} pictures, expected "
            "as many: a session's list or a region's file is missing."
        )
    rows = {name: [i for i, seen in enumerate(shown) if seen == name] for name in repeated}
    rows = {name: at for name, at in rows.items() if at}
    tested = [i for at in rows.values() for i in at]
    if not tested:
        raise DatasetError(
            f"{subject} was shown no picture of {REPEATED}: the list is of other names."
        )
    rest = sorted(set(range(len(shown))) - set(tested))
    train, every, scale = fit(voxels[rest], voxels, faults, patch_size=patch_size, joint=voxels)
    test = np.stack([every[at].mean(axis=0) for at in rows.values()])
    names = list(rows)
    if single_trials:
        test = np.concatenate([test, every[tested]])
        names += [shown[i] for i in tested]
    return Responses(
        train=Part(train, tuple(shown[i] for i in rest)),
        test=Part(test, tuple(names)),
        images=images,
        n_voxels=voxels.shape[1],
        scale=scale,
    )


def shown_pictures(folder: Path, subject: str) -> list[str]:
    """Names of the pictures in the order in which they were shown, repeats under their own name."""
    root = folder / "Stimuli_Presentation_Lists" / subject
    paths = sorted(root.glob("*/*.txt"))
    try:
        names = [line.strip() for path in paths for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        raise DatasetError(f"{root}: a list cannot be read ({error}).") from None
    if not paths:
        raise DatasetError(
            f"{root} holds no list, expected SESSION/RUN.txt with a picture's name a line."
        )
    return [name.removeprefix(_AGAIN) for name in names if name]


def _voxels(folder: Path, subject: str) -> Float64:
    files = sorted(folder.glob(f"{subject}_*.npy"))
    parts = []
    for region in REGIONS:
        # Left before right: the names' own order.
        found = [path for path in files if path.stem.endswith(region)]
        if not found:
            raise DatasetError(
                f"{folder} has no {region} of {subject}, expected "
                f"{subject}_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses_LH{region}.npy and RH."
            )
        parts += [_region(path) for path in found]
    if len({len(part) for part in parts}) > 1:
        raise DatasetError(
            f"{folder}: the regions of {subject} have {sorted({len(p) for p in parts})} rows, "
            "expected as many in each."
        )
    return np.concatenate(parts, axis=1)


def _region(path: Path) -> Float64:
    try:
        with open_file(path) as stream, array_errors():
            found = np.load(stream, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is not an array ({error}): get it again.") from None
    if found.ndim != 2 or not np.issubdtype(found.dtype, np.number):
        raise DatasetError(
            f"{path} is {found.dtype} of shape {found.shape}, expected numbers (n, n_voxels)."
        )
    return np.asarray(found, dtype=np.float64)


def _repeated(folder: Path) -> list[str]:
    for place in (folder / "Scene_Stimuli" / REPEATED, folder / "Image_Labels" / REPEATED):
        if place.is_file():
            return [name for line in read_text(place).splitlines() if (name := line.strip())]
    raise DatasetError(
        f"{folder} has no {REPEATED}, expected it in Scene_Stimuli or Image_Labels: a repeated "
        "picture's name a line."
    )


def _open_pictures(folder: Path) -> Pictures:
    root = folder / "Scene_Stimuli" / "Presented_Stimuli"
    table = root / "img_dict.npy"
    return _Table(table) if table.is_file() else _Folder(root)


class _NoPictures:
    """Where only signals are asked for."""

    def open(self, name: str) -> Image.Image:
        raise DatasetError(f"the picture {name} is not read for signals alone.")


class _Table:
    """Pictures of `img_dict.npy`: (height, width, 3) by name, 8-bit or 0 to 1."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._table = read_table(path)
        except ThingsError as error:
            raise DatasetError(str(error)) from None

    def open(self, name: str) -> Image.Image:
        pixels = self._table.get(name)
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise DatasetError(
                f"{self._path} has no picture {name!r}, expected (height, width, 3) under the name "
                "that the lists of what was shown say."
            )
        scaled = 255 * pixels if pixels.dtype.kind == "f" and pixels.max() <= 1 else pixels
        return Image.fromarray(np.asarray(scaled).round().astype(np.uint8))


class _Folder:
    """Pictures as files, anywhere below a folder."""

    def __init__(self, root: Path) -> None:
        found = (path for path in root.rglob("*") if path.suffix.lower() in _KINDS)
        self._paths = {path.name: path for path in sorted(found)}
        if not self._paths:
            raise DatasetError(
                f"{root} has neither img_dict.npy nor pictures: get BOLD5000_Stimuli there."
            )

    def open(self, name: str) -> Image.Image:
        path = self._paths.get(name)
        if path is None:
            raise DatasetError(f"the picture {name!r} was shown and is in no folder of pictures.")
        with open_file(path) as stream, Image.open(stream) as picture:
            return picture.convert("RGB")
