"""DreamDiffusion behind the ports: an epoch becomes a context, a context a picture.

Owns the way from any headset's epoch to the network's signal, and the choice of the sampler.
Knows nothing of streams or of training. The signal of a live epoch at 1 kHz is the paired trial's
of `items.paired_item`, sample for sample; only the scale differs: the data set was standardised
as a whole, a live epoch is standardised by itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from configs import DecoderConfig
from models.accelerators import choose_device
from models.api import EncoderSpec, InputSpec, SamplerSpec, installed_weights
from models.checkpoints import CheckpointError
from models.dreamdiffusion.folder import load_model, load_stage
from models.dreamdiffusion.items import fill_channels
from models.latent_diffusion.conditioning import ConditionStage
from models.latent_diffusion.lora import LORA_FILE, fuse_lora
from models.latent_diffusion.model import LatentDiffusion
from models.sampling import denoisers, schedules, solvers
from models.sampling.denoisers import Backend, Level, Network, eager
from models.sampling.noise import seeded_noise
from models.sampling.pictures import to_pixels
from models.weights import HASHES, WeightState, check_weights
from pipeline.electrodes import canonical_name
from pipeline.errors import ConfigurationError, ShapeError
from pipeline.values import Embedding, Epoch, Float32, GeneratedImage

NAME = "dreamdiffusion"
FEW_STEPS = 8
"""Up to this many steps a sampler for few steps draws; above, PLMS as published."""
SolverName = Literal["lcm", "dpm", "plms"]
SOLVERS: dict[SolverName, str] = {"lcm": "LCM", "dpm": "DPM-Solver++", "plms": "PLMS"}
"""`plms` is the published one (250 steps); `lcm` draws in 1 to 8 steps with a distilled U-Net or an
LCM-LoRA, and is wrong with any other; `dpm` is for few steps with weights that were not distilled.
"""
LCM_SCHEDULER = "LCMScheduler"
"""`_class_name` in `scheduler/scheduler_config.json` of weights that were distilled as a whole."""


def signal_of(epoch: Epoch, *, preprocessing: dict[str, Any], shape: tuple[int, int]) -> Float32:
    """Signal (n_channels, n_times) of an epoch of any montage and rate.

    Linear interpolation at `n_times` points of the published interval; each channel to mean 0 and
    deviation 1. Where the weights name their channels, each takes its own and absent ones are
    zero; where they do not (the published ones do not), the montage is repeated until it fills
    the network, as in pre-training.

    Raises
    ------
    ConfigurationError
        The epoch does not cover the interval.
    """
    n_channels, n_times = shape
    tmin, tmax = float(preprocessing["tmin"]), float(preprocessing["tmax"])
    times = epoch.tmin + np.arange(epoch.data.shape[1]) / epoch.info.sfreq
    room = 0.5 / epoch.info.sfreq
    if times[0] > tmin + room or times[-1] < tmax - room:
        raise ConfigurationError(
            f"the epoch covers {times[0]:.3f} to {times[-1]:.3f} s, expected {tmin} to {tmax} s: "
            "set epochs.tmin and epochs.tmax around it."
        )
    at = np.linspace(tmin, tmax, n_times)
    eeg = [i for i, kind in enumerate(epoch.info.ch_types) if kind == "eeg"]
    data = np.stack([np.interp(at, times, epoch.data[i]) for i in eeg])
    data = data - data.mean(axis=1, keepdims=True)
    data /= np.maximum(data.std(axis=1, keepdims=True), 1e-6)
    names = [epoch.info.ch_names[i] for i in eeg]
    wanted = list(preprocessing.get("ch_names") or ())
    signal = _arrange(data, names, wanted) if wanted else fill_channels(data, n_channels)
    return np.ascontiguousarray(signal[:n_channels], dtype=np.float32)


def _arrange(data: np.ndarray[Any, Any], names: list[str], wanted: list[str]) -> Any:
    place = {canonical_name(name) or name: i for i, name in enumerate(names)}
    signal = np.zeros((len(wanted), data.shape[1]))
    for row, name in enumerate(wanted):
        index = place.get(canonical_name(name) or name)
        if index is not None:
            signal[row] = data[index]
    return signal


class ContextEncoder:
    """The condition stage; satisfies `models.api.Encoder`. It states no confidence."""

    def __init__(self, stage: ConditionStage, table: dict[str, Any], *, sha256: str) -> None:
        self._stage = stage
        self._preprocessing: dict[str, Any] = table["preprocessing"]
        sizes = table["encoder"]
        self._shape = (int(sizes["n_channels"]), int(sizes["n_times"]))
        self._spec = EncoderSpec(
            name=NAME,
            input=InputSpec(
                float(self._preprocessing["sfreq"]),
                montage=tuple(self._preprocessing.get("ch_names") or ()),
            ),
            tmin=float(self._preprocessing["tmin"]),
            tmax=float(self._preprocessing["tmax"]),
            l_freq=5.0,
            h_freq=95.0,
            # Values of one embedding: what publishes them has to know before the first.
            n_features=int(
                table["condition"]["context_tokens"] * table["condition"]["context_dim"]
            ),
            sha256=sha256,
            space=space_of(table),
        )

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives."""
        return self._spec

    @torch.inference_mode()
    def encode(self, epoch: Epoch) -> Embedding:
        """Context (context_tokens, context_dim) float32 of an epoch."""
        signal = signal_of(epoch, preprocessing=self._preprocessing, shape=self._shape)
        context, _ = self._stage(torch.from_numpy(signal)[None])
        return Embedding(
            vector=context[0].numpy().astype(np.float32), index=epoch.index, t_onset=epoch.t_onset
        )


