"""An adapter: a method that was fitted to one person, on what it stands behind.

Owns the value, which satisfies `models.api.Encoder` (epochs in, vectors out), and which base a
manifest asks for. Training scores the very same chain. Knows nothing of files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from configs import DecoderConfig, FilterConfig
from models.adapters.bases import Base, PictureBase, VectorBase
from models.adapters.errors import AdapterError
from models.adapters.manifest import AdapterManifest, EncoderReference
from models.adapters.methods.base import Arrays, Method
from models.adapters.report import CalibrationReport
from models.api import Encoder, EncoderSpec, ReadsFeatures
from models.registry import open_encoder
from pipeline.gallery import load_gallery
from pipeline.interpolation import filled, may_fill
from pipeline.values import Embedding, Epoch, Float32, Float64, length_of

COVARIANCE, INTERPOLATION, PROTOTYPES = "covariance", "interpolation", "prototypes"
"""Names of the arrays that are no method's own."""


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """A person's decoder, ready to decode; `models.adapters.AdapterStore` keeps it.

    Attributes
    ----------
    manifest : AdapterManifest
        What it says of itself, the calibration's report included.
    method : Method
        What was learnt.
    base : Base
        What stands before it.
    covariance : ndarray, shape (n_channels, n_channels), float64, or None
        Of the calibration's channels: what online alignment brings a later session back to.
    interpolation : ndarray, shape (n_channels, n_channels), float64, or None
        Covariance of the channels, by which one that an epoch lacks is told from the others.
    sha256 : str
        Over both files once saved; empty before.
    """

    manifest: AdapterManifest
    method: Method[Any, Any]
    base: Base[Any]
    covariance: Float64 | None = None
    interpolation: Float64 | None = None
    sha256: str = ""
    _spec: EncoderSpec = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a base or a covariance that is none of the manifest's."""
        if self.manifest.encoder is not None and isinstance(self.base, PictureBase):
            self.base.check_reference(self.manifest.encoder)
        n = len(self.manifest.ch_names)
        for name, found in ((COVARIANCE, self.covariance), (INTERPOLATION, self.interpolation)):
            if found is not None and (found.shape != (n, n) or not np.isfinite(found).all()):
                raise AdapterError(
                    f"the adapter's {name} has shape {found.shape} or holds NaN, expected finite "
                    f"({n}, {n}): restore the file or calibrate again."
                )
        spec = replace(
            self.base.spec(self.manifest, self.sha256),
            prior=self.method.prior,
            learnt=self.manifest.parts,
        )
        object.__setattr__(self, "_spec", spec)

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives; `check_montage` says which channels it can do with."""
        return self._spec

    @property
    def report(self) -> CalibrationReport:
        """What its calibration found; raises `AdapterError` for one that was fitted unjudged."""
        if self.manifest.report is None:
            raise AdapterError("the adapter was fitted without being judged: calibrate again.")
        return self.manifest.report

    def arrays(self) -> Arrays:
        """Everything that a file of it holds, by name."""
        own = {COVARIANCE: self.covariance, INTERPOLATION: self.interpolation}
        kept = {name: array for name, array in own.items() if array is not None}
        return self.method.arrays() | self.base.arrays() | kept

    def check_filter(self, config: FilterConfig) -> None:
        """Raise `AdapterError` when a session filters otherwise than the calibration did."""
        self.manifest.check_filter(config)

    def check_montage(self, ch_names: tuple[str, ...]) -> None:
        """Raise `PhospheneError` when a session's channels will not do."""
        self.base.check_montage(ch_names, self.manifest.ch_names)

    def whole(self, epoch: Epoch) -> Epoch:
        """The epoch with what it lacks of the adapter's channels, where that can be told."""
        names = self.manifest.ch_names
        n_missing = len(set(names).difference(epoch.info.ch_names))
        if self.interpolation is None or not may_fill(n_missing, len(names)):
            return epoch
        return filled(epoch, names, self.interpolation)

    def evidence(self, epoch: Epoch) -> Float64:
        """What the method reads from one epoch, (k,): log likelihoods of classes, or a vector."""
        batch = self.base.prepare_epoch(self.whole(epoch), self.manifest.ch_names)
        return np.asarray(self.method.evidence(batch, self.base)[0])

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch."""
        batch = self.base.prepare_epoch(self.whole(epoch), self.manifest.ch_names)
        evidence = self.method.evidence(batch, self.base)
        recalled = self.base.recall(evidence, self.method.bias(self.base.memory))
        vector: Float32 = recalled[0].astype(np.float32)
        odds = self.base.probabilities(evidence)
        classes = () if odds is None else tuple(map(float, odds[0]))
        # A class without a picture is a short vector all the same: fog, however sure.
        stated = max(classes) if classes else length_of(vector)
        return Embedding(
            vector,
            index=epoch.index,
            t_onset=epoch.t_onset,
            confidence=min(1.0, stated) if self._spec.states_confidence else None,
            classes=classes,
        )


def embed(method: Method[Any, Any], batch: Any, base: Base[Any]) -> Float64:
    """Vectors of a batch behind a method, (n, n_features): what a session draws from."""
    return base.recall(method.evidence(batch, base), method.bias(base.memory))


def base_of(encoder: Encoder) -> PictureBase[Any]:
    """An encoder of vectors as a base: its network's where methods know how to reach into it."""
    # torch comes with these, and listing adapters must not wait for it.
    from models.embedded.encoder import EmbeddedEncoder

    if isinstance(encoder, EmbeddedEncoder):
        from models.adapters.network_base import NetworkBase

        return NetworkBase(encoder)
    return VectorBase(encoder)


