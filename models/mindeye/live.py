"""MindEye behind the ports: a scan becomes CLIP tokens, tokens a picture.

Owns what an embedding holds: its vector is the projector's tokens, which live in CLIP's space, are
ranked in any gallery of it and judge the pictures that are drawn; its condition is what the prior
and the low-level picture need beside it. A vector that comes without one (of another decoder of
the same space) is drawn as it is. Knows nothing of streams or of training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from configs import DecoderConfig
from configs.mindeye import BackboneConfig
from models.accelerators import choose_device, choose_dtype
from models.api import EncoderSpec, InputSpec, SamplerSpec, installed_weights
from models.mindeye.backbone import Backbone
from models.mindeye.errors import MindEyeError
from models.mindeye.folder import (
    BACKBONE,
    DRAWING_SOURCE,
    TOWER,
    UNET,
    VAE,
    Settings,
    load_backbone,
    load_low_level,
    load_prior,
    load_settings,
    read_sizes,
)
from models.mindeye.generation import Networks, TokenSampler
from models.mindeye.low_level import LowLevelNetwork
from models.mindeye.reconstruction import Drawing
from models.mindeye.targets import ClipTokens
from models.stable_diffusion.libraries import quiet_libraries
from models.weights import WeightState, check_weights, hash_folder
from pipeline.values import Embedding, Epoch
from pipeline.volumes import KIND, voxel_vector

NAME = "mindeye"
SFREQ, TMIN, TMAX = 0.5, 0.0, 0.5
"""One sample an event: the response as NSD's betas hold it, at the marker."""
GENERATOR = {
    UNET: "UNet2DConditionModel",
    VAE: "AutoencoderKL",
    TOWER: "CLIPVisionModelWithProjection",
}
"""What draws, and what judges, by place below the folder of weights."""


class VoxelEncoder:
    """Backbone, projector and low-level network; satisfies `models.api.Encoder`.

    It states no confidence.
    """

    def __init__(
        self,
        backbone: Backbone,
        low_level: LowLevelNetwork | None,
        *,
        settings: Settings,
        sha256: str,
    ) -> None:
        self._backbone, self._low_level = backbone, low_level
        self._settings = settings
        config = backbone.config
        self._spec = EncoderSpec(
            name=NAME,
            input=InputSpec(
                SFREQ,
                kind=KIND,
                n_channels=None if settings.pools_voxels else config.n_voxels,
                unit="arbitrary",
            ),
            tmin=TMIN,
            tmax=TMAX,
            l_freq=None,
            h_freq=None,
            n_features=config.n_tokens * config.width,
            sha256=sha256,
            space=settings.space,
        )

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives."""
        return self._spec

    @torch.inference_mode()
    def encode(self, epoch: Epoch) -> Embedding:
        """Tokens (n_tokens, width) of a scan, one row where the variant has one.

        Raises
        ------
        ShapeError
            It has another count of voxels than the weights.
        """
        voxels = torch.from_numpy(self._voxels(epoch))[None].to(self._backbone.lin1.weight)
        made = self._backbone(voxels)
        unit = functional.normalize(made.projected.float().flatten(), dim=0)
        vector = unit.view(self._backbone.config.n_tokens, -1).squeeze(0)
        parts = [made.tokens.flatten()]
        if self._low_level is not None:
            parts.append(self._low_level(voxels).latents.flatten())
        return Embedding(
            vector=(vector * self._settings.vector_norm).cpu().numpy(),
            index=epoch.index,
            t_onset=epoch.t_onset,
            condition=torch.cat(parts).float().cpu().numpy(),
        )

    def _voxels(self, epoch: Epoch) -> Any:
        n_voxels = self._backbone.config.n_voxels
        if not self._settings.pools_voxels:
            return voxel_vector(epoch, n_voxels=n_voxels, tmin=TMIN, tmax=TMAX)
        given = torch.from_numpy(voxel_vector(epoch, tmin=TMIN, tmax=TMAX))
        return functional.adaptive_avg_pool1d(given[None, None], n_voxels)[0, 0].numpy()


def load_encoder(config: DecoderConfig) -> VoxelEncoder:
    """Load backbone and low-level network below `config.weights`, or in the user's data folder.

    Raises
    ------
    PhospheneError
        A file is missing or damaged: which, where it comes from and where it belongs.
    """
    folder = _folder(config)
    settings = load_settings(folder)
    device, dtype = choose_device(config.device), choose_dtype(config)
    backbone = load_backbone(folder)
    low_level = load_low_level(folder) if settings.has_low_level else None
    for part in (BACKBONE, "low_level"):
        _refuse_damaged(folder, below=f"{part}/")
    return VoxelEncoder(
        backbone.to(device, dtype),
        None if low_level is None else low_level.to(device, dtype),
        settings=settings,
        sha256=hash_folder(folder),
    )


def load_sampler(config: DecoderConfig) -> TokenSampler:
    """Load the prior and Versatile Diffusion's image path; as `load_encoder`."""
    folder = _folder(config)
    settings = load_settings(folder)
    sizes = read_sizes(folder, BACKBONE, BackboneConfig)
    device, dtype = choose_device(config.device), choose_dtype(config)
    prior = load_prior(folder).to(device, dtype) if settings.has_prior else None
    unet, vae = (_network(folder, place).to(device, dtype).eval() for place in (UNET, VAE))
    judge = None
    if settings.n_samples > 1:
        judge = ClipTokens(_network(folder, TOWER).to(device, dtype))
        _check_fit(judge.shape, (sizes.n_tokens, sizes.width), what=TOWER)
    _check_fit((unet.config.cross_attention_dim,), (sizes.width,), what=UNET)
    for part in ("prior", "generator"):
        _refuse_damaged(folder, below=f"{part}/")
    guidance = settings.guidance_scale if config.guidance_scale is None else config.guidance_scale
    drawing = Drawing(config.num_inference_steps, guidance, settings.strength)
    return TokenSampler(
        Networks(unet, vae, prior, judge),
        sizes,
        drawing=drawing,
        settings=settings,
        spec=SamplerSpec(
            name=NAME,
            space=settings.space,
            size=(settings.size, settings.size),
            steps=config.num_inference_steps,
            sha256=hash_folder(folder),
            device=str(device),
        ),
    )