class ContextSampler:
    """Stable Diffusion with both condition paths; satisfies `models.api.Sampler`."""

    def __init__(
        self,
        model: LatentDiffusion,
        *,
        guidance_scale: float | None = None,
        solver: SolverName = "plms",
        spec: SamplerSpec,
        backend: Backend = eager,
    ) -> None:
        self._guidance = 1.0 if guidance_scale is None else guidance_scale
        self._model, self._unet = model, backend(model.unet)
        self._spec, self._steps = spec, spec.steps
        self._solver: SolverName = solver
        self._levels = _levels_of(solver, spec.steps, device=model.unet.device)
        depth = len(model.vae.config.block_out_channels) - 1
        height, width = (side // 2**depth for side in spec.size)
        self._latent = (model.vae.config.latent_channels, height, width)

    @property
    def spec(self) -> SamplerSpec:
        """What it takes and draws."""
        return self._spec

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """What acts on its pictures."""
        return {"steps": self._steps, "guidance": self._guidance, "solver": SOLVERS[self._solver]}

    @property
    def remarks(self) -> tuple[str, ...]:
        """Say so where the weights are not made for so few steps."""
        if self._solver != "dpm":
            return ()
        return (
            f"DreamDiffusion draws in {self._steps} steps with DPM-Solver++: its weights do not "
            f"say that they were LCM-distilled (no {LORA_FILE}, no {LCM_SCHEDULER} in scheduler/). "
            "Published are 250 steps of PLMS.",
        )

    @torch.no_grad()
    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        """Draw the picture of a context.

        Raises
        ------
        ShapeError
            The embedding is not a context of this model.
        """
        width = self._model.unet.config.cross_attention_dim
        if embedding.vector.ndim != 2 or embedding.vector.shape[1] != width:
            raise ShapeError(
                f"the embedding has shape {embedding.vector.shape}, expected (n_tokens, {width}): "
                "use DreamDiffusion's own encoder."
            )
        like = self._model.unet.conv_in.weight
        context = torch.from_numpy(np.array(embedding.vector))[None].to(like, non_blocking=True)
        latents = self._draw(context, seeds=(seed,))
        return GeneratedImage(
            pixels=to_pixels(self._model.decode_latents(latents.to(like)))[0],
            seed=seed,
            index=embedding.index,
            t_onset=embedding.t_onset,
        )

    def _draw(self, context: Tensor, *, seeds: tuple[int, ...]) -> Tensor:
        """Scaled latents of contexts (n, n_tokens, width)."""
        network = self._network(context)
        if self._guidance != 1.0:
            # Weights that were trained with condition dropout know the empty context.
            empty = self._network(torch.zeros_like(context))
            network = denoisers.guided(denoisers.apart(empty, network), self._guidance)
        denoise = denoisers.epsilon(denoisers.in_dtype(network, context.dtype))
        noise = seeded_noise(seeds, self._latent, like=context)
        start = next(noise)
        if self._solver == "lcm":
            return solvers.last(solvers.lcm(denoise, start, self._levels, noise))
        solve = solvers.plms if self._solver == "plms" else solvers.dpmpp_2m
        return solvers.last(solve(denoise, start, self._levels))

    def _network(self, context: Tensor) -> Network:
        added = self._model.time_vector(context)

        def predict(x: Tensor, time: Tensor) -> Tensor:
            predicted = self._unet(
                x, time, encoder_hidden_states=context, class_labels=added, return_dict=False
            )
            return torch.as_tensor(predicted[0])

        return predict


def _levels_of(solver: SolverName, n: int, *, device: torch.device) -> list[Level]:
    table = schedules.alphas_cumprod(**schedules.SD15, scaled=True)
    if solver == "dpm":
        return schedules.snr_levels(table, schedules.trailing_times(n), device=device)
    times = schedules.lcm_times(n) if solver == "lcm" else schedules.compvis_times(n)
    return schedules.vp_levels(table, times, last=table[0], device=device)


def load_encoder(config: DecoderConfig) -> ContextEncoder:
    """Load the condition stage from `config.weights`, or from the user's data folder.

    Raises
    ------
    PhospheneError
        Weights are missing, damaged, or set for something else; one sentence.
    """
    folder = _folder(config)
    stage, table = load_stage(folder)
    _refuse_damaged(folder, below="condition/")
    return ContextEncoder(stage, table, sha256=_digest(folder))


def load_sampler(config: DecoderConfig) -> ContextSampler:
    """Load Stable Diffusion with both condition paths; as `load_encoder`."""
    folder, steps = _folder(config), config.num_inference_steps
    model, table = load_model(folder)
    del model.condition_stage  # the encoder's, which has its own
    _refuse_damaged(folder)
    solver: SolverName = "dpm" if steps <= FEW_STEPS else "plms"
    if _is_distilled(folder):
        solver = "lcm"
    elif steps <= FEW_STEPS and (folder / LORA_FILE).is_file():
        fuse_lora(model.unet, folder / LORA_FILE)
        solver = "lcm"
    if config.low_memory:
        model.vae.enable_tiling()
    side = int(table["preprocessing"].get("side", 512))
    device = choose_device(config.device)
    return ContextSampler(
        model.to(device),
        guidance_scale=config.guidance_scale,
        solver=solver,
        spec=SamplerSpec(
            name=NAME,
            space=space_of(table),
            size=(side, side),
            steps=steps,
            sha256=_digest(folder),
            device=str(device),
        ),
    )


def load_toy_encoder(config: DecoderConfig) -> ContextEncoder:
    """Load the toy's encoder: random weights in the published layout, through the importer."""
    return load_encoder(_toy(config))


def load_toy_sampler(config: DecoderConfig) -> ContextSampler:
    """Load the toy's generator; as `load_toy_encoder`."""
    return load_sampler(_toy(config))


def space_of(table: Mapping[str, Any]) -> str:
    """Name of the space of a folder's contexts: their own, by tokens and width."""
    condition = table["condition"]
    return f"dreamdiffusion-context-{condition['context_tokens']}x{condition['context_dim']}"


def _folder(config: DecoderConfig) -> Path:
    return Path(config.weights) if config.weights else installed_weights(NAME)


def _toy(config: DecoderConfig) -> DecoderConfig:
    from models.dreamdiffusion.toy import toy_folder

    folder = config.weights or str(toy_folder())
    return config.model_copy(update={"weights": folder})


def _refuse_damaged(folder: Path, *, below: str = "") -> None:
    status = check_weights(folder, below=below)
    if status.state == WeightState.DAMAGED:
        raise CheckpointError(f"{status.problems[0]}; import the published checkpoint again.")


def _digest(folder: Path) -> str:
    """SHA-256 over the folder's list of hashes."""
    hashes = folder / HASHES
    table = json.loads(hashes.read_text()) if hashes.is_file() else {}
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def _is_distilled(folder: Path) -> bool:
    """Whether the U-Net itself was LCM-distilled, by the scheduler that lies beside it."""
    try:
        text = (folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8")
        return bool(json.loads(text).get("_class_name") == LCM_SCHEDULER)
    except (OSError, ValueError, AttributeError):
        return False
