"""Every scheduler and condition draws diffusers' own picture; folders and files are read safely."""

from __future__ import annotations

import functools
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

from configs import DecoderConfig
from models.api import CLIP_H_IMAGE, DrawsPrompts, Sampler, SamplerSpec
from models.atm.toy import make_toy_pipeline
from models.checkpoints import CheckpointError
from models.conformance import check_sampler
from models.dreamdiffusion import toy as dreamdiffusion
from models.generators import choose_generator
from models.latent_diffusion.importing import export_vae, rename_unet
from models.latent_diffusion.live import ContextSampler
from models.latent_diffusion.lora import fuse_lora
from models.stable_diffusion.adapters import share
from models.stable_diffusion.errors import StableDiffusionError
from models.stable_diffusion.generation import Condition, GenerationSettings, LatentGenerator
from models.stable_diffusion.libraries import quiet_libraries
from models.stable_diffusion.live import load_sampler
from models.stable_diffusion.memory import MemoryPlan, apply, plan_memory
from models.stable_diffusion.parts import Parts, read_folder
from models.stable_diffusion.plans import PLANS
from pipeline.errors import PhospheneError, ShapeError
from pipeline.values import Embedding
from tests.models.stable_diffusion_toys import (
    BETAS,
    SIDE,
    WIDTH,
    make_pipeline,
    make_unet,
    write_adapter,
)

