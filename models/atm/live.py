"""ATM-S behind the ports: an epoch becomes a vector, a vector a picture.

Owns the two adapters and their loading, and what every sampler of vectors has in common (the
multimodal system's too). Knows nothing of streams or of training. Layout of a
folder of weights: `encoder/`, `prior/` (none for a prior-free system), `generator/` (SDXL-Turbo
in diffusers' layout), the IP-Adapter's file, `system.json`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from configs import DecoderConfig
from models.accelerators import choose_device, choose_dtype
from models.api import (
    CLIP_H_IMAGE,
    EncoderSpec,
    InputSpec,
    SamplerSpec,
    installed_weights,
)
from models.atm.errors import AtmError
from models.atm.folder import (
    MODEL,
    AnyEncoder,
    EncoderFacts,
    SystemSettings,
    VectorFacts,
    hash_of,
    load_prior,
    load_settings,
    load_vector_facts,
)
from models.atm.folder import load_encoder as read_encoder
from models.atm.generation import AdapterGenerator
from models.atm.input import network_input
from models.atm.prior import DiffusionPriorUNet
from models.atm.prior_sampling import prior_states
from models.sampling.parts import Part
from models.sampling.solvers import last
from models.stable_diffusion.generation import GenerationSettings
from models.stable_diffusion.libraries import quiet_libraries
from models.weights import WeightState, check_weights
from pipeline.errors import ShapeError
from pipeline.gallery import SPACE, load_gallery
from pipeline.values import Embedding, Epoch, Float32, GeneratedImage


def space_of(facts: EncoderFacts | VectorFacts) -> str:
    """Name of the space that a folder's vectors live in."""
    return {"gallery": SPACE, "clip": CLIP_H_IMAGE}.get(facts.space, facts.space)


class AtmEncoder:
    """ATM-S; satisfies `models.api.Encoder`.

    It states no confidence: a contrastive encoder's vectors are as long on noise as on EEG.
    Vectors of CLIP's space come as one token, (1, n_features).
    """

    def __init__(
        self, model: AnyEncoder, facts: EncoderFacts, whitening: Tensor | None, *, sha256: str
    ) -> None:
        self._model, self._facts = model, facts
        self._whitening = None if whitening is None else whitening.numpy()
        self._subject = torch.tensor([facts.subject_id])
        self._spec = EncoderSpec(
            name="atm",
            input=InputSpec(facts.sfreq),
            tmin=0.0,
            tmax=model.config.n_times / facts.sfreq,
            l_freq=facts.l_freq,
            h_freq=facts.h_freq,
            n_features=model.config.n_features,
            sha256=sha256,
            space=space_of(facts),
        )

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives; any labelled montage is mapped."""
        return self._spec

    @torch.inference_mode()
    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch of any labelled montage and rate.

        Raises
        ------
        AtmError
            The epoch ends too early, or its labels are unknown.
        """
        data = network_input(
            epoch,
            ch_names=self._facts.ch_names,
            sfreq=self._facts.sfreq,
            n_times=self._model.config.n_times,
            whitening=self._whitening,
        )
        vector = self._embedded(data, self._subject)
        return Embedding(vector=vector, index=epoch.index, t_onset=epoch.t_onset)

    @torch.inference_mode()
    def encode_prepared(
        self, eeg: Float32, ch_names: Sequence[str], *, subject_id: int, index: int = 0
    ) -> Embedding:
        """Embed an epoch of prepared THINGS-EEG2: whitened, at its rate, from onset on.

        Parameters
        ----------
        eeg : ndarray, shape (n_channels, n_times), float32
        ch_names : sequence of str
            Of the rows.
        subject_id : int

        Raises
        ------
        AtmError
            A channel that the encoder wants is missing, or the length is another.
        """
        missing = [name for name in self._facts.ch_names if name not in ch_names]
        if missing:
            raise AtmError(f"the data lack {', '.join(missing[:5])}, which the encoder wants.")
        rows = [list(ch_names).index(name) for name in self._facts.ch_names]
        vector = self._embedded(np.ascontiguousarray(eeg[rows]), torch.tensor([subject_id]))
        return Embedding(vector=vector, index=index, t_onset=0.0)

    def _embedded(self, data: Float32, subject: Tensor) -> Float32:
        vector = self._model(torch.from_numpy(data)[None], subject)
        scaled = (vector * self._facts.output_scale).numpy().astype(np.float32)
        return np.asarray(scaled[0] if self._spec.space == SPACE else scaled)


