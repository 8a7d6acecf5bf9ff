"""A simulated person in a scanner, as a recording: pictures one after the other, a response each.

Owns the order of the pictures and their times; the responses are `pipeline.virtual_volumes`'s. The
recording is streamed by `devices.player` or written by `devices.files.volumes`, like any other.
Simulated: it says so in its stream and in its file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from devices.files.base import FileEvent
from devices.files.volumes import MOST_VOXELS, TR, Volumes, VolumesRecording
from pipeline.errors import ConfigurationError
from pipeline.gallery import SPACE, load_gallery
from pipeline.values import Float64
from pipeline.virtual_volumes import VirtualScan

MOST_PICTURES = 20_000


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """What is simulated.

    `snr`, `seed` and `subject_number` as in `VirtualScan`; `tr` is the time from one response to
    the next, s; `is_irregular` lets it vary by half of itself and makes a stream without a rate;
    `gallery` as `pipeline.gallery.load_gallery` takes it.
    """

    n_voxels: int = 4643
    n_pictures: int = 60
    tr: float = 2.0
    subject_number: int = 1001
    snr: float = 1.0
    seed: int = 0
    is_irregular: bool = False
    gallery: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no scanner gives."""
        for name, value, low, high in (
            ("--voxels", self.n_voxels, 1, MOST_VOXELS),
            ("--pictures", self.n_pictures, 1, MOST_PICTURES),
            ("--tr", self.tr, *TR),
            ("--subject", self.subject_number, 0, 2**31),
            ("--seed", self.seed, 0, 2**31),
        ):
            if not low <= value <= high:
                raise ConfigurationError(f"{name} is {value:g}, expected {low:g} to {high:g}.")

    @property
    def name(self) -> str:
        """What the stream is called."""
        return f"phosphene-virtual-fmri-{self.subject_number}"


def simulate_scan(settings: ScanSettings) -> VolumesRecording:
    """Make the recording of a person who sees the gallery's pictures in a random order.

    Raises
    ------
    PhospheneError
        There is no such gallery, or it has no vectors that the code is made for.
    """
    gallery = load_gallery(settings.gallery).demand(SPACE, what="the simulated scan")
    gallery = gallery.subset(kind="upright")
    rng = np.random.default_rng([settings.subject_number, settings.seed, 2])
    rounds = -(-settings.n_pictures // len(gallery))
    order = np.concatenate([rng.permutation(len(gallery)) for _ in range(rounds)])
    labels = [gallery.labels[row] for row in order[: settings.n_pictures]]
    scan = VirtualScan(
        settings.n_voxels,
        gallery.n_features,
        subject_number=settings.subject_number,
        snr=settings.snr,
        seed=settings.seed,
    )
    betas = np.stack([scan.respond(gallery.embedding(label)) for label in labels])
    times: Float64 = settings.tr * np.arange(len(labels), dtype=np.float64)
    if settings.is_irregular:
        times = times + rng.uniform(0, settings.tr / 2, len(times))
    events = tuple(FileEvent(float(time), label) for time, label in zip(times, labels, strict=True))
    held = Volumes(
        betas,
        times,
        0.0 if settings.is_irregular else 1.0 / settings.tr,
        events,
        tuple(f"v{k}" for k in range(settings.n_voxels)),
        is_simulated=True,
    )
    return VolumesRecording(Path(f"{settings.name}.npz"), held)
