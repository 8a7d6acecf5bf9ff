"""Pictures to train on: glossy object renders placed on backgrounds, and checkerboards.

Owns reading the renders out of their npm package and composing pictures from them. Knows nothing
of networks: every function is NumPy and Pillow, and chance comes in as a `numpy.random.Generator`.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

Uint8 = npt.NDArray[np.uint8]

BACKGROUND = (210, 214, 220)
"""The gallery's background, sRGB: light enough for black objects, dark enough for white ones."""
FILL = 0.86
"""Side of a render relative to the side of its picture, in the gallery's own pose."""
KEPT_APART_SEED = 18


@dataclass(frozen=True, slots=True)
class Pose:
    """Where and how a render stands in its picture; the default is the gallery's own pose."""

    angle: float = 0.0
    """Counter-clockwise, degrees."""
    scale: float = 1.0
    """Relative to `FILL`."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Right and down, as a share of the picture's side."""
    mirror: bool = False
    saturation: float = 1.0
    brightness: float = 1.0


class Renders(Mapping[str, Image.Image]):
    """RGBA pictures of `side` x `side` by code point, sorted; each is decoded when asked for."""

    def __init__(self, files: Mapping[str, bytes], *, side: int) -> None:
        self._files = dict(sorted(files.items()))
        self._side = side
        self._decoded: dict[str, Image.Image] = {}

    def __getitem__(self, stem: str) -> Image.Image:
        """Decode a render, or give the one decoded before."""
        if stem not in self._decoded:
            picture = Image.open(io.BytesIO(self._files[stem])).convert("RGBA")
            size = (self._side, self._side)
            self._decoded[stem] = picture.resize(size, Image.Resampling.LANCZOS)
        return self._decoded[stem]

    def __iter__(self) -> Iterator[str]:
        """Code points in order."""
        return iter(self._files)

    def __len__(self) -> int:
        """How many the package holds."""
        return len(self._files)

    def __contains__(self, stem: object) -> bool:
        """Whether the package holds it; decodes nothing."""
        return stem in self._files


def read_renders(package: Path, *, side: int = 192) -> Renders:
    """Read an npm tarball of `@lobehub/fluent-emoji-3d`; names are those of its files."""
    files: dict[str, bytes] = {}
    with tarfile.open(package) as archive:
        for member in archive:
            path = Path(member.name)
            stream = archive.extractfile(member) if path.suffix == ".webp" else None
            if stream is not None:
                files[path.stem] = stream.read()
    return Renders(files, side=side)


def read_names(package: Path) -> list[dict[str, Any]]:
    """Read the names and categories out of an npm tarball of `emoji-datasource`."""
    with tarfile.open(package) as archive:
        stream = archive.extractfile("package/emoji.json")
        if stream is None:
            raise FileNotFoundError(f"{package} holds no package/emoji.json: is it that package?")
        entries: list[dict[str, Any]] = json.load(stream)
    return sorted(entries, key=lambda entry: int(entry["sort_order"]))


def code_point(entry: dict[str, Any], renders: Mapping[str, Image.Image]) -> str | None:
    """File name of an entry's render, or None where the package has none."""
    unified = str(entry["unified"]).lower()
    for name in (unified, unified.replace("-fe0f", "")):
        if name in renders:
            return name
    return None


def flat_background(size: int, colour: tuple[int, int, int] = BACKGROUND) -> Image.Image:
    """A picture of one colour."""
    return Image.new("RGB", (size, size), colour)


def random_background(rng: np.random.Generator, size: int) -> Image.Image:
    """A plain colour, a smooth gradient, or coarse noise: what an autoencoder must cope with."""
    kind = rng.integers(4)
    if kind == 0:
        red, green, blue = rng.integers(0, 256, 3).tolist()
        return flat_background(size, (red, green, blue))
    cells = 2 if kind < 3 else int(rng.integers(3, 9))
    coarse = rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def compose(render: Image.Image, pose: Pose, background: Image.Image) -> Image.Image:
    """Place a render on a background.

    Parameters
    ----------
    render : PIL.Image.Image
        RGBA, square.
    pose : Pose
        Where it stands.
    background : PIL.Image.Image
        RGB, square; the result has its size.
    """
    size = background.width
    turn = np.deg2rad(pose.angle)
    zoom = render.width / (size * FILL * pose.scale)
    cos, sin = np.cos(turn) * zoom, np.sin(turn) * zoom
    flip = -1.0 if pose.mirror else 1.0
    x0 = size / 2 + pose.shift[0] * size
    y0 = size / 2 + pose.shift[1] * size
    half = render.width / 2
    matrix = (
        flip * cos, flip * -sin, half - flip * (cos * x0 - sin * y0),
        sin, cos, half - (sin * x0 + cos * y0),
    )  # fmt: skip
    # Shrinking by more than two would alias with a bicubic kernel of fixed support.
    source = render.filter(ImageFilter.GaussianBlur(0.35 * zoom)) if zoom > 1.6 else render
    placed = source.transform(
        (size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
    )
    if pose.saturation != 1.0 or pose.brightness != 1.0:
        placed = _tint(placed, pose)
    picture = background.copy()
    picture.paste(placed, (0, 0), placed)
    return picture


def _tint(placed: Image.Image, pose: Pose) -> Image.Image:
    colour = ImageEnhance.Color(placed.convert("RGB")).enhance(pose.saturation)
    colour = ImageEnhance.Brightness(colour).enhance(pose.brightness)
    colour.putalpha(placed.getchannel("A"))
    return colour


def checkerboard(size: int, side: str, *, n_cells: int = 8, swap: bool = False) -> Image.Image:
    """Draw a black and white checkerboard in the `left` or `right` half field, or `full`."""
    cell = (np.arange(size) * n_cells // size) % 2
    board = (cell[:, None] ^ cell[None, :] ^ int(swap)).astype(bool)
    pixels = np.empty((size, size, 3), np.uint8)
    pixels[:] = BACKGROUND
    columns = {
        "left": slice(0, size // 2), "right": slice(size // 2, size), "full": slice(0, size)
    }[side]  # fmt: skip
    pixels[:, columns] = np.where(board[:, columns, None], 236, 22)
    return Image.fromarray(pixels)


def to_array(picture: Image.Image) -> Uint8:
    """Pixels (height, width, 3) uint8, sRGB."""
    return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def split(names: list[str]) -> tuple[list[str], list[str]]:
    """Pictures to learn from, and one in ten that is kept apart from every training.

    Whole emoji with all their variants (skin tones, genders) stay on one side: those share their
    first code point. Every sixteenth of these is kept apart, as it was from the first weights, so
    that runs that go on from those keep the promise; the rest is drawn with `KEPT_APART_SEED`.
    """
    stems = sorted({name.split("-")[0] for name in names})
    apart = set(stems[7::16])
    others = [stem for stem in stems if stem not in apart]
    order = np.random.default_rng(KEPT_APART_SEED).permutation(len(others))
    counts = Counter(name.split("-")[0] for name in names)
    missing = len(names) // 10 - sum(counts[stem] for stem in apart)
    for stem in (others[i] for i in order):
        # A large family would take the place of many.
        if missing <= 0:
            break
        if counts[stem] <= 7:
            apart.add(stem)
            missing -= counts[stem]
    return (
        [name for name in names if name.split("-")[0] not in apart],
        [name for name in names if name.split("-")[0] in apart],
    )