N_FEATURES = 1024
XL_SIDE = 64
SEED = 11
OFFSET = {"steps_offset": 1, "set_alpha_to_one": False}
SCHEDULERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "sd-turbo": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, 1),
    "euler": ("EulerDiscreteScheduler", {"timestep_spacing": "leading", "steps_offset": 1}, 5),
    "euler karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}, 4),
    "ancestral": ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}, 4),
    "lcm": ("LCMScheduler", {**OFFSET}, 4),
    "pndm": ("PNDMScheduler", {**OFFSET, "skip_prk_steps": True}, 6),
    "ddim": ("DDIMScheduler", {**OFFSET, "clip_sample": False}, 4),
    "dpm": ("DPMSolverMultistepScheduler", {}, 5),
    "dpm karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, 5),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}, 4),
}
V = {"prediction_type": "v_prediction"}
NO_V = ("pndm",)
CASES = [
    *((name, "epsilon", guidance) for name in SCHEDULERS for guidance in (1.0, 3.0)),
    *((name, "v_prediction", 1.0) for name in SCHEDULERS if name not in NO_V),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_pipeline(tmp_path_factory.mktemp("plain") / "scratch")


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionXLPipeline:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return make_toy_pipeline(tmp_path_factory.mktemp("xl") / "scratch")


def generator_of(pipeline: Any, *, steps: int, guidance: float = 1.0, **facts: Any) -> Any:
    is_xl = isinstance(pipeline, StableDiffusionXLPipeline)
    size = XL_SIDE if is_xl else SIDE
    parts = Parts(pipeline=pipeline, is_xl=is_xl, files=(), **facts)
    return LatentGenerator(parts, settings=GenerationSettings(steps, guidance, size))


@torch.inference_mode()
def theirs_of(pipeline: Any, *, steps: int, guidance: float = 1.0, **named: Any) -> Tensor:
    """Diffusers' picture before it is rounded, (1, 3, height, width) in 0..1."""
    pipeline.set_progress_bar_config(disable=True)
    size = XL_SIDE if isinstance(pipeline, StableDiffusionXLPipeline) else SIDE
    if "prompt_embeds" not in named:
        named |= {"prompt": "", "negative_prompt": ""}
    made = pipeline(
        num_inference_steps=steps,
        guidance_scale=guidance,
        height=size,
        width=size,
        generator=torch.Generator().manual_seed(SEED),
        output_type="pt",
        **named,
    )
    return torch.as_tensor(made.images)


def assert_same(generator: LatentGenerator, condition: Condition, theirs: Tensor) -> None:
    ours = (generator.images(condition, seed=SEED) / 2 + 0.5).clamp(0, 1)
    assert (ours - theirs).abs().max() <= 1e-4
    assert ours.std() > 0.01


def vectors(n: int, width: int = N_FEATURES) -> list[Tensor]:
    return list(torch.randn(n, width, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(("name", "prediction", "guidance"), CASES)
def test_every_scheduler_is_the_pipelines(
    plain: Any, name: str, prediction: str, guidance: float
) -> None:
    cls, settings, steps = SCHEDULERS[name]
    plain.scheduler = getattr(diffusers, cls)(**BETAS, **settings, prediction_type=prediction)
    generator = generator_of(plain, steps=steps, guidance=guidance)
    theirs = theirs_of(plain, steps=steps, guidance=guidance)
    assert_same(generator, Condition(), theirs)


KINDS: dict[str, tuple[bool, dict[str, Any]]] = {
    "context": (False, {"context": (77, WIDTH)}),
    "vector": (False, {"added": (128,)}),
    "context and time": (False, {"context": (77, WIDTH), "added": (128,)}),
    "one image": (False, {"images": 1}),
    "five images": (False, {"images": 5}),
    "pooled": (True, {"pooled": (16,)}),
    "one image, XL": (True, {"images": 1}),
    "five images, XL": (True, {"images": 5}),
}
"""Whether it is XL's, and the sizes of what a `Condition` then has."""


@pytest.fixture(scope="module")
def by_kind(
    plain: Any, xl: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Any, Any, int]]:
    """A pipeline with our generator's facts and the number of its adapters, by kind."""
    made: dict[str, tuple[Any, Any, int]] = {}
    for kind, (is_xl, sizes) in KINDS.items():
        folder = tmp_path_factory.mktemp("kind")
        pipeline = _copy(xl if is_xl else plain, folder)
        if "added" in sizes:
            pipeline = make_pipeline(folder / "scratch", class_embed_type="identity")
        parts, copies = Parts(pipeline=pipeline, is_xl=is_xl, files=()), sizes.get("images", 0)
        if copies:
            file = folder / "adapter.safetensors"
            parts.add_adapter(
                write_adapter(file, pipeline.unet, n_features=N_FEATURES), copies=copies
            )
        made[kind] = parts, type(pipeline), copies
    return made


def test_the_table_has_every_scheduler_and_condition() -> None:
    assert {cls for cls, _, _ in SCHEDULERS.values()} == set(PLANS)
    named = {name for _, sizes in KINDS.values() for name in sizes}
    assert named == {each.name for each in fields(Condition)} - {"prompt"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cls", PLANS)
def test_every_scheduler_draws_every_condition_as_the_pipeline(
    by_kind: dict[str, tuple[Any, Any, int]], kind: str, cls: str
) -> None:
    """Without guidance, two steps; guidance is each scheduler's and each condition's own test."""
    settings = next(settings for name, settings, _ in SCHEDULERS.values() if name == cls)
    parts, pipeline_class, copies = by_kind[kind]
    is_xl, sizes = KINDS[kind]
    parts.pipeline.scheduler = getattr(diffusers, cls)(**BETAS, **settings)
    source = torch.Generator().manual_seed(6)
    given = {
        name: torch.randn(*size, generator=source)
        for name, size in sizes.items()
        if name != "images"
    }
    condition = Condition(images=tuple(vectors(copies)), **given)
    size = XL_SIDE if is_xl else SIDE
    ours = LatentGenerator(parts, settings=GenerationSettings(2, 1.0, size))
    named: dict[str, Any] = {}
    if condition.context is not None:
        named["prompt_embeds"] = condition.context[None]
    if condition.pooled is not None:
        named["prompt_embeds"] = parts.pipeline.encode_prompt(
            prompt="", do_classifier_free_guidance=False
        )[0]
        named["pooled_prompt_embeds"] = condition.pooled[None]
    if copies:
        named["ip_adapter_image_embeds"] = [v.reshape(1, 1, -1) for v in condition.images]
    theirs, unet = pipeline_class(**parts.pipeline.components), parts.pipeline.unet
    # Put in afterwards: the class moves the timesteps of an old file's scheduler.
    theirs.scheduler = getattr(diffusers, cls)(**BETAS, **settings)
    forward = unet.forward
    if condition.added is not None:
        unet.forward = functools.partial(forward, class_labels=condition.added[None])
    made = theirs_of(theirs, steps=2, **named)
    unet.forward = forward
    assert_same(ours, condition, made)


@pytest.mark.parametrize(
    ("cls", "settings", "said"),
    [
        ("HeunDiscreteScheduler", {}, "is of HeunDiscreteScheduler, expected Euler"),
        ("DDIMScheduler", {"thresholding": True}, "sets thresholding"),
        ("PNDMScheduler", {"skip_prk_steps": False}, "Runge-Kutta"),
        ("DPMSolverMultistepScheduler", {"solver_order": 3}, "solver_order 3, expected 2"),
        ("LCMScheduler", {"timestep_scaling": 5.0}, "timestep_scaling 5.0"),
        ("DDIMScheduler", {"timestep_spacing": "trailing", "clip_sample": False}, "divides 1000"),
    ],
)
def test_what_would_be_another_picture_is_refused(
    plain: Any, cls: str, settings: dict[str, Any], said: str
) -> None:
    plain.scheduler = getattr(diffusers, cls)(**settings)
    with pytest.raises(StableDiffusionError, match=said):
        generator_of(plain, steps=7)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_context_stands_for_the_prompt(plain: Any, guidance: float) -> None:
    plain.scheduler = diffusers.DDIMScheduler(**BETAS, **OFFSET, clip_sample=False)
    context = torch.randn(77, WIDTH, generator=torch.Generator().manual_seed(2))
    empty = plain.encode_prompt("", "cpu", 1, True, negative_prompt="")[1]
    theirs = theirs_of(
        plain, steps=4, guidance=guidance, prompt_embeds=context[None], negative_prompt_embeds=empty
    )
    generator = generator_of(plain, steps=4, guidance=guidance)
    assert_same(generator, Condition(context=context), theirs)
    with pytest.raises(StableDiffusionError, match=r"shape \(77, 3\), expected \(n_tokens, 16\)"):
        generator.images(Condition(context=torch.zeros(77, 3)), seed=0)


@pytest.mark.parametrize("with_context", [False, True], ids=["vector", "context and time"])
def test_a_vector_beside_the_time_is_a_class_embedding(tmp_path: Path, with_context: bool) -> None:
    """What the pipeline has no argument for is bound to its U-Net."""
    pipeline = make_pipeline(tmp_path / "scratch", class_embed_type="identity")
    source = torch.Generator().manual_seed(4)
    added = torch.randn(4 * 32, generator=source)
    context = torch.randn(77, WIDTH, generator=source) if with_context else None
    ours = generator_of(pipeline, steps=3)
    named = {} if context is None else {"prompt_embeds": context[None]}
    forward = pipeline.unet.forward
    pipeline.unet.forward = functools.partial(forward, class_labels=added[None])
    theirs = theirs_of(pipeline, steps=3, **named)
    pipeline.unet.forward = forward
    assert_same(ours, Condition(context=context, added=added), theirs)
    with pytest.raises(StableDiffusionError, match="takes a class embedding"):
        ours.images(Condition(), seed=0)


@pytest.mark.parametrize("copies", [1, 5])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("is_xl", [False, True], ids=["1.5", "xl-turbo"])
def test_ip_adapters_are_the_pipelines(
    plain: Any, xl: Any, tmp_path: Path, is_xl: bool, guidance: float, copies: int
) -> None:
    pipeline = _copy(xl if is_xl else plain, tmp_path)
    path = write_adapter(tmp_path / "adapter.safetensors", pipeline.unet, n_features=N_FEATURES)
    theirs = type(pipeline)(**pipeline.components)
    parts = Parts(pipeline=pipeline, is_xl=is_xl, files=())
    parts.add_adapter(path, copies=copies)
    size = XL_SIDE if is_xl else SIDE
    ours = LatentGenerator(parts, settings=GenerationSettings(4, guidance, size))
    scales = [0.2 * (i + 1) for i in range(copies)]
    ours.set_scales([dict.fromkeys(ours.layer_names, scale) for scale in scales])
    given = vectors(copies)
    images = [v.reshape(1, 1, -1) for v in given]
    if guidance > 1:
        images = [torch.cat([torch.zeros_like(v), v]) for v in images]
    pipeline.set_ip_adapter_scale(scales)
    made = theirs_of(theirs, steps=4, guidance=guidance, ip_adapter_image_embeds=images)
    assert_same(ours, Condition(images=tuple(given)), made)
    layers = pipeline.unet.encoder_hid_proj.image_projection_layers
    assert len({id(layer) for layer in layers}) == 1
    with pytest.raises(StableDiffusionError, match=f"0 vectors for {copies} adapters"):
        ours.images(Condition(), seed=0)


def test_adapters_that_differ_are_not_shared(plain: Any, tmp_path: Path) -> None:
    pipeline = _copy(plain, tmp_path)
    path = write_adapter(tmp_path / "a.safetensors", pipeline.unet, n_features=8)
    parts = Parts(pipeline=pipeline, is_xl=False, files=())
    parts.add_adapter(path, copies=2)
    projections = pipeline.unet.encoder_hid_proj.image_projection_layers
    other = type(projections[0])(
        cross_attention_dim=WIDTH, image_embed_dim=8, num_image_text_embeds=4
    )
    projections[1] = other
    assert share(pipeline.unet) > 0  # keys and values stay one
    assert projections[1] is other


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_pooled_vector_stands_for_the_prompts(xl: Any, guidance: float) -> None:
    embeds, empty, _, empty_pooled = xl.encode_prompt(
        prompt="", negative_prompt="", do_classifier_free_guidance=True
    )
    pooled = vectors(1, 16)[0]
    theirs = theirs_of(
        xl,
        steps=4,
        guidance=guidance,
        prompt_embeds=embeds,
        negative_prompt_embeds=empty,
        pooled_prompt_embeds=pooled[None],
        negative_pooled_prompt_embeds=empty_pooled,
    )
    assert_same(generator_of(xl, steps=4, guidance=guidance), Condition(pooled=pooled), theirs)


def test_a_distilled_checkpoint_takes_its_guidance_as_a_number(tmp_path: Path) -> None:
    """LCM's own pipeline; guidance is no second prediction there."""
    pipeline = make_pipeline(tmp_path / "scratch", time_cond_proj_dim=16)
    lcm = diffusers.LCMScheduler(**BETAS, **OFFSET)
    theirs = diffusers.LatentConsistencyModelPipeline(
        **{**pipeline.components, "scheduler": lcm}, requires_safety_checker=False
    )
    pipeline.scheduler = diffusers.LCMScheduler.from_config(lcm.config)
    made = theirs_of_lcm(theirs, steps=4, guidance=8.5)
    assert_same(generator_of(pipeline, steps=4, guidance=8.5), Condition(), made)


@torch.inference_mode()
def theirs_of_lcm(pipeline: Any, *, steps: int, guidance: float) -> Tensor:
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        prompt="", num_inference_steps=steps, guidance_scale=guidance, height=SIDE, width=SIDE,
        generator=torch.Generator().manual_seed(SEED), output_type="pt",
    )  # fmt: skip
    return torch.as_tensor(made.images)


def _copy(pipeline: Any, folder: Path) -> Any:
    """The pipeline with a U-Net of its own, so that nothing stays on the shared one."""
    unet = type(pipeline.unet).from_config(pipeline.unet.config)
    unet.load_state_dict(pipeline.unet.state_dict())
    scheduler = diffusers.EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing")
    made = dict(pipeline.components) | {"unet": unet.eval(), "scheduler": scheduler}
    return type(pipeline)(**made)


# -- LoRA ----------------------------------------------------------------------------------------

LAYERS = ("down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", "conv_in")
ORIGINAL = ("input_blocks.1.1.transformer_blocks.0.attn2.to_k", "input_blocks.0.0")


def _lora(naming: str, unet: torch.nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A LoRA under a naming, and what it adds to each layer; alpha is half the rank."""
    source = torch.Generator().manual_seed(6)
    state: dict[str, Tensor] = {}
    added: dict[str, Tensor] = {}
    for name, original in zip(LAYERS, ORIGINAL, strict=True):
        weight = unet.get_submodule(name).weight
        shape = (weight.shape[0], 2, *(1,) * (weight.ndim - 2))
        down = torch.randn(2, *weight.shape[1:], generator=source)
        up = torch.randn(*shape, generator=source)
        added[name] = 0.5 * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
        path = original if naming == "kohya of the original" else name
        kohya = f"lora_unet_{path.replace('.', '_')}"
        if naming.startswith("kohya"):
            keys = (f"{kohya}.lora_down.weight", f"{kohya}.lora_up.weight", f"{kohya}.alpha")
        elif naming == "peft":
            keys = (f"unet.{name}.lora_A.weight", f"unet.{name}.lora_B.weight", "")
        else:
            keys = (f"unet.{name}.lora.down.weight", f"unet.{name}.lora.up.weight",
                    f"unet.{name}.alpha")  # fmt: skip
        values = (down, up, torch.tensor(1.0))
        state |= {key: value for key, value in zip(keys, values, strict=True) if key}
    return state, added


@pytest.mark.parametrize("naming", ["kohya", "kohya of the original", "peft", "diffusers"])
def test_a_lora_of_any_naming_is_added(tmp_path: Path, naming: str) -> None:
    unet = make_unet()
    before = {name: unet.get_submodule(name).weight.clone() for name in LAYERS}
    state, added = _lora(naming, unet)
    header = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 1, "unet.r": 2})}
    save_file(state, tmp_path / "l.safetensors", metadata=header if naming == "peft" else None)
    assert fuse_lora(unet, tmp_path / "l.safetensors") == len(LAYERS)
    for name in LAYERS:
        after = unet.get_submodule(name).weight
        torch.testing.assert_close(after, before[name] + added[name])


def test_other_kinds_of_lora_are_refused(tmp_path: Path) -> None:
    save_file({"lora_unet_conv_in.hada_w1_a": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match="of another kind than LoRA"):
        fuse_lora(make_unet(), tmp_path / "x.safetensors")


# -- folders and files ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SD 1.5 in diffusers' layout with an IP-Adapter beside it, at toy size."""
    made = tmp_path_factory.mktemp("sd")
    plain.scheduler = diffusers.PNDMScheduler(**BETAS, **OFFSET, skip_prk_steps=True)
    plain.save_pretrained(made)
    write_adapter(made / "ip-adapter_sd15.safetensors", plain.unet, n_features=N_FEATURES)
    return made


def _config(path: Path, **more: Any) -> DecoderConfig:
    return DecoderConfig(system="atm", weights=str(path), **more)


def _embedding(*shape: int) -> Embedding:
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Embedding(vector=values, index=3, t_onset=1.5)


def test_a_folder_draws_clip_vectors(folder: Path, tmp_path: Path) -> None:
    """Found by its pipeline's class, drawn as the pipeline does, kept to the port."""
    chosen, weights = choose_generator(DecoderConfig(system="atm", generator=str(folder)))
    assert (chosen.descriptor.name, weights) == ("stable-diffusion", str(folder))
    sampler = load_sampler(_config(folder, num_inference_steps=10))
    assert isinstance(sampler, Sampler)
    assert sampler.spec.space == CLIP_H_IMAGE
    assert sampler.spec.size == (SIDE, SIDE)
    assert sampler.options == {
        "steps": 10, "guidance": 7.5, "size": SIDE, "solver": "PNDM", "vae": "full",
        "condition": "image",
    }  # fmt: skip
    assert sampler.remarks == ()
    embedding = _embedding(1, N_FEATURES)
    assert list(check_sampler(sampler, embedding)) == []
    vector = torch.tensor(embedding.vector[None])
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    theirs.load_ip_adapter(
        str(folder), subfolder="", weight_name="ip-adapter_sd15.safetensors",
        image_encoder_folder=None,
    )  # fmt: skip
    theirs.set_ip_adapter_scale(1.0)
    pair = [torch.cat([torch.zeros_like(vector), vector])]
    made = theirs_of(theirs, steps=10, guidance=7.5, ip_adapter_image_embeds=pair)
    assert_same(sampler.generator, sampler.condition(embedding), made)
    prompt = "<|startoftext|>" * 9  # all that its tokenizer knows
    words, empty = theirs.encode_prompt(prompt, "cpu", 1, True)
    said = {"prompt_embeds": words, "negative_prompt_embeds": empty}
    made = theirs_of(theirs, steps=10, guidance=7.5, ip_adapter_image_embeds=pair, **said)
    assert isinstance(sampler, DrawsPrompts)  # by text encoders that are read once more
    drawn = sampler.draw_prompt(prompt, embedding, seed=SEED)
    assert np.abs(drawn - 255.0 * made[0].permute(1, 2, 0).numpy()).max() <= 1
    assert not torch.equal(words, empty)
    assert torch.equal(sampler.generator._prompts[prompt][0], words)
    assert sampler.generator._parts.pipeline.text_encoder is None
    with pytest.raises(ShapeError, match=r"has shape \(7,\), expected \(1024,\)"):
        sampler.sample(_embedding(7), seed=0)


def test_what_diffusers_thinks_of_a_files_settings_is_not_said() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        quiet_libraries()
        for module in ("diffusers.pipelines", "elsewhere"):
            warnings.warn_explicit("outdated", FutureWarning, "file.py", 1, module=module)
    assert len(said) == 1


def test_what_lies_beside_is_put_in(folder: Path, plain: Any, tmp_path: Path) -> None:
    """LCM-LoRA with its scheduler, and the tiny autoencoder unless the full one is asked for."""
    beside = tmp_path / "sd"
    shutil.copytree(folder, beside)
    state, _ = _lora("kohya", plain.unet)
    (beside / "lcm-lora").mkdir()
    save_file(state, beside / "lcm-lora" / "pytorch_lora_weights.safetensors")
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), upsampling_scaling_factor=8,
    )  # fmt: skip
    tiny.save_pretrained(beside / "taesd")
    sampler = load_sampler(_config(beside, num_inference_steps=4, vae="full"))
    assert sampler.options["vae"] == "full"
    assert sampler.options["solver"] == "LCM"
    assert sampler.options["guidance"] == 1.0
    assert sampler.options["lora"] == "pytorch_lora_weights"
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(beside, safety_checker=None)
    theirs.scheduler = diffusers.LCMScheduler.from_config(theirs.scheduler.config)
    fuse_lora(theirs.unet, beside / "lcm-lora" / "pytorch_lora_weights.safetensors")
    theirs.load_ip_adapter(
        str(beside), subfolder="", weight_name="ip-adapter_sd15.safetensors",
        image_encoder_folder=None,
    )  # fmt: skip
    embedding = _embedding(N_FEATURES)
    images = [torch.tensor(embedding.vector).reshape(1, 1, -1)]
    made = theirs_of(theirs, steps=4, ip_adapter_image_embeds=images)
    assert_same(sampler.generator, sampler.condition(embedding), made)
    quick = load_sampler(_config(beside, num_inference_steps=1))
    assert quick.options["vae"] == "tiny"
    assert quick.spec.sha256 != sampler.spec.sha256


@pytest.mark.parametrize("kind", ["1.5", "xl-turbo"])
def test_a_single_file_is_its_folder(
    kind: str, plain: Any, xl: Any, tmp_path: Path, original: Callable[[Any], dict[str, Tensor]]
) -> None:
    pipeline = _copy(plain if kind == "1.5" else xl, tmp_path)
    pipeline.vae = plain.vae
    path = tmp_path / f"sd_{kind}.safetensors"
    save_file({k: v.contiguous() for k, v in original(pipeline).items()}, path)
    name = "ip-adapter_sd15" if kind == "1.5" else "ip-adapter_sdxl_vit-h"
    write_adapter(tmp_path / f"{name}.safetensors", pipeline.unet, n_features=N_FEATURES)
    chosen, weights = choose_generator(DecoderConfig(system="atm", generator=str(path)))
    assert (chosen.descriptor.name, weights) == ("stable-diffusion", str(path))
    sampler = load_sampler(_config(path, num_inference_steps=4))
    assert sampler.spec.name == ("stable-diffusion" if kind == "1.5" else "sdxl")
    assert sampler.options["solver"] == ("PNDM" if kind == "1.5" else "EulerAncestralDiscrete")
    if kind == "1.5":  # XL's picture: test_atm_import
        whole = Parts(pipeline=pipeline, is_xl=False, files=())
        whole.add_adapter(tmp_path / f"{name}.safetensors")
        pipeline.scheduler = sampler.generator._pipeline.scheduler
        # A file of SD 1.5 draws 512 pixels, whose attention alone would cost 25 s.
        sampler.generator.settings = replace(sampler.generator.settings, size=64)
        same = LatentGenerator(whole, settings=sampler.generator.settings)
        condition = sampler.condition(_embedding(N_FEATURES))
        ours, theirs = (g.images(condition, seed=1) for g in (sampler.generator, same))
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.fixture
def original() -> Callable[[Any], dict[str, Tensor]]:
    from tests.models.test_atm_import import _open_clip

    def export(pipeline: Any) -> dict[str, Tensor]:
        is_xl = isinstance(pipeline, StableDiffusionXLPipeline)
        unet = rename_unet(pipeline.unet.state_dict(), pipeline.unet)
        state = {f"model.diffusion_model.{k}": v for k, v in unet.items()}
        state |= {f"first_stage_model.{k}": v for k, v in export_vae(pipeline.vae).items()}
        text = pipeline.text_encoder.state_dict()
        text = {f"text_model.{k.removeprefix('text_model.')}": v for k, v in text.items()}
        start = "conditioner.embedders.0" if is_xl else "cond_stage_model"
        state |= {f"{start}.transformer.{k}": v for k, v in text.items()}
        if is_xl:
            second = pipeline.text_encoder_2.state_dict()
            second = {k.removeprefix("text_model."): v for k, v in second.items()}
            named = _open_clip(second)
            state |= {f"conditioner.embedders.1.model.{k}": v for k, v in named.items()}
        return state

    return export


def _index(folder: Path, **changes: Any) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _pickle(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))


