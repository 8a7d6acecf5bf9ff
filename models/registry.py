"""Every decoding system as data: what goes in, what comes out, which weights it needs.

Owns the facts that `phosphene systems` shows; a system that cannot run is listed as such. Knows
nothing of torch: the table must be readable at once, and where torch is broken.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import BaseModel

from configs.atm import RetrievalTrainingConfig
from configs.guard import read_text
from models.weights import WeightState, WeightStatus, check_weights

PRIOR = "diffusion prior"
"""The one part of ATM that a prior-free folder does without."""
SHIPPED = "install Phosphene again"
EMBEDDED_WEIGHTS = Path(__file__).parent / "embedded" / "weights"


def installed_weights(system: str) -> Path:
    """Folder where the user's weights of a published system are looked for."""
    data = platformdirs.user_data_path("phosphene", appauthor=False)
    return Path(data) / "systems" / system


@dataclass(frozen=True, slots=True)
class Weights:
    """One set of weights: what it is for, its files (where they have a name), their origin."""

    purpose: str
    files: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """One decoding system.

    Attributes
    ----------
    name : str
        As `decoder.system` takes it.
    title : str
        What people call it.
    modality : str
        EEG or fMRI.
    input_shape : str
        Shape of one input, with its axes.
    target_space : str
        What the encoder's output means.
    generator : str
        What draws the picture.
    weights : tuple of Weights
        Everything that must be there before it can decode.
    is_implemented : bool
        Whether this version can run it.
    reference : str
        The paper; empty for our own.
    notes : str
        What a reader of its figures must know.
    folder : Path or None
        Where its weights lie; None while there is nothing to load them.
    options : tuple of (str, str)
        Training settings beside the published ones, each with its published gain.
    """

    name: str
    title: str
    modality: str
    input_shape: str
    target_space: str
    generator: str
    weights: tuple[Weights, ...]
    is_implemented: bool
    reference: str = ""
    notes: str = ""
    folder: Path | None = None
    options: tuple[tuple[str, str], ...] = ()

    def status(self) -> WeightStatus | None:
        """Look for the weights; None for a system that is not implemented.

        Each file that is missing gives one sentence: where it belongs, what it is, its source.
        """
        if self.folder is None:
            return None
        sources = {name: item for item in self._needed(self.folder) for name in item.files}
        remedy = SHIPPED if self.folder == EMBEDDED_WEIGHTS else "import or train it again"
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
        """Leave the prior out where the folder's settings say that there is none."""
        try:
            settings = json.loads(read_text(folder / "system.json"))
            is_free = settings.get("has_prior") is False
        except (OSError, ValueError, AttributeError, RecursionError):
            is_free = False
        return tuple(item for item in self.weights if not (is_free and item.purpose == PRIOR))