class VectorSampler(ABC):
    """Draws from a vector of the encoder; satisfies `models.api.Sampler`.

    Parameters
    ----------
    vectors : VectorFacts
        What it takes: width, and the scale that is undone before anything else.
    spec : SamplerSpec
    """

    def __init__(self, *, vectors: VectorFacts, spec: SamplerSpec) -> None:
        self._n_features, self._input_scale = vectors.n_features, 1.0 / vectors.output_scale
        self._spec = spec

    @property
    def spec(self) -> SamplerSpec:
        """What it takes and draws."""
        return self._spec

    @torch.inference_mode()
    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        """Draw the picture of an embedding.

        Raises
        ------
        ShapeError
            The embedding is of another width than the encoder's.
        """
        pixels = self.draw(self.condition(embedding), seed=seed)
        return GeneratedImage(
            pixels=pixels, seed=seed, index=embedding.index, t_onset=embedding.t_onset
        )

    def condition(self, embedding: Embedding) -> Tensor:
        """EEG vector (n_features,) of an embedding, on the encoder's own scale.

        Raises
        ------
        ShapeError
            As `sample`.
        """
        if embedding.vector.size != self._n_features:
            raise ShapeError(
                f"the embedding has shape {embedding.vector.shape}, expected {self._n_features} "
                "features: use the encoder of the same folder."
            )
        return torch.from_numpy(np.array(embedding.vector)).reshape(-1) * self._input_scale

    @property
    @abstractmethod
    def options(self) -> Mapping[str, str | int | float]:
        """What acts on its pictures."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """None: every setting acts."""
        return ()

    @abstractmethod
    def draw(self, condition: Tensor, *, seed: int) -> NDArray[np.uint8]:
        """Draw a picture (height, width, 3) of an EEG vector (n_features,)."""


class AtmSampler(VectorSampler):
    """Prior, IP-Adapter and SDXL.

    Parameters
    ----------
    prior : DiffusionPriorUNet or None
        None sends the encoder's vectors straight into the adapter.
    target_norm : float or None
        Norm that CLIP vectors are brought to; None leaves them.
    vectors, spec
        As `VectorSampler`.
    """

    def __init__(
        self,
        prior: DiffusionPriorUNet | None,
        generator: AdapterGenerator,
        *,
        prior_steps: int = 50,
        prior_guidance: float | None = 5.0,
        target_norm: float | None = None,
        vectors: VectorFacts,
        spec: SamplerSpec,
    ) -> None:
        super().__init__(vectors=vectors, spec=spec)
        self._prior, self._generator = prior, generator
        self.prior_steps, self._guidance = prior_steps, prior_guidance
        self._target_norm = target_norm

    @property
    def parts(self) -> tuple[Part, ...]:
        """What an engine can take the place of; a prior is too small to gain."""
        return self._generator.latent.parts

    @property
    def can_save_memory(self) -> bool:
        """Whether `decoder.low_memory` changes anything."""
        return self._generator.latent.can_save_memory

    @property
    def has_prior(self) -> bool:
        """Whether a prior stands between encoder and generator."""
        return self._prior is not None

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """What acts on its pictures; a prior without guidance has 0."""
        prior: dict[str, int | float] = {}
        if self.has_prior:
            guidance = 0.0 if self._guidance is None else self._guidance
            prior = {"prior_steps": self.prior_steps, "prior_guidance": guidance}
        return {**self._generator.options, **prior}

    def draw(self, condition: Tensor, *, seed: int) -> NDArray[np.uint8]:
        """Draw a picture (height, width, 3) of an EEG vector (n_features,)."""
        return self._generator.draw([self.clip_vector(condition, seed=seed)], seed=seed)

    def clip_vector(self, vector: Tensor, *, seed: int) -> Tensor:
        """CLIP vector (n_features,) of an EEG vector (n_features,), on the adapter's scale."""
        if self._prior is not None:
            states = prior_states(
                self._prior,
                vector[None],
                num_inference_steps=self.prior_steps,
                guidance_scale=self._guidance,
                generator=torch.Generator().manual_seed(seed),
            )
            vector = last(states)[0]
        if self._target_norm is not None:
            vector = functional.normalize(vector, dim=0) * self._target_norm
        return vector


