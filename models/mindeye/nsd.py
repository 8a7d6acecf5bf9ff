"""The Natural Scenes Dataset as MindEye published it: WebDataset shards, read where they lie.

Owns the reading of `webdataset_avg_split/{train,val,test}/*.tar`: an index of each file's members,
then only the bytes that a batch needs. Everything is data: `.npy` without objects, pictures by
Pillow; names inside a tar are keys, never paths. Knows nothing of networks.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from configs.arrays import array_errors
from configs.guard import check_file
from models.mindeye.errors import MindEyeError
from pipeline.values import Float32

PICTURE, VOXELS, PICTURE_ID = "jpg", "nsdgeneral.npy", "coco73k.npy"
SPLITS = "webdataset_avg_split"
MEMBER_LIMIT = 1 << 26
"""Largest picture or array in a shard, bytes: a hundred times the published ones."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member's bytes lie: its file, the first byte, how many."""

    path: Path
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture and its scans: its key, and the places of its members by ending."""

    key: str
    members: dict[str, Place]


@dataclass(frozen=True, slots=True)
class Shards:
    """The samples of one split and subject.

    Attributes
    ----------
    samples : tuple of Sample
        In the order of the files and of their members.
    n_voxels : int
    """

    samples: tuple[Sample, ...]
    n_voxels: int

    def __len__(self) -> int:
        return len(self.samples)

    def voxels(self, index: int) -> Float32:
        """Repetitions (n_repetitions, n_voxels) of one picture's scan, z scores.

        Raises
        ------
        MindEyeError
            It is no such array, or holds what is no number.
        """
        found = _array(self.samples[index], VOXELS)
        rows = np.atleast_2d(found).astype(np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.n_voxels or not np.isfinite(rows).all():
            raise MindEyeError(
                f"{self.samples[index].key}.{VOXELS} has shape {found.shape}, expected finite "
                f"(n_repetitions, {self.n_voxels}): the shards are of different subjects, or "
                "damaged."
            )
        return rows

    def picture(self, index: int) -> Image.Image:
        """Picture that was seen, RGB."""
        place = self.samples[index].members[PICTURE]
        try:
            with Image.open(io.BytesIO(_bytes(place))) as picture:
                return picture.convert("RGB")
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise MindEyeError(
                f"{place.path}: {self.samples[index].key}.{PICTURE} is no readable picture "
                f"({error})."
            ) from None

    def picture_id(self, index: int) -> int:
        """Place of the picture among NSD's 73 000, or -1 where the shard does not say it."""
        sample = self.samples[index]
        if PICTURE_ID not in sample.members:
            return -1
        return int(np.asarray(_array(sample, PICTURE_ID)).reshape(-1)[0])


def open_split(folder: Path, split: str, *, subject: int) -> Shards:
    """Index the shards of a split.

    Parameters
    ----------
    folder : Path
        That of the splits, or the one above it.
    split : str
        `train`, `val` or `test`.
    subject : int
        Of files whose names say one (`train_subj01_0.tar`); files that say none are taken.

    Raises
    ------
    MindEyeError
        There is none, or one is no tar of pictures and voxels.
    """
    root = folder / SPLITS if (folder / SPLITS).is_dir() else folder
    own = f"subj{subject:02d}"
    paths = [p for p in (root / split).glob("*.tar") if "subj" not in p.name or own in p.name]
    samples = [sample for path in sorted(paths, key=_order) for sample in index_shard(path)]
    if not samples:
        raise MindEyeError(
            f"{root / split} has no samples of subject {subject}, expected WebDataset shards such "
            f"as {split}_{own}_0.tar of {SPLITS} (Hugging Face pscotti/naturalscenesdataset, "
            "after NSD's agreement)."
        )
    first = np.atleast_2d(_array(samples[0], VOXELS))
    return Shards(tuple(samples), int(first.shape[-1]))


def _order(path: Path) -> tuple[int, str]:
    number = path.stem.rpartition("_")[2]
    return (int(number) if number.isdigit() else 0, path.name)


def index_shard(path: Path) -> list[Sample]:
    """List the samples of a tar file; nothing is unpacked.

    Raises
    ------
    MindEyeError
        It is no tar, or a sample lacks its picture or its voxels.
    """
    found: dict[str, dict[str, Place]] = {}
    try:
        check_file(path)
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                key, _, kind = member.name.rpartition("/")[2].partition(".")
                if not member.isreg() or kind not in (PICTURE, VOXELS, PICTURE_ID):
                    continue
                if member.size > MEMBER_LIMIT:
                    raise MindEyeError(
                        f"{path}: {_shown(key)}.{kind} has {member.size} bytes, expected at most "
                        f"{MEMBER_LIMIT}: this is no shard of MindEye's."
                    )
                place = Place(path, member.offset_data, member.size)
                found.setdefault(_shown(key), {})[kind] = place
    except (OSError, tarfile.TarError) as error:
        raise MindEyeError(f"{path} cannot be read as a tar file ({error}).") from None
    for key, members in found.items():
        for kind in (PICTURE, VOXELS):
            if kind not in members:
                raise MindEyeError(
                    f"{path}: {key} has no .{kind}, expected a picture and its voxels: the shard "
                    "is damaged, or no one of MindEye's."
                )
    return [Sample(key, members) for key, members in found.items()]


def _shown(text: str) -> str:
    """A foreign key as it can be shown: no control characters."""
    return "".join(c if c.isprintable() else "?" for c in text)[:80]


def _bytes(place: Place) -> bytes:
    with place.path.open("rb") as file:
        file.seek(place.start)
        return file.read(place.size)


def _array(sample: Sample, kind: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    place = sample.members[kind]
    try:
        with array_errors():
            found = np.load(io.BytesIO(_bytes(place)), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise MindEyeError(
            f"{place.path}: {sample.key}.{kind} is no plain array ({error}): it is refused, since "
            "reading it could run code."
        ) from None
    if not isinstance(found, np.ndarray) or not np.issubdtype(found.dtype, np.number):
        raise MindEyeError(f"{place.path}: {sample.key}.{kind} holds no numbers.")
    return found


def mean_voxels(shards: Shards, indices: Sequence[int]) -> Float32:
    """Mean over each picture's repetitions, (n, n_voxels): what is tested."""
    return np.stack([shards.voxels(i).mean(axis=0) for i in indices])