def _options(config: type[BaseModel], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Settings of a training stage with what their docstrings say of them, gains included."""
    return tuple(
        (f"training.{name}", " ".join(str(config.model_fields[name].description).split()))
        for name in names
    )


def _first_paragraph(function: Any) -> str:
    """What a preset's docstring says after its heading."""
    return " ".join(str(function.__doc__).split("\n\n", 1)[-1].split())


_ADAPTER = Weights(
    "image conditioning of SDXL",
    ("ip-adapter_sdxl_vit-h.safetensors",),
    "Hugging Face h94/IP-Adapter, sdxl_models/",
)

_ATM_OPTIONS = (
    *_options(
        RetrievalTrainingConfig,
        (
            "multi_positive",
            "normalise",
            "average_repetitions",
            "picks",
            "features",
            "batch_size",
            "network",
        ),
    ),
    ("preset = 'enigma'", _first_paragraph(RetrievalTrainingConfig.enigma)),
)

SYSTEMS: tuple[SystemFacts, ...] = (
    SystemFacts(
        name="embedded",
        title="Phosphene's own small model",
        modality="EEG",
        input_shape="(n_channels, n_times), any labelled montage",
        target_space="embedding of the bundled gallery's concepts",
        generator="small autoencoder + conditional UNet (diffusers classes), 1-4 steps",
        weights=(
            Weights("encoder", ("encoder/model.safetensors",), "ships with Phosphene"),
            Weights(
                "generator",
                tuple(
                    f"{part}/diffusion_pytorch_model.safetensors"
                    for part in ("vae", "unet", "projection")
                ),
                "ships with Phosphene",
            ),
        ),
        is_implemented=True,
        notes="Trained on virtual subjects; a person needs calibration.",
        folder=EMBEDDED_WEIGHTS,
    ),
    SystemFacts(
        name="dreamdiffusion",
        title="DreamDiffusion",
        modality="EEG",
        input_shape="(128 channels, 512 times)",
        target_space="77 x 768 context of Stable Diffusion, aligned with CLIP ViT-L/14 (768)",
        generator="Stable Diffusion 1.5, PLMS 250 steps, 512 px",
        weights=(
            Weights(
                "EEG encoder and condition path",
                ("condition/model.safetensors",),
                "generation/checkpoint.pth of its authors (github.com/bbaaii/DreamDiffusion) with "
                "`phosphene import dreamdiffusion`, or `phosphene train dreamdiffusion a`, then "
                "`b` (which begins from v1-5-pruned.ckpt of Stable Diffusion 1.5)",
            ),
            Weights(
                "fine-tuned generator",
                tuple(f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")),
                "as the condition path: `phosphene import dreamdiffusion`, or stage `b`",
            ),
        ),
        is_implemented=True,
        folder=installed_weights("dreamdiffusion"),
        reference="Bai et al., arXiv 2306.16934",
        notes="Its data set was recorded in blocks of one class: published figures measure block "
        "identity at least in part.",
    ),
    SystemFacts(
        name="atm",
        title="ATM-S with its diffusion prior",
        modality="EEG",
        input_shape="(63 channels, 250 times), any labelled montage is mapped",
        target_space="OpenCLIP ViT-H-14 (1024)",
        generator="SDXL-Turbo with IP-Adapter, 4 steps, 512 px",
        weights=(
            Weights(
                "encoder",
                ("encoder/model.safetensors",),
                "`phosphene train atm encoder` on THINGS-EEG2, or a checkpoint of its authors "
                "(github.com/dongyangli-del/EEG_Image_decode) with `phosphene import atm`",
            ),
            Weights(
                PRIOR,
                ("prior/model.safetensors",),
                "`phosphene train atm prior`, or its authors' with `phosphene import atm`",
            ),
            Weights(
                "diffusion model",
                ("generator/model_index.json",),
                "Hugging Face stabilityai/sdxl-turbo, the folder as it is, or its single file "
                "with `phosphene import atm`",
            ),
            _ADAPTER,
        ),
        is_implemented=True,
        reference="Li et al., arXiv 2403.07721",
        notes="Its figures choose the best pass on the test set; here a validation split does.",
        folder=installed_weights("atm"),
        options=_ATM_OPTIONS,
    ),
    SystemFacts(
        name="atm-multimodal",
        title="ATM-S with five modality priors",
        modality="EEG",
        input_shape="(63 channels, 250 times), any labelled montage is mapped",
        target_space="OpenCLIP ViT-H-14 (1024): image, text, three superpixel scales",
        generator="SDXL with IP-Adapter, 30 steps, 768 px",
        weights=(
            Weights(
                "encoder and five priors",
                (
                    "encoder/model.safetensors",
                    *(
                        f"priors/{modality}/model.safetensors"
                        for modality in ("image", "text", "few", "middle", "large")
                    ),
                ),
                "`phosphene train atm-multimodal train` on THINGS-EEG2, or a checkpoint of its "
                "original with `phosphene import atm-multimodal` (none is published)",
            ),
            Weights(
                "diffusion model",
                ("generator/model_index.json",),
                "Hugging Face stabilityai/stable-diffusion-xl-base-1.0, the folder as it is, or "
                "its single file with `phosphene import atm-multimodal`",
            ),
            _ADAPTER,
        ),
        is_implemented=True,
        reference="Li et al., arXiv 2403.07721 (its base)",
        notes="The original's prompt holds the true class name: its figures are likely inflated.",
        folder=installed_weights("atm-multimodal"),
    ),
    SystemFacts(
        name="mind-vis",
        title="MinD-Vis",
        modality="fMRI",
        input_shape="(1, n_voxels) padded to a multiple of 16",
        target_space="77 x 512 context of a latent diffusion model",
        generator="class-conditional ImageNet latent diffusion, PLMS 250 steps, 256 px",
        weights=(
            Weights("fMRI encoder", ("fmri_encoder.pth",), "its authors (two subjects)"),
            Weights("fine-tuned generator", ("finetuned.pth",), "its authors (two subjects)"),
            Weights("diffusion model", ("label2img/model.ckpt",), "its authors"),
        ),
        is_implemented=False,
        reference="Chen et al., arXiv 2211.06956",
        notes="fMRI is not live; its encoder is tuned on the test set's signals.",
    ),
    SystemFacts(
        name="contrast-attend-diffuse",
        title="Contrast, Attend and Diffuse",
        modality="fMRI",
        input_shape="(1, n_voxels) padded to a multiple of 16",
        target_space="77 x 512 context of a latent diffusion model",
        generator="class-conditional ImageNet latent diffusion, PLMS 250 steps, 256 px",
        weights=(
            Weights("fMRI encoder", (), "not published whole: to be trained"),
            Weights("image encoder of training", (), "Hugging Face facebook/vit-mae-base"),
            Weights("diffusion model", ("label2img/model.ckpt",), "as for mind-vis"),
        ),
        is_implemented=False,
        reference="Sun et al., arXiv 2305.17214",
        notes="fMRI is not live; a published checkpoint is missing.",
    ),
    SystemFacts(
        name="mindeye",
        title="MindEye",
        modality="fMRI",
        input_shape="(n_voxels,), 12 682 to 17 907 by subject",
        target_space="257 x 768 tokens of CLIP ViT-L/14",
        generator="Versatile Diffusion, UniPC 20 steps, 512 px, best of 16",
        weights=(
            Weights("backbone, projector and prior", (), "its authors, one subject"),
            Weights("low-level decoder", ("epoch120.pth",), "its authors"),
            Weights("diffusion model", (), "Hugging Face shi-labs, Versatile Diffusion"),
        ),
        is_implemented=False,
        reference="Scotti et al., arXiv 2305.18274",
        notes="fMRI is not live; the data set needs a signed agreement.",
    ),
)


def find_system(name: str) -> SystemFacts | None:
    """Return the system of that name, None where there is none."""
    return next((facts for facts in SYSTEMS if facts.name == name), None)