def _settings(folder: Path, **settings: Any) -> None:
    (folder / "system.json").write_text(json.dumps(settings))


def _plus(folder: Path) -> None:
    path = folder / "ip-adapter_sd15.safetensors"
    state = load_file(path)
    state["image_proj.latents"] = state.pop("image_proj.proj.weight")
    save_file(state, path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "model_index.json").write_text("{"), "model_index.json cannot be read"),
        (lambda f: _index(f, _class_name="FluxPipeline"), "is of 'FluxPipeline', expected Stable"),
        (lambda f: _index(f, unet=["os", "system"]), "takes its unet from 'os', expected diffus"),
        (_pickle, r"can run code when it is opened"),
        (lambda f: (f / "ip-adapter_sd15.safetensors").unlink(), "has no IP-Adapter, which draws"),
        (lambda f: _settings(f, condition="smell"), "condition 'smell', expected image"),
        (lambda f: _settings(f, sice=3), "system.json cannot be used"),
        (_plus, "holds no IP-Adapter of image vectors"),
    ],
)
def test_unfit_folders_are_one_sentence(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], Any], said: str
) -> None:
    spoilt = tmp_path / "sd"
    shutil.copytree(folder, spoilt)
    spoil(spoilt)
    with pytest.raises(PhospheneError, match=said) as info:
        load_sampler(_config(spoilt))
    assert "\n" not in str(info.value)


