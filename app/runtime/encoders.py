"""The decoder process's encoders: the system's own, and one for each adapter in use.

Owns which of them are in memory, whether one fits the session, and in what state of alignment the
next epoch finds it. An encoder that aligns itself to a person online says so (`Aligning`); one that
does not is left alone.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from app.errors import AppError
from app.runtime.messages import AdapterKey, Steer, first_adapter
from configs import SessionConfig
from models.api import (
    Aligning,
    ChecksFilter,
    ChecksMontage,
    Encoder,
    EncoderSpec,
    StatesDoubt,
    StatesDrift,
)
from pipeline.values import Epoch

N_KEPT = 4
"""Encoders that stay in memory, so that going back to the one before takes no time."""


class Encoders:
    """Encoders by adapter; safe from any thread.

    Parameters
    ----------
    config : SessionConfig
        Whose filter and epochs an adapter must have been made for.
    first : Encoder
        The one that the system was loaded with.
    plain : Encoder or None
        The system's own, which every adapter may stand behind; None: each loads it for itself.

    Raises
    ------
    PhospheneError
        `first` is an adapter's and does not fit the session.
    """

    def __init__(
        self, config: SessionConfig, first: Encoder, *, plain: Encoder | None = None
    ) -> None:
        self._config = config
        self._plain = plain
        self.first = first
        self._lock = threading.Lock()
        key = first_adapter(config.decoder)
        if key.folder:
            check_encoder(first, config, folder=key.folder)
        self._loaded: OrderedDict[AdapterKey, Encoder] = OrderedDict({key: first})

    def load(self, folder: str, *, ch_names: tuple[str, ...]) -> tuple[AdapterKey, EncoderSpec]:
        """Load an adapter (empty: the system's own encoder) unless it is there already.

        Raises
        ------
        PhospheneError
            It cannot be read, or does not fit the session.
        """
        from models.systems import load_encoder

        decoder = self._config.decoder.model_copy(update={"adapter": folder or None})
        encoder = load_encoder(decoder, plain=self._plain)
        if folder:
            check_encoder(encoder, self._config, folder=folder, ch_names=ch_names)
        key = AdapterKey(folder, encoder.spec.sha256)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = encoder
            self._loaded.move_to_end(key)
            while len(self._loaded) > N_KEPT:
                self._loaded.popitem(last=False)
            return key, self._loaded[key].spec

    def get(self, key: AdapterKey) -> Encoder:
        """Give the encoder of a key; loaded now where a restart has forgotten it.

        Raises
        ------
        PhospheneError
            It cannot be read any more, or the folder holds another by now.
        """
        with self._lock:
            found = self._loaded.get(key)
            if found is not None:
                self._loaded.move_to_end(key)
                return found
        again, _ = self.load(key.folder, ch_names=())
        if key.sha256 and again != key:
            raise AppError(
                f"The adapter in {key.folder} is not the one that was chosen (another SHA-256): "
                "choose it again."
            )
        with self._lock:
            return self._loaded[again]


class Steered:
    """The encoder of the moment, brought into the state that each epoch asks for."""

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders
        self._encoder: Encoder | None = None
        self._aligning: Aligning | None = None
        self._steer: Steer | None = None

    def take(self, steer: Steer) -> Encoder:
        """Give the encoder of `steer`, its alignment anew where it was changed or reset."""
        before = self._steer
        if self._encoder is None or before is None or before.adapter != steer.adapter:
            self._encoder, before = self._encoders.get(steer.adapter), None
            self._aligning = self._encoder if isinstance(self._encoder, Aligning) else None
        if self._aligning is not None:
            if before is None or steer.n_resets != before.n_resets:
                self._aligning.reset()
            if steer.frozen is not None:
                (self._aligning.freeze if steer.frozen else self._aligning.resume)()
        self._steer = steer
        return self._encoder

    def observe(self, epoch: Epoch) -> None:
        """Let alignment take in an epoch, once, before it is encoded."""
        if self._aligning is not None:
            self._aligning.observe(epoch)

    @property
    def alignment(self) -> str:
        """`running`, `frozen`, or empty without alignment."""
        if self._aligning is None:
            return ""
        return "frozen" if self._aligning.is_frozen else "running"

    @property
    def drift(self) -> float | None:
        """What the encoder says of how far it has gone."""
        return float(self._encoder.drift) if isinstance(self._encoder, StatesDrift) else None

    @property
    def doubt(self) -> float:
        """What the encoder says of the session as a whole; 0 where it says nothing."""
        return float(self._encoder.doubt) if isinstance(self._encoder, StatesDoubt) else 0.0


def check_encoder(
    encoder: Encoder, config: SessionConfig, *, folder: str, ch_names: tuple[str, ...] = ()
) -> None:
    """Refuse an adapter that was made for another filter, window or montage.

    Raises
    ------
    PhospheneError
        One sentence: what the session has, what the adapter needs.
    """
    if isinstance(encoder, ChecksFilter):
        encoder.check_filter(config.filter)
    if isinstance(encoder, ChecksMontage) and ch_names:
        encoder.check_montage(ch_names)
    spec, epochs = encoder.spec, config.epochs
    slack = 1.5 / spec.input.sfreq
    if spec.tmin < epochs.tmin - slack or spec.tmax > epochs.tmax + slack:
        raise AppError(
            f"epochs.tmin and epochs.tmax are {epochs.tmin:g} and {epochs.tmax:g} s, the adapter "
            f"in {folder} needs {spec.tmin:g} to {spec.tmax:g} s: widen them, or calibrate again."
        )
    needed = spec.input.ch_names
    missing = [name for name in needed if name not in ch_names] if ch_names else []
    if missing:
        raise AppError(
            f"the montage lacks {', '.join(missing[:8])} of the {len(needed)} channels of "
            f"the adapter in {folder}: give the labels with source.ch_names, or calibrate again."
        )