def open_base(manifest: AdapterManifest, arrays: Arrays, encoder: Encoder | None) -> Base[Any]:
    """Open what an adapter stands behind; takes what is kept of it out of `arrays`.

    Parameters
    ----------
    encoder : Encoder, optional
        The session's; the installed one that the manifest names if not given.

    Raises
    ------
    PhospheneError
        It cannot be loaded.
    """
    if manifest.encoder is not None:
        return base_of(encoder or open_encoder(DecoderConfig(system=manifest.encoder.system)))
    from models.adapters.methods.classes import ClassBase, window_of

    # Whichever gallery the pictures were of: what stands for the classes is kept with the adapter.
    classes = manifest.event_classes
    prototypes = arrays.pop(PROTOTYPES, np.zeros((0, 0)))
    expected = (len(classes.targets), load_gallery().n_features)
    if prototypes.shape != expected or not np.isfinite(prototypes).all():
        raise AdapterError(
            f"the adapter's prototypes have shape {prototypes.shape} or hold NaN, expected finite "
            f"{expected}: restore the file or calibrate again."
        )
    readers = {each.system: _reader(each) for each in classes.encoders}
    vectors = prototypes.astype(np.float32)
    return ClassBase(window_of(manifest), vectors, classes.temperature, readers)


def _reader(reference: EncoderReference) -> ReadsFeatures:
    """The installed encoder whose features a head was fitted to."""
    encoder = open_reader(reference.system)
    if encoder.spec.sha256 != reference.sha256:
        raise AdapterError(
            f"the adapter was fitted to {reference.system} {reference.sha256[:12]}..., the one "
            f"installed is {encoder.spec.sha256[:12]}...: import that one, or calibrate again."
        )
    return encoder


def open_reader(name: str) -> ReadsFeatures:
    """Load a pretrained encoder by the name of its system.

    Raises
    ------
    PhospheneError
        Its weights are not there, or it reads no features.
    """
    encoder = open_encoder(DecoderConfig(system=name))
    if not isinstance(encoder, ReadsFeatures):
        raise AdapterError(
            f"{name!r} gives no features to fit a head to, expected a pretrained encoder such as "
            "labram: see `phosphene systems`."
        )
    return encoder
