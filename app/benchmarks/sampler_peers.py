"""What `phosphene bench sampler` runs in turn: diffusers' pipelines, StreamDiffusion's way, ours.

Owns the random weights (speed does not depend on them), the callables and what is counted of
them. One set of weights, one scheduler and one seed for all. StreamDiffusion's published settings
are re-created, not installed: Stream Batch (Kodaira et al., arXiv 2312.12491) of n noise levels in
one evaluation, its tiny autoencoder, no guidance (RCFG `none`); its picture is that of the call
n - 1 before. Peers are no models of ours, so that torch may be imported here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import diffusers
import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from app.benchmarks.sampler_engines import Stages
from models.sampling.backends.engines import Engine
from models.sampling.parts import Part
from models.sampling.pictures import to_pixels
from models.stable_diffusion import generation
from models.stable_diffusion.generation import Condition, GenerationSettings, LatentGenerator
from models.stable_diffusion.libraries import quiet_libraries
from models.stable_diffusion.parts import Parts

SEED = 5
BETAS: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
SD = {
    "block_out_channels": (320, 640, 1280, 1280),
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
"""SD-Turbo's U-Net (866 M)."""
SDXL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
}
"""SDXL-Turbo's U-Net (2.6 G)."""
SMALL = {
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 4,
    "cross_attention_dim": 64,
}
MIDDLE = {
    "block_out_channels": (96, 192, 256),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "cross_attention_dim": 128,
}
UNETS = {"small": SMALL, "middle": MIDDLE, "sd-turbo": SD, "sdxl-turbo": SDXL}


@dataclass(frozen=True, slots=True)
class Case:
    """A model, the side of its pictures in pixels, and how many steps."""

    model: str
    size: int
    steps: int


@dataclass(slots=True, eq=False)
class Bench:
    """One case with its weights on a device.

    Attributes
    ----------
    runs : dict of str to callable
        Each draws one picture (height, width, 3) uint8 and waits for it.
    """

    case: Case
    pipeline: Any
    ours: LatentGenerator
    context: Tensor
    pooled: Tensor | None
    runs: dict[str, Callable[[], np.ndarray[Any, Any]]]
    engines: dict[str, Engine] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    @property
    def parts(self) -> tuple[Part, ...]:
        """Our networks."""
        return self.ours.parts

    @property
    def stages(self) -> Stages:
        """What computes beside the networks."""
        return {"pixels": ((generation, "to_pixels"),)}

    def draw(self) -> np.ndarray[Any, Any]:
        """Ours."""
        return self.ours.draw(self.condition, seed=SEED)

    def count(self) -> dict[str, float]:
        """As `counted`."""
        return counted(self)

    def difference(self) -> float:
        """As `difference`."""
        return difference(self)

    def swap(self) -> dict[str, float]:
        """As `swap`."""
        return swap(self)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return torch.device(self.pipeline.unet.device)

    @property
    def condition(self) -> Condition:
        """What every contender draws."""
        pooled = None if self.pooled is None else self.pooled[0]
        return Condition(context=self.context[0], pooled=pooled)


def n_threads() -> int:
    """Threads that torch computes with, for all."""
    return torch.get_num_threads()


def make(case: Case, *, device: str, compiled: bool) -> Bench:
    """Build a case: random weights, half precision on a GPU, as all of them are published for."""
    quiet_libraries()
    where = torch.device(device)
    dtype = torch.float16 if where.type == "cuda" else torch.float32
    torch.manual_seed(0)
    is_xl = "addition_embed_type" in UNETS[case.model]
    pipeline = _pipeline(case, is_xl=is_xl)
    parts = Parts(pipeline=pipeline, is_xl=is_xl, files=())
    settings = GenerationSettings(case.steps, 1.0, case.size)
    ours = LatentGenerator(parts, settings=settings, device=where, dtype=dtype)
    width = pipeline.unet.config.cross_attention_dim
    context = torch.randn(1, 77, width).to(where, dtype)
    pooled = torch.randn(1, 1280).to(where, dtype) if is_xl else None
    bench = Bench(case, pipeline, ours, context, pooled, {})
    bench.runs["diffusers"] = lambda: _by_pipeline(bench)
    if compiled:
        unet = torch.compile(pipeline.unet, mode="reduce-overhead")
        bench.runs["diffusers, compiled"] = lambda: _by_pipeline(bench, unet=unet)
    if not is_xl:
        stream = StreamBatch(bench)
        bench.runs["StreamDiffusion's way"] = stream.draw
    bench.runs["ours"] = bench.draw
    return bench