def test_pickles_and_parts_are_no_generators(tmp_path: Path) -> None:
    pickle, part = tmp_path / "v1-5.ckpt", tmp_path / "unet.safetensors"
    pickle.write_bytes(b"\x80\x04.")
    save_file({"conv_in.weight": torch.ones(1)}, part)
    for path, said in ((pickle, "a .ckpt can run code"), (part, "has no text encoder of")):
        assert choose_generator(DecoderConfig(generator=str(path)))[1] == str(path)
        with pytest.raises(StableDiffusionError, match=said):
            load_sampler(_config(path))
    with pytest.raises(PhospheneError, match="neither a name that"):
        choose_generator(DecoderConfig(generator=str(tmp_path / "absent")))


def test_five_vectors_and_a_context_by_settings(folder: Path, tmp_path: Path) -> None:
    five, words = tmp_path / "five", tmp_path / "words"
    for made in (five, words):
        shutil.copytree(folder, made)
    _settings(five, n_adapters=5, scale=0.3, size=16)
    _settings(words, condition="context", space="mine")
    sampler = load_sampler(_config(five, num_inference_steps=2))
    assert sampler.spec.space == f"{CLIP_H_IMAGE}-x5"
    assert sampler.sample(_embedding(5, N_FEATURES), seed=1).pixels.shape == (16, 16, 3)
    assert "do not say that they were made for so few" in sampler.remarks[0]
    sampler = load_sampler(_config(words, num_inference_steps=2))
    assert sampler.spec.space == "mine"
    assert sampler.sample(_embedding(77, WIDTH), seed=1).pixels.shape == (SIDE, SIDE, 3)