def load_encoder(config: DecoderConfig) -> AtmEncoder:
    """Load the encoder below `config.weights`, or in the user's data folder.

    Raises
    ------
    PhospheneError
        A file is missing or damaged: which, where it comes from and where it belongs.
    """
    return open_encoder(weights_folder(config, "atm"))


def load_sampler(config: DecoderConfig) -> AtmSampler:
    """Load prior, adapter and diffusion model; as `load_encoder`."""
    folder = weights_folder(config, "atm")
    settings, vectors = load_settings(folder), load_vector_facts(folder / "encoder")
    prior, target_norm = load_prior(folder / "prior") if settings.has_prior else (None, None)
    refuse_damaged(folder)
    device = choose_device(config.device)
    if prior is not None:
        prior.to(device)
    generator = AdapterGenerator(
        folder,
        settings=generation_settings(config, settings),
        device=device,
        dtype=choose_dtype(config),
        low_memory=config.low_memory,
        tile=config.tile,
    )
    generator.set_scales(1.0)
    parts = [folder / "prior" / MODEL] if prior is not None else []
    return AtmSampler(
        prior,
        generator,
        prior_steps=settings.prior_steps,
        prior_guidance=settings.prior_guidance,
        target_norm=target_norm,
        vectors=vectors,
        spec=sampler_spec(
            "atm",
            vectors,
            generator.settings,
            sha256=hash_of(*parts, *generator.files),
            device=device,
        ),
    )


def load_toy_encoder(config: DecoderConfig) -> AtmEncoder:
    """Load the toy's encoder: random weights in the published layouts."""
    return load_encoder(_toy(config))


def load_toy_sampler(config: DecoderConfig) -> AtmSampler:
    """Load the toy's generator, in the bundled gallery's width."""
    return load_sampler(_toy(config))


def _toy(config: DecoderConfig) -> DecoderConfig:
    quiet_libraries()  # before diffusers' pipelines load, which remark on what they lack
    from models.atm.toy import toy_folder

    return in_folder(config, toy_folder(n_features=load_gallery().n_features))


def in_folder(config: DecoderConfig, folder: Path) -> DecoderConfig:
    """Settings that load from `folder`, unless they name another."""
    return config if config.weights else config.model_copy(update={"weights": str(folder)})


def weights_folder(config: DecoderConfig, system: str) -> Path:
    """Return `config.weights`, or the place in the user's data folder."""
    return Path(config.weights) if config.weights else installed_weights(system)


def generation_settings(config: DecoderConfig, settings: SystemSettings) -> GenerationSettings:
    """How to draw; a guidance of None is the folder's own."""
    guidance = config.guidance_scale
    return GenerationSettings(
        num_inference_steps=config.num_inference_steps,
        guidance_scale=settings.guidance_scale if guidance is None else guidance,
        size=settings.size,
    )


def sampler_spec(
    name: str,
    vectors: VectorFacts,
    settings: GenerationSettings,
    *,
    sha256: str,
    device: torch.device,
) -> SamplerSpec:
    """What a sampler of these vectors takes and draws."""
    return SamplerSpec(
        name=name,
        space=space_of(vectors),
        size=(settings.size, settings.size),
        steps=settings.num_inference_steps,
        sha256=sha256,
        device=str(device),
    )


def refuse_damaged(folder: Path, *, below: str = "") -> None:
    """Compare what lies `below` in a folder with its list of hashes, if it has one.

    Raises
    ------
    AtmError
        A file was changed or is gone.
    """
    status = check_weights(folder, below=below)
    if status.state == WeightState.DAMAGED:
        raise AtmError(f"{status.problems[0].split(';')[0]}; fetch or train it again.")


def open_encoder(folder: Path) -> AtmEncoder:
    """Load the encoder of a folder of weights.

    Raises
    ------
    PhospheneError
        A file is missing or damaged.
    """
    model, facts, whitening = read_encoder(folder / "encoder")
    refuse_damaged(folder, below="encoder/")
    return AtmEncoder(model, facts, whitening, sha256=hash_of(folder / "encoder" / MODEL))