def _pipeline(case: Case, *, is_xl: bool) -> Any:
    unet = diffusers.UNet2DConditionModel(sample_size=case.size // 8, **UNETS[case.model]).eval()
    vae = diffusers.AutoencoderTiny(latent_channels=4).eval()
    # Counting from the end, it takes no offset; without one, diffusers calls the settings outdated.
    scheduler = diffusers.EulerDiscreteScheduler(
        **BETAS, timestep_spacing="trailing", steps_offset=1
    )
    if not is_xl:
        return diffusers.StableDiffusionPipeline(
            vae=vae, unet=unet, scheduler=scheduler, text_encoder=None, tokenizer=None,
            safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
    ancestral = diffusers.EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing")
    return diffusers.StableDiffusionXLPipeline(
        vae=vae, unet=unet, scheduler=ancestral, text_encoder=None, text_encoder_2=None,
        tokenizer=None, tokenizer_2=None, add_watermarker=False,
    )  # fmt: skip


@torch.inference_mode()
def _by_pipeline(bench: Bench, *, unet: Any = None, kind: str = "np") -> Any:
    pipeline, case = bench.pipeline, bench.case
    pipeline.set_progress_bar_config(disable=True)
    named: dict[str, Any] = {"prompt_embeds": bench.context}
    if bench.pooled is not None:
        named["pooled_prompt_embeds"] = bench.pooled
    own = pipeline.unet
    if unet is not None:
        pipeline.unet = unet
    try:
        made = pipeline(
            **named, num_inference_steps=case.steps, guidance_scale=1.0, height=case.size,
            width=case.size, generator=torch.Generator().manual_seed(SEED), output_type=kind,
        ).images  # fmt: skip
    finally:
        pipeline.unet = own
    return np.rint(made[0] * 255).astype(np.uint8) if kind == "np" else made


class StreamBatch:
    """Stream Batch: every call enters one picture's noise and finishes the one of n - 1 calls ago.

    One evaluation of the U-Net a call, on n pictures at n noise levels.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        scheduler = diffusers.LCMScheduler(**BETAS, steps_offset=1, set_alpha_to_one=False)
        scheduler.set_timesteps(bench.case.steps)
        self._times = scheduler.timesteps.to(bench.device)
        table = scheduler.alphas_cumprod[scheduler.timesteps]
        like = bench.context
        self._alpha = table.sqrt().to(like).view(-1, 1, 1, 1)
        self._sigma = (1 - table).sqrt().to(like).view(-1, 1, 1, 1)
        scaled = scheduler.timesteps.float() * 10.0
        self._skip = (0.25 / (scaled**2 + 0.25)).to(like).view(-1, 1, 1, 1)
        self._out = (scaled / (scaled**2 + 0.25).sqrt()).to(like).view(-1, 1, 1, 1)
        n, side = bench.case.steps, bench.case.size // 8
        source = torch.Generator().manual_seed(SEED)
        # As published: noise and conditions are prepared once.
        self._noise = torch.randn(n, 4, side, side, generator=source).to(like)
        self._waiting: deque[Tensor] = deque([self._noise[i] for i in range(1, n)], maxlen=n)
        self._context = bench.context.expand(n, -1, -1).contiguous()

    @torch.inference_mode()
    def draw(self) -> np.ndarray[Any, Any]:
        """One evaluation, one picture."""
        x = torch.stack([self._noise[0], *self._waiting])
        unet, vae = self._bench.pipeline.unet, self._bench.pipeline.vae
        eps = unet(x, self._times, encoder_hidden_states=self._context, return_dict=False)[0]
        clean = self._out * (x - self._sigma * eps) / self._alpha + self._skip * x
        if len(x) > 1:
            after = self._alpha[1:] * clean[:-1] + self._sigma[1:] * self._noise[1:]
            self._waiting = deque(after.unbind(0), maxlen=len(x))
        image = vae.decode(clean[-1:] / vae.config.scaling_factor, return_dict=False)[0]
        return np.asarray(to_pixels(image)[0])


def difference(bench: Bench) -> float:
    """Largest difference of ours to diffusers' picture, in floats of 0..1 before rounding."""
    theirs = _by_pipeline(bench, kind="pt")
    ours = (bench.ours.images(bench.condition, seed=SEED) / 2 + 0.5).clamp(0, 1)
    return float((ours.float() - theirs.float()).abs().max())


def wait(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def counted(bench: Bench) -> dict[str, float]:
    """Floating-point operations of a picture, and the bytes of the weights that it reads."""
    with FlopCounterMode(display=False) as counter:
        bench.ours.draw(bench.condition, seed=SEED)
    unet, vae = bench.pipeline.unet, bench.pipeline.vae
    read = bench.case.steps * bytes_of(unet) + bytes_of(vae.decoder)
    return {"flops": float(counter.get_total_flops()), "weight_bytes": float(read)}


def bytes_of(module: torch.nn.Module) -> int:
    """Size of a network's weights."""
    return sum(p.numel() * p.element_size() for p in module.parameters())


@torch.inference_mode()
def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a matrix product, measured on the spot: the roof.

    On a busy CPU many short products find a moment that is undisturbed.
    """
    side, n = (8192, 10) if device.type == "cuda" else (512, 200)
    a, b = (torch.randn(side, side).to(device, dtype) for _ in range(2))
    taken = []
    for _ in range(n):
        wait(device)
        began = perf_counter()
        torch.mm(a, b)
        wait(device)
        taken.append(perf_counter() - began)
    return float(2 * side**3 / min(taken))


@torch.inference_mode()
def swap(bench: Bench) -> dict[str, float]:
    """Other weights in place and back: seconds of a swap, and how far A after B is from A."""
    unet = bench.pipeline.unet
    first = {k: v.clone() for k, v in unet.state_dict().items() if "attn2" in k}
    second = {k: v + 0.01 * torch.randn_like(v) for k, v in first.items()}
    before = bench.ours.images(bench.condition, seed=SEED)
    wait(bench.device)
    began = perf_counter()
    unet.load_state_dict(second, strict=False)
    wait(bench.device)
    taken = perf_counter() - began
    other = bench.ours.images(bench.condition, seed=SEED)
    unet.load_state_dict(first, strict=False)
    again = bench.ours.images(bench.condition, seed=SEED)
    return {
        "swap_s": taken,
        "changed": float((other - before).abs().max()),
        "a_b_a": float((again - before).abs().max()),
    }


def device_name(device: str) -> str:
    """Name of a GPU; empty on the CPU."""
    where = torch.device(device)
    return torch.cuda.get_device_name(where) if where.type == "cuda" else ""