def test_memory_is_planned_from_bytes(plain: Any) -> None:
    gib = 1 << 30
    xl = {"weights": 7 * gib, "largest": 5 * gib}
    assert plan_memory(**xl, free=40 * gib, size=1024) == MemoryPlan()
    assert plan_memory(**xl, free=8 * gib, size=1024) == MemoryPlan(offload=True, tiling=True)
    assert plan_memory(**xl, free=10 * gib, size=512) == MemoryPlan()
    with pytest.raises(torch.OutOfMemoryError, match=r"largest part needs 6\.5 GiB, 4\.0 GiB"):
        plan_memory(**xl, free=4 * gib, size=512)
    apply(plain, MemoryPlan(tiling=True), device=torch.device("cpu"))
    assert plain.vae.use_tiling
    assert plain.vae.use_slicing
    plain.vae.disable_tiling()
    plain.vae.disable_slicing()


def test_a_folder_shows_its_networks_and_saves_memory(folder: Path) -> None:
    """Engines can take their place; in tiles there is none whose size is known."""
    whole = load_sampler(_config(folder, num_inference_steps=1))
    assert [part.name for part in whole.parts] == ["unet", "decoder"]
    assert whole.can_save_memory
    expected = whole.sample(_embedding(N_FEATURES), seed=1).pixels
    assert all(part.seen is not None for part in whole.parts)
    decoding = whole.parts[1].weights
    assert decoding
    assert not any("encoder" in name.replace("decoder", "") for name in decoding)
    tiled = load_sampler(_config(folder, num_inference_steps=1, low_memory=True, tile=64))
    assert tiled.parts == ()
    assert tiled.sample(_embedding(N_FEATURES), seed=1).pixels.shape == expected.shape


