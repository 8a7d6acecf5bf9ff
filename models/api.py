"""What a decoding system is: an encoder, a generator, and a description that costs no import.

Owns the contract between the app and every system, ours and other people's. Knows no system, and
nothing of torch: a description must be readable at once, and where torch is broken.
`docs/how-to/add-a-system.md` follows it step by step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import platformdirs
from numpy.typing import NDArray

from configs import FilterConfig
from configs.guard import read_text
from models.weights import WeightState, WeightStatus, check_weights
from pipeline.values import Embedding, Epoch, Float32, Float64, GeneratedImage, Info, Uint8

if TYPE_CHECKING:
    from pipeline.gallery import Gallery

CLIP_H_IMAGE = "clip-vit-h-14-image"
"""Space of OpenCLIP ViT-H/14 image vectors (1024)."""
CLIP_L_TOKENS = "clip-vit-l-14-tokens"
"""Space of all 257 x 768 tokens of OpenAI CLIP ViT-L/14, projected (MindEye's)."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What one input of an encoder is.

    Every kind travels as an `Epoch`: an fMRI sample is one of `n_channels` voxels and few times.

    Attributes
    ----------
    sfreq : float
        Rate that it was trained at, Hz.
    kind : str
        Type of its channels: `eeg`, `fmri`, ...
    n_channels, n_times : int or None
        Sizes that it needs; None: any.
    unit : str
        Of the samples.
    ch_names : tuple of str
        Channels that it needs, all of them; empty: any labelled montage.
    montage : tuple of str
        Channels of a montage that will do, where neither any will nor all are needed.
    """

    sfreq: float
    kind: str = "eeg"
    n_channels: int | None = None
    n_times: int | None = None
    unit: str = "microvolts"
    ch_names: tuple[str, ...] = ()
    montage: tuple[str, ...] = ()

    def misfit(self, info: Info) -> str:
        """Say why a session's channels are none that it reads; empty where they may be."""
        kinds = set(info.ch_types)
        is_other = self.kind != "eeg" and kinds != {self.kind}
        if not is_other and self.n_channels in (None, info.n_channels):
            return ""
        wanted = "" if self.n_channels is None else f"{self.n_channels} "
        return (
            f"reads {wanted}channels of type {self.kind}, the session gives {info.n_channels} of "
            f"type {', '.join(sorted(kinds))}: choose another stream (source.type, source.picks) "
            "or another system (decoder.system)."
        )


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """What an encoder wants and gives.

    Attributes
    ----------
    name : str
    input : InputSpec
    tmin, tmax : float
        What it uses of an epoch, s from onset.
    l_freq, h_freq : float or None
        Filter that it was trained behind, Hz; None: none.
    n_features : int
        Numbers of one embedding.
    sha256 : str
        Of its weights.
    space : str
        Name of the space that its vectors live in: galleries and generators of the same space can
        rank and draw them. Empty: a space of its own.
    states_confidence : bool
        Whether its embeddings carry a confidence.
    temperature : float or None
        What similarities are divided by for honest probabilities; None: the gallery's own.
    classes : tuple of str
        Classes of events whose probabilities its embeddings carry; empty: it decodes none.
    class_of : tuple of (str, str)
        Markers' labels that it knows, and the class of each.
    prior : tuple of float
        Of each class, as its probabilities hold it; empty: all alike.
    learnt : tuple of (str, float, float)
        Parts of recordings that it was fitted to: SHA-256, first and last moment, s on the
        recording's clock. What it says there is no test of it.
    """

    name: str
    input: InputSpec
    tmin: float
    tmax: float
    l_freq: float | None
    h_freq: float | None
    n_features: int
    sha256: str = ""
    space: str = ""
    states_confidence: bool = False
    temperature: float | None = None
    classes: tuple[str, ...] = ()
    class_of: tuple[tuple[str, str], ...] = ()
    prior: tuple[float, ...] = ()
    learnt: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class SamplerSpec:
    """What a sampler takes and draws.

    Attributes
    ----------
    name : str
    space : str
        Of the vectors that it draws; as `EncoderSpec.space`.
    size : tuple of int
        Height and width of its pictures, pixels.
    steps : int
        Evaluations of its network a picture, 0 for one that has none.
    sha256 : str
        Of its weights.
    device : str
        Where it computes.
    """

    name: str
    space: str
    size: tuple[int, int]
    steps: int
    sha256: str = ""
    device: str = "cpu"


@runtime_checkable
class Encoder(Protocol):
    """Maps an epoch to an image embedding."""

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives."""
        ...

    def encode(self, epoch: Epoch) -> Embedding:
        """Embed one epoch; deterministic. Raises `PhospheneError` for one that does not fit."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """Draws the picture of an embedding."""

    @property
    def spec(self) -> SamplerSpec:
        """What it takes and draws."""
        ...

    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        """Draw; a pure function of the embedding, the seed and the sampler's settings.

        Raises `PhospheneError` for an embedding of another shape.
        """
        ...


@runtime_checkable
class SamplesBatches(Protocol):
    """A sampler that draws several embeddings together, for less than one by one.

    A picture is a pure function of its embedding, its seed and the batch's size: what the others
    are changes nothing of it.
    """

    def sample_batch(self, embeddings: Sequence[Embedding], *, seeds: Sequence[int]) -> Uint8:
        """Draw (n, height, width, 3) sRGB. Raises `PhospheneError` for another shape."""
        ...


@runtime_checkable
class KnowsGalleries(Protocol):
    """A sampler that can draw pictures of a gallery that it was not trained on."""

    def know(self, gallery: Gallery) -> None:
        """Draw the gallery's own pictures from now on where an embedding means one of them.

        Raises `PhospheneError` where it cannot.
        """
        ...


@runtime_checkable
class DrawsPrompts(Protocol):
    """A sampler that draws words, beside a vector of its space."""

    def draw_prompt(self, prompt: str, embedding: Embedding, *, seed: int) -> Uint8:
        """Draw (height, width, 3) sRGB. Raises `PhospheneError` where its text encoders lack."""
        ...


@runtime_checkable
class StatesOptions(Protocol):
    """A sampler that says which settings act on its pictures."""

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """What acts beside the embedding and the seed, by name: `steps`, `guidance`, ..."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on settings that do not act as one would think."""
        ...


@runtime_checkable
class SavesMemory(Protocol):
    """A sampler that can draw with less memory (`decoder.low_memory`)."""

    @property
    def can_save_memory(self) -> bool:
        """Whether these weights let it."""
        ...


@dataclass(frozen=True, slots=True)
class DrawingOptions:
    """How `phosphene generate` draws.

    Attributes
    ----------
    adaptive : bool
        Share the modalities' strength by how sure each prior is.
    oracle_prompt : bool
        Give the true label away in the text prompt.
    faults : tuple of str
        Of `DrawsModes.faults`, to repeat.
    prior_steps : int or None
        Steps of the priors; None: as the weights' settings say.
    """

    adaptive: bool = False
    oracle_prompt: bool = False
    faults: tuple[str, ...] = ()
    prior_steps: int | None = None


@runtime_checkable
class DrawsModes(Protocol):
    """A sampler that draws one embedding in several ways."""

    @property
    def modes(self) -> tuple[str, ...]:
        """Names of the ways."""
        ...

    def apply(self, options: DrawingOptions) -> Mapping[str, Any]:
        """Draw so from now on; return what the provenance of a picture says of it.

        Raises `ConfigurationError` for an option that it has not.
        """
        ...

    def draw_mode(
        self, embedding: Embedding, *, mode: str, seed: int, label: str
    ) -> tuple[dict[str, Uint8], dict[str, Any]]:
        """Pictures (height, width, 3) by name in the mode's order, and facts about them."""
        ...


@runtime_checkable
class HasPrior(Protocol):
    """A sampler that may have a prior in front, whose steps can be chosen."""

    prior_steps: int

    @property
    def has_prior(self) -> bool:
        """Whether it has one."""
        ...


@runtime_checkable
class ReadsFeatures(Protocol):
    """An encoder whose vectors a person's head is fitted to, read many windows at a time."""

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives."""
        ...

    def check_montage(self, ch_names: tuple[str, ...]) -> None:
        """Raise `PhospheneError` when it cannot do with a session's channels."""
        ...

    def features(
        self, data: NDArray[np.floating], ch_names: Sequence[str], sfreq: float
    ) -> Float64:
        """Read windows (n, n_channels, n_times), microvolts from onset on: (n, n_features)."""
        ...


@runtime_checkable
class EncodesPrepared(Protocol):
    """An encoder that takes prepared THINGS-EEG2 as it lies on disk."""

    def encode_prepared(
        self, eeg: Float32, ch_names: Sequence[str], *, subject_id: int, index: int
    ) -> Embedding:
        """Embed a whitened epoch (n_channels, n_times) at its rate, from onset on."""
        ...


@runtime_checkable
class Aligning(Protocol):
    """An encoder whose alignment follows the epochs that it observes; `encode` changes nothing."""

    @property
    def is_frozen(self) -> bool:
        """Whether what is applied stays as it is."""
        ...

    def observe(self, epoch: Epoch) -> None:
        """Take in an epoch that is about to be decoded."""
        ...

    def freeze(self) -> None:
        """Follow no further epoch."""
        ...

    def resume(self) -> None:
        """Follow again."""
        ...

    def reset(self) -> None:
        """Go back to the calibration's alignment."""
        ...


@runtime_checkable
class ExpectsCovariance(Protocol):
    """An encoder that can be aligned without labels, to what its training data looked like."""

    def expected_covariance(self, ch_names: tuple[str, ...]) -> Float64:
        """Covariance (n_channels, n_channels) of its training data under a montage, uV squared."""
        ...


@runtime_checkable
class ChecksFilter(Protocol):
    """An encoder that works behind one filter only."""

    def check_filter(self, config: FilterConfig) -> None:
        """Raise `PhospheneError` when a session filters otherwise."""
        ...


@runtime_checkable
class ChecksMontage(Protocol):
    """An encoder that works with some montages only, beyond what `InputSpec` can say."""

    def check_montage(self, ch_names: tuple[str, ...]) -> None:
        """Raise `PhospheneError` when it cannot do with a session's channels."""
        ...


@runtime_checkable
class StatesDrift(Protocol):
    """An encoder that says how far a session has gone from its calibration."""

    @property
    def drift(self) -> float:
        """Distance from the calibration; 0: none."""
        ...


@runtime_checkable
class StatesDoubt(Protocol):
    """An encoder that says how much evidence it lets go because of the session as a whole."""

    @property
    def doubt(self) -> float:
        """0: none; 1: the brain is like none that it knows, and every picture is fog."""
        ...


@dataclass(frozen=True, slots=True)
class Weights:
    """One set of weights: what it is for, its files (where they have a name), their origin.

    `switch` is a key of the folder's `system.json`; a folder where it is false does without.
    """

    purpose: str
    files: tuple[str, ...]
    source: str
    switch: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A function `module:name`, and what it does in one sentence."""

    function: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemDescriptor:
    """Everything that is known of a decoding system before it is loaded.

    A system brings an encoder, a generator (called sampler in code), or both; one that brings
    neither is announced and cannot run yet. Functions are text, `module:name`, so that listing
    imports none of them.

    Attributes
    ----------
    name : str
        As `decoder.system` and `decoder.generator` take it; that of its entry point.
    title : str
        What people call it.
    modality : str
        EEG or fMRI.
    input_shape : str
        Shape of one input, with its axes.
    target_space : str
        What the encoder's output means, in words.
    space : str
        The name of that space; empty: a space of its own.
    generator : str
        What draws the picture, in words.
    encoder, sampler : str
        `(DecoderConfig) -> Encoder` and `(DecoderConfig) -> Sampler`; the configuration's
        `weights` is the folder to load from, None: `folder`. Empty: it brings none.
    weights : tuple of Weights
        Everything that must be there before it can decode.
    folder : Path or None
        Where its weights lie; None: it needs none, or nothing can load them yet.
    is_shipped : bool
        Whether the weights come with the distribution.
    is_listed : bool
        Whether `phosphene systems` shows it unasked; toys of random weights are not.
    drawn_by : str
        Generator that draws it unless another is chosen; empty: its own.
    preset : str
        Shipped preset, or path of a TOML file, whose epochs and filter fit it.
    stages : mapping of str to Entry
        Training stages, `(StageRequest) -> dict`, a report.
    importer : Entry or None
        `(files: Sequence[Path], out: Path) -> dict`, a report.
    reference : str
        The paper; empty for our own.
    notes : str
        What a reader of its figures must know.
    options : tuple of (str, str)
        Training settings beside the published ones, each with its published gain.
    opens : tuple of str
        What its sampler opens of a folder or file that says no name of ours: `_class_name` in
        `model_index.json`, or a file's ending.
    """

    name: str
    title: str
    modality: str = "EEG"
    input_shape: str = ""
    target_space: str = ""
    space: str = ""
    generator: str = ""
    encoder: str = ""
    sampler: str = ""
    drawn_by: str = ""
    weights: tuple[Weights, ...] = ()
    folder: Path | None = None
    is_shipped: bool = False
    is_listed: bool = True
    preset: str = "default"
    stages: Mapping[str, Entry] = field(default_factory=dict)
    importer: Entry | None = None
    reference: str = ""
    notes: str = ""
    options: tuple[tuple[str, str], ...] = ()
    opens: tuple[str, ...] = ()

    @property
    def is_implemented(self) -> bool:
        """Whether this version can run it."""
        return bool(self.encoder or self.sampler)

    def status(self) -> WeightStatus | None:
        """Look for the weights; None for a system that has none to look for.

        Each file that is missing gives one sentence: where it belongs, what it is, its source.
        """
        if self.folder is None:
            return None
        sources = {name: item for item in self._needed(self.folder) for name in item.files}
        remedy = "install Phosphene again" if self.is_shipped else "import or train it again"
        found = check_weights(self.folder, list(sources), remedy=remedy)
        if found.state != WeightState.MISSING:
            return found
        problems = tuple(
            f"{self.folder / name} is missing, expected the {item.purpose}: {item.source}"
            for name, item in sources.items()
            if not (self.folder / name).is_file()
        )
        return replace(found, problems=problems)

    def _needed(self, folder: Path) -> tuple[Weights, ...]:
        """Leave out what the folder's settings say that it does without."""
        try:
            settings = json.loads(read_text(folder / "system.json"))
            off = {name for name, value in settings.items() if value is False}
        except (OSError, ValueError, AttributeError, RecursionError):
            off = set()
        return tuple(item for item in self.weights if item.switch not in off)


def installed_weights(system: str) -> Path:
    """Folder where the user's weights of a published system are looked for."""
    data = platformdirs.user_data_path("phosphene", appauthor=False)
    return Path(data) / "systems" / system
