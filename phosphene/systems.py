"""A decoding system in this process: epochs in, embeddings and pictures out.

Owns loading one without changing how torch computes in the rest of the user's program. Which
systems there are is `models.registry`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import SessionConfig
from pipeline.values import Embedding, Epoch, GeneratedImage

if TYPE_CHECKING:
    from app.runtime.encoders import Encoders
    from models.api import EncoderSpec, SystemDescriptor


class System:
    """An encoder and a generator that are loaded; made by `load_system`.

    Attributes
    ----------
    name : str
    settings : SessionConfig
        What it was loaded with.
    spec : EncoderSpec
        What the encoder wants and gives: rate (Hz), window (s), filter (Hz), `space`,
        `states_confidence`.
    """

    def __init__(self, settings: SessionConfig) -> None:
        from app.runtime.encoders import Encoders
        from models.repeatable import repeatable
        from models.systems import load_system as load

        self.name = settings.decoder.system
        self.settings = settings
        with repeatable(settings.decoder.threads):
            loaded = load(settings.decoder, gallery=settings.gallery)
            self._encoders = Encoders(settings, loaded.encoder)
        self._encoder, self._sampler = loaded.encoder, loaded.sampler
        self.spec: EncoderSpec = self._encoder.spec

    @property
    def encoders(self) -> Encoders:
        """The encoder with what stands in front of it, for `decode`."""
        return self._encoders

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch.

        Parameters
        ----------
        epoch : Epoch
            `data` (n_channels, n_times) float32 microvolts, causally filtered as `spec` says:
            what `cut_epochs` gives.

        Returns
        -------
        Embedding
            `vector` (n_features,) or (n_tokens, n_features) float32; `confidence` 0 to 1, or None
            where the encoder states none.

        Raises
        ------
        PhospheneError
            The epoch's channels are not what the encoder takes.
        """
        from models.repeatable import repeatable

        with repeatable(self.settings.decoder.threads):
            return self._encoder.encode(epoch)

    def draw(self, embedding: Embedding, *, seed: int = 0) -> GeneratedImage:
        """Draw the picture of an embedding.

        Parameters
        ----------
        embedding : Embedding
            Of the system's own space.
        seed : int
            Of the noise, 0 to 2**64 - 1.

        Returns
        -------
        GeneratedImage
            `pixels` (height, width, 3) uint8 sRGB; the same for the same embedding and seed.
        """
        from models.repeatable import repeatable

        with repeatable(self.settings.decoder.threads):
            return self._sampler.sample(embedding, seed=seed)

    def __repr__(self) -> str:
        """Name, space and size."""
        return f"<System {self.name!r}: {self.spec.space or 'own space'}, {self.spec.n_features}>"


def load_system(
    name: str | None = None,
    *,
    settings: SessionConfig | None = None,
    **decoder: Any,
) -> System:
    """Load a decoding system.

    Parameters
    ----------
    name : str, optional
        As `list_systems` names it; None: that of `settings`, which is the shipped `embedded`.
    settings : SessionConfig, optional
        Beside `decoder` those of the session; an adapter brings its own channels, events, window
        and filter, which `System.settings` then holds.
    **decoder
        Settings of `decoder` that are to be otherwise: `adapter` (folder), `weights` (folder),
        `generator`, `num_inference_steps`, `guidance_scale`, `threads`, ...

    Returns
    -------
    System

    Raises
    ------
    PhospheneError
        The name is unknown, a weight is missing or damaged, or an adapter does not fit.

    Examples
    --------
    >>> import numpy as np, phosphene
    >>> system = phosphene.load_system()
    >>> info = phosphene.Info(("O1", "Oz", "O2", "P7", "P8"), 250.0)
    >>> data = np.random.default_rng(0).normal(0, 10, (5, 251)).astype(np.float32)
    >>> epoch = phosphene.Epoch(data, -0.2, 0.8, 0.0, "noise", info, 0)
    >>> embedding = system.encode(epoch)
    >>> embedding.vector.shape, system.draw(embedding, seed=1).pixels.shape
    ((64,), (128, 128, 3))
    """
    from phosphene.settings import load_settings

    settings = settings or SessionConfig()
    update = decoder if name is None else {**decoder, "system": name}
    tables = settings.model_dump()
    return System(followed(load_settings(**{**tables, "decoder": {**tables["decoder"], **update}})))


def followed(settings: SessionConfig) -> SessionConfig:
    """Settings that keep what their adapter asks for: channels, events, window, filter."""
    from app.contract import follow

    adapter = settings.decoder.adapter
    return settings if adapter is None else follow(settings, Path(adapter))[0]


def list_systems() -> dict[str, SystemDescriptor]:
    """Every decoding system by name, with what is known of it before it is loaded.

    Returns
    -------
    dict of str to SystemDescriptor
        `title`, `modality`, `input_shape`, `target_space`, `generator`, `weights`, `notes`;
        `status()` looks for its weights.

    Examples
    --------
    >>> import phosphene
    >>> phosphene.list_systems()["embedded"].modality
    'EEG'
    """
    from models.registry import read_registry

    return {name: each.descriptor for name, each in read_registry().systems.items()}