def test_a_folder_draws_in_the_type_that_is_asked_for(folder: Path) -> None:
    sampler = load_sampler(_config(folder, num_inference_steps=1, dtype="bfloat16"))
    like = load_sampler(_config(folder, num_inference_steps=1))
    assert {value.dtype for value in sampler.parts[0].weights.values()} == {torch.bfloat16}
    pictures = [s.sample(_embedding(N_FEATURES), seed=1).pixels for s in (sampler, like)]
    assert np.abs(pictures[0].astype(float) - pictures[1]).mean() < 8


def test_a_folder_in_half_precision_is_read_by_its_variant(plain: Any, tmp_path: Path) -> None:
    plain.scheduler = diffusers.EulerDiscreteScheduler(**BETAS, timestep_spacing="trailing")
    plain.save_pretrained(tmp_path, variant="fp16")
    assert read_folder(tmp_path).pipeline.unet.config.sample_size == SIDE // 8


@pytest.mark.parametrize(
    ("solver", "cls", "settings", "steps"),
    [
        ("plms", "PNDMScheduler", {**OFFSET, "skip_prk_steps": True}, 10),
        ("lcm", "LCMScheduler", {**OFFSET}, 4),
        ("dpm", "DPMSolverMultistepScheduler", {"timestep_spacing": "trailing"}, 4),
    ],
)
def test_dreamdiffusion_is_the_pipelines(
    plain: Any, solver: Any, cls: str, settings: dict[str, Any], steps: int
) -> None:
    """Its context in the cross-attention and, as one vector, beside the time."""
    model = dreamdiffusion.make_toy().eval()
    side = dreamdiffusion.SIDE
    spec = SamplerSpec(name="toy", space="", size=(side, side), steps=steps)
    sampler = ContextSampler(model, solver=solver, spec=spec)
    context = torch.randn(1, 77, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        latents = sampler._draw(context, seeds=(SEED,))
        ours = model.vae.decode(model.unscaled(latents)).sample
        added = model.time_vector(context)
    changes = {"unet": model.unet, "vae": model.vae}
    changes["scheduler"] = getattr(diffusers, cls)(**BETAS, **settings)
    theirs = type(plain)(**(dict(plain.components) | changes), requires_safety_checker=False)
    theirs.unet.forward = functools.partial(theirs.unet.forward, class_labels=added)
    theirs.set_progress_bar_config(disable=True)
    with torch.inference_mode():
        made = theirs(
            prompt_embeds=context, num_inference_steps=steps, guidance_scale=1.0, height=side,
            width=side, generator=torch.Generator().manual_seed(SEED), output_type="pt",
        ).images  # fmt: skip
    assert ((ours / 2 + 0.5).clamp(0, 1) - made).abs().max() <= 1e-4
    assert made.std() > 0.01
