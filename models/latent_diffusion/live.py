"""Conditioned latent diffusion behind the ports: an epoch becomes a context, a context a picture.

Owns the encoder and the sampler that every system of this family runs, and the choice of the
solver. How an epoch becomes the network's signal is a function that the system gives. Knows nothing
of streams or of training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from configs import DecoderConfig
from models.accelerators import choose_device, choose_dtype
from models.api import EncoderSpec, InputSpec, SamplerSpec, installed_weights
from models.checkpoints import CheckpointError
from models.latent_diffusion.conditioning import ConditionStage
from models.latent_diffusion.folder import Home, load_model, load_stage
from models.latent_diffusion.lora import LORA_FILE, fuse_lora
from models.latent_diffusion.model import LatentDiffusion
from models.sampling import denoisers, schedules, solvers
from models.sampling.decoding import Decoding, has_tiles, use_tiles
from models.sampling.denoisers import Level, Network
from models.sampling.noise import seeded_noise
from models.sampling.parts import Part
from models.sampling.pictures import to_pixels
from models.weights import WeightState, check_weights, hash_folder
from pipeline.errors import ShapeError
from pipeline.values import Embedding, Epoch, Float32, GeneratedImage

FEW_STEPS = 8
"""Up to this many steps a sampler for few steps draws; above, PLMS as published."""
SolverName = Literal["lcm", "dpm", "plms"]
SOLVERS: dict[SolverName, str] = {"lcm": "LCM", "dpm": "DPM-Solver++", "plms": "PLMS"}
"""`plms` is the published one (250 steps); `lcm` draws in 1 to 8 steps with a distilled U-Net or an
LCM-LoRA, and is wrong with any other; `dpm` is for few steps with weights that were not distilled.
"""
LCM_SCHEDULER = "LCMScheduler"
"""`_class_name` in `scheduler/scheduler_config.json` of weights that were distilled as a whole."""
SignalOf = Callable[[Epoch], Float32]
"""Makes an epoch the signal (n_channels, n_times) that the encoder reads."""


class ContextEncoder:
    """A condition stage; satisfies `models.api.Encoder`. It states no confidence."""

    def __init__(self, stage: ConditionStage, *, spec: EncoderSpec, signal_of: SignalOf) -> None:
        self._stage, self._spec, self._signal_of = stage, spec, signal_of

    @property
    def spec(self) -> EncoderSpec:
        """What it wants and gives."""
        return self._spec

    @torch.inference_mode()
    def encode(self, epoch: Epoch) -> Embedding:
        """Context (context_tokens, context_dim) float32 of an epoch."""
        context, _ = self._stage(torch.from_numpy(self._signal_of(epoch))[None])
        return Embedding(
            vector=context[0].numpy().astype(np.float32), index=epoch.index, t_onset=epoch.t_onset
        )


class ContextSampler:
    """A U-Net with both condition paths; satisfies `models.api.Sampler`."""

    def __init__(
        self,
        model: LatentDiffusion,
        *,
        guidance_scale: float | None = None,
        solver: SolverName = "plms",
        spec: SamplerSpec,
        title: str = "",
    ) -> None:
        self._title = title or spec.name
        self._guidance = 1.0 if guidance_scale is None else guidance_scale
        self._model, self._unet = model, Part(model.unet, "unet")
        self._decoder = Part(Decoding(model.vae), "decoder")
        self._spec, self._steps = spec, spec.steps
        self._solver: SolverName = solver
        self._levels = _levels_of(solver, spec.steps, model)
        self._latent = model.latent_shape(spec.size)

    @property
    def spec(self) -> SamplerSpec:
        """What it takes and draws."""
        return self._spec

    @property
    def parts(self) -> tuple[Part, ...]:
        """What an engine can take the place of: none while it decodes in tiles."""
        is_tiled = has_tiles(self._model.vae) and self._model.vae.use_tiling
        return () if is_tiled else (self._unet, self._decoder)

    @property
    def can_save_memory(self) -> bool:
        """Whether `decoder.low_memory` changes anything."""
        return has_tiles(self._model.vae)

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
            f"{self._title} draws in {self._steps} steps with DPM-Solver++: its weights do not "
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
                f"use the own encoder of {self._title}."
            )
        like = self._model.unet.conv_in.weight
        context = torch.from_numpy(np.array(embedding.vector))[None].to(like, non_blocking=True)
        latents = self._draw(context, seeds=(seed,))
        return GeneratedImage(
            pixels=to_pixels(self._decoder(self._model.unscaled(latents.to(like))))[0],
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


def _levels_of(solver: SolverName, n: int, model: LatentDiffusion) -> list[Level]:
    table, device = schedules.alphas_cumprod(**model.betas, scaled=True), model.unet.device
    if solver == "dpm":
        return schedules.snr_levels(table, schedules.trailing_times(n), device=device)
    times = schedules.lcm_times(n) if solver == "lcm" else schedules.compvis_times(n)
    return schedules.vp_levels(table, times, last=table[0], device=device)


def load_context_encoder(
    config: DecoderConfig,
    home: Home,
    *,
    make: Callable[[dict[str, Any]], tuple[InputSpec, SignalOf]],
    l_freq: float | None = None,
    h_freq: float | None = None,
) -> ContextEncoder:
    """Load the condition stage from `config.weights`, or from the user's data folder.

    Parameters
    ----------
    make : callable
        Takes the folder's `config.json`; says what the network reads, and how it is made of an
        epoch.
    l_freq, h_freq : float, optional
        As `EncoderSpec` takes them.

    Raises
    ------
    PhospheneError
        Weights are missing, damaged, or set for something else; one sentence.
    """
    folder = folder_of(config, home)
    stage, table = load_stage(folder, home)
    _refuse_damaged(folder, below="condition/")
    given, signal_of = make(table)
    condition, preprocessing = table["condition"], table["preprocessing"]
    spec = EncoderSpec(
        name=home.system,
        input=given,
        tmin=float(preprocessing["tmin"]),
        tmax=float(preprocessing["tmax"]),
        l_freq=l_freq,
        h_freq=h_freq,
        # Values of one embedding: what publishes them has to know before the first.
        n_features=int(condition["context_tokens"] * condition["context_dim"]),
        sha256=hash_folder(folder),
        space=space_of(table),
    )
    return ContextEncoder(stage, spec=spec, signal_of=signal_of)


def load_context_sampler(config: DecoderConfig, home: Home) -> ContextSampler:
    """Load the U-Net with both condition paths; as `load_context_encoder`."""
    folder, steps = folder_of(config, home), config.num_inference_steps
    model, table = load_model(folder, home)
    del model.condition_stage  # the encoder's, which has its own
    _refuse_damaged(folder)
    solver: SolverName = "dpm" if steps <= FEW_STEPS else "plms"
    if _is_distilled(folder):
        solver = "lcm"
    elif steps <= FEW_STEPS and (folder / LORA_FILE).is_file():
        fuse_lora(model.unet, folder / LORA_FILE)
        solver = "lcm"
    if config.low_memory:
        use_tiles(model.vae, side=config.tile)
    side = int(table["preprocessing"].get("side", 512))
    device = choose_device(config.device)
    return ContextSampler(
        model.to(device, choose_dtype(config)),
        guidance_scale=config.guidance_scale,
        solver=solver,
        title=home.title,
        spec=SamplerSpec(
            name=home.system,
            space=space_of(table),
            size=(side, side),
            steps=steps,
            sha256=hash_folder(folder),
            device=str(device),
        ),
    )


def space_of(table: Mapping[str, Any]) -> str:
    """Name of the space of a folder's contexts: their own, by system, tokens and width."""
    condition = table["condition"]
    size = f"{condition['context_tokens']}x{condition['context_dim']}"
    return f"{table['system']}-context-{size}"


def folder_of(config: DecoderConfig, home: Home) -> Path:
    """Folder that settings name, or the installed one."""
    return Path(config.weights) if config.weights else installed_weights(home.system)


def _refuse_damaged(folder: Path, *, below: str = "") -> None:
    status = check_weights(folder, below=below)
    if status.state == WeightState.DAMAGED:
        raise CheckpointError(f"{status.problems[0]}; import the published checkpoint again.")


def _is_distilled(folder: Path) -> bool:
    """Whether the U-Net itself was LCM-distilled, by the scheduler that lies beside it."""
    try:
        text = (folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8")
        return bool(json.loads(text).get("_class_name") == LCM_SCHEDULER)
    except (OSError, ValueError, AttributeError):
        return False