def load_toy_encoder(config: DecoderConfig) -> VoxelEncoder:
    """Load the toy's encoder: random weights, through the importer of the published files."""
    return load_encoder(_toy(config))


def load_toy_sampler(config: DecoderConfig) -> TokenSampler:
    """Load the toy's generator; as `load_toy_encoder`."""
    return load_sampler(_toy(config))


def _toy(config: DecoderConfig) -> DecoderConfig:
    quiet_libraries()
    from models.mindeye.toy import toy_folder

    folder = config.weights or str(toy_folder())
    return config.model_copy(update={"weights": folder})


def _folder(config: DecoderConfig) -> Path:
    return Path(config.weights) if config.weights else installed_weights(NAME)


def _network(folder: Path, place: str) -> Any:
    """Load a network of diffusers or transformers from its place.

    Raises
    ------
    MindEyeError
        It is not there, of another class, or damaged.
    """
    quiet_libraries()
    import diffusers
    import transformers

    kind: Any
    kind = {
        UNET: diffusers.UNet2DConditionModel,
        VAE: diffusers.AutoencoderKL,
        TOWER: transformers.CLIPVisionModelWithProjection,
    }[place]
    if not (folder / place / "config.json").is_file():
        raise MindEyeError(
            f"{folder / place / 'config.json'} is missing, expected Versatile Diffusion's "
            f"{GENERATOR[place]}, {DRAWING_SOURCE}; put it there."
        )
    try:
        return kind.from_pretrained(folder / place, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split()[:20])
        raise MindEyeError(
            f"{folder / place} holds no usable {GENERATOR[place]} ({reason}): import it again."
        ) from None


def _check_fit(found: tuple[int, ...], expected: tuple[int, ...], *, what: str) -> None:
    if found != expected:
        raise MindEyeError(
            f"{what} works with {found}, the backbone's tokens are {expected}: they are parts of "
            "different systems (the single-vector variant retrieves and draws nothing)."
        )


def _refuse_damaged(folder: Path, *, below: str) -> None:
    status = check_weights(folder, below=below)
    if status.state == WeightState.DAMAGED:
        raise MindEyeError(f"{status.problems[0].split(';')[0]}; import or train it again.")
