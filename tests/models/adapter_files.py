"""A small adapter, and damage to a saved one's files, as a test wants it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from configs import FilterConfig
from models.adapters.adapter import Adapter
from models.adapters.archive import write_archive
from models.adapters.files import MANIFEST_NAME, WEIGHTS_NAME, save_adapter
from models.adapters.lda import SpatioTemporalLda
from models.adapters.manifest import CLASSES, AdapterManifest, EventClasses, Scores
from models.adapters.methods.classes import ClassBase, ClassDiscriminant
from models.adapters.targets import Target
from models.adapters.window import Window
from pipeline.gallery import load_gallery


def edit_manifest(folder: Path, **fields: object) -> None:
    """Set `fields` of the manifest."""
    table = json.loads((folder / MANIFEST_NAME).read_text())
    (folder / MANIFEST_NAME).write_text(json.dumps(table | fields))


def edit_part(folder: Path, part: str, **fields: object) -> None:
    """Set fields of a part of the manifest: `classes` or `encoder`."""
    table = json.loads((folder / MANIFEST_NAME).read_text())
    edit_manifest(folder, **{part: table[part] | fields})


def edit_weights(folder: Path, change: Callable[[dict[str, NDArray[np.generic]]], None]) -> None:
    """Let `change` alter the arrays; the manifest's hash follows."""
    arrays = load((folder / WEIGHTS_NAME).read_bytes())
    change(arrays)
    put_weights(folder, save(arrays))


def put_weights(folder: Path, weights: bytes) -> None:
    """Replace the weights' file; the manifest's hash follows."""
    (folder / WEIGHTS_NAME).write_bytes(weights)
    edit_manifest(folder, weights_sha256=hashlib.sha256(weights).hexdigest())


def small_adapter(folder: Path, *, subject: str = "kim", seed: int = 0) -> Path:
    """Write an adapter of two classes that loads without torch, in no time."""
    rng = np.random.default_rng(seed)
    gallery, channels = load_gallery(), ("Fz", "Cz", "Pz")
    window = Window(channels, 250.0, 0.0, 0.6)
    targets = tuple(Target(event=name, category=None) for name in ("face", "house"))
    manifest = AdapterManifest(
        kind=CLASSES,
        subject=subject,
        ch_names=channels,
        sfreq=250.0,
        filter=FilterConfig(),
        classes=EventClasses(
            targets=targets,
            tmin=0.0,
            tmax=0.6,
            n_filters=2,
            temperature=1.0,
            gallery_sha256=gallery.sha256,
            scores=Scores(n_epochs=40, accuracy=0.8, chance=0.5, p_value=0.01, nll=0.4, n_blocks=4),
        ),
        recordings={"recording.xdf": "0" * 64},
    )
    lda = SpatioTemporalLda(
        rng.normal(size=(2, 3)), rng.normal(size=(2, window.n_bins, 2)), np.zeros(2)
    )
    base = ClassBase(window, gallery.embeddings[:2].copy())
    save_adapter(Adapter(manifest, ClassDiscriminant(lda), base), folder)
    return folder


def zipped(folder: Path, path: Path) -> Path:
    """An adapter's folder as an exported file."""
    write_archive(folder, path)
    return path
