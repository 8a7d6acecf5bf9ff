"""Every option with every system: it changes the picture, is refused, or its idleness is said."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs import DecoderConfig, load_preset
from models.api import DrawingOptions
from models.drawing import Drawer, open_drawer
from models.latent_diffusion.lora import LORA_FILE
from models.registry import find_system, read_registry
from models.systems import System, load_system
from pipeline.errors import PhospheneError
from pipeline.values import Epoch, Info, Uint8

pytestmark = pytest.mark.slow
SYSTEMS = ("embedded", *sorted(n for n in read_registry().systems if n.endswith("-toy")))
CH_NAMES = ("O1", "Oz", "O2", "P7", "P8", "PO3", "PO4", "Pz")


def _of(system: str) -> DecoderConfig:
    preset = "default" if system == "embedded" else find_system(system).descriptor.preset
    # What draws is not asked here, and an engine takes as long to load as the networks.
    return load_preset(preset).decoder.model_copy(update={"backend": "eager"})


def _epoch(system: str) -> Epoch:
    """Covers what any of the systems of its modality wants."""
    if find_system(system).descriptor.modality == "fMRI":
        voxels = tuple(f"v{k}" for k in range(80))
        values = np.random.default_rng(5).normal(size=(80, 1)).astype(np.float32)
        return Epoch(values, 0.0, 0.0, 0.0, "volcano", Info(voxels, 0.5, ("fmri",) * 80), 0)
    data = np.random.default_rng(5).normal(0, 10, (len(CH_NAMES), 601)).astype(np.float32)
    return Epoch(data, -0.2, 1.0, 0.0, "volcano", Info(CH_NAMES, 500.0), 0)


def _draw(drawer: Drawer) -> tuple[Uint8, tuple[str, ...]]:
    """Picture and remarks."""
    embedding = drawer.encode(_epoch(drawer.system.name))
    mode = "fused" if "fused" in drawer.modes else drawer.modes[0]
    pictures, _ = drawer.draw(embedding, seed=1, mode=mode, label="volcano")
    return next(iter(pictures.values())), drawer.system.remarks


@functools.cache
def _loaded(system: str, guidance: float | None) -> System:
    """As its preset loads it. Drawing options are said anew to each drawer, but for one (below)."""
    return load_system(_of(system).model_copy(update={"guidance_scale": guidance}))


@functools.cache
def _plain(system: str) -> tuple[Uint8, tuple[str, ...]]:
    return _draw(Drawer(_loaded(system, None), DrawingOptions()))


def _drawer(system: str, option: str) -> Drawer:
    options = DRAWING.get(option, DrawingOptions())
    if option == "guidance":
        return Drawer(_loaded(system, GUIDANCE), options)
    if option in DECODER or options.prior_steps is not None:
        return open_drawer(_of(system).model_copy(update=DECODER.get(option, {})), options)
    return Drawer(_loaded(system, None), options)


GUIDANCE = 12.0
DECODER: dict[str, dict[str, object]] = {
    "steps": {"num_inference_steps": 3},
    "guidance": {"guidance_scale": GUIDANCE},
    "adapter": {"adapter": "no-such-adapter"},
    "align": {"align": True},
    "weights": {"weights": "no-such-folder"},
}
DRAWING: dict[str, DrawingOptions] = {
    "prior-steps": DrawingOptions(prior_steps=3),
    "adaptive": DrawingOptions(adaptive=True),
    "oracle-prompt": DrawingOptions(oracle_prompt=True),
    "blocks": DrawingOptions(faults=("blocks_without_attention",)),
    "norm": DrawingOptions(faults=("unit_norm_embeddings",)),
}
PUBLISHED_GUIDANCE = {"atm-multimodal-toy": 5.0, "mindeye-toy": 3.5}
ACTS_LATER = {("embedded", "align")}
"""Alignment acts once epochs were observed: `tests/app/test_adapter_swap.py`."""


@pytest.mark.parametrize("option", [*DECODER, *DRAWING])
@pytest.mark.parametrize("system", SYSTEMS)
def test_no_option_is_ignored_in_silence(system: str, option: str) -> None:
    plain, remarks = _plain(system)
    try:
        drawn, said = _draw(_drawer(system, option))
    except PhospheneError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert "\n" not in refusal
        return
    is_said = any(option in sentence for sentence in set(said) - set(remarks))
    changed = drawn.shape != plain.shape or bool((drawn != plain).any())
    assert changed or is_said or (system, option) in ACTS_LATER


@pytest.mark.parametrize("system", SYSTEMS)
def test_guidance_acts_and_is_stated(system: str) -> None:
    pictures = {}
    for guidance in (None, 1.0, GUIDANCE):
        drawer = Drawer(_loaded(system, guidance), DrawingOptions())
        stated = drawer.facts()
        assert stated["steps"] == _of(system).num_inference_steps
        assert guidance is None or stated["guidance"] == guidance
        mode = "fused" if "fused" in drawer.modes else drawer.modes[0]
        made, _ = drawer.draw(drawer.encode(_epoch(system)), seed=1, mode=mode, label="")
        pictures[guidance] = next(iter(made.values()))
        published = PUBLISHED_GUIDANCE.get(system, 1.0)
        assert guidance is not None or stated["guidance"] == published
    assert (pictures[1.0] != pictures[GUIDANCE]).any()
    assert (pictures[None] != pictures[1.0]).any() == (system in PUBLISHED_GUIDANCE)


def _toy(folder: Path) -> Path:
    from models.dreamdiffusion.toy import toy_folder

    for path in toy_folder().rglob("*"):
        if path.is_file() and path.name != "hashes.json":
            target = folder / path.relative_to(toy_folder())
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder


def _as_it_is(folder: Path) -> None:
    del folder


def _distilled(folder: Path) -> None:
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text('{"_class_name": "LCMScheduler"}')


@pytest.mark.parametrize(
    ("state", "steps", "solver"),
    [
        (_as_it_is, 4, "DPM-Solver++"),
        (_as_it_is, 1, "DPM-Solver++"),
        (_as_it_is, 10, "PLMS"),
        (_distilled, 4, "LCM"),
        (_distilled, 10, "LCM"),
    ],
)
def test_few_steps_are_lcms_for_weights_that_say_so_only(
    state: Callable[[Path], None], steps: int, solver: str, tmp_path: Path
) -> None:
    state(_toy(tmp_path))
    drawer = open_drawer(
        DecoderConfig(system="dreamdiffusion", weights=str(tmp_path), num_inference_steps=steps),
        DrawingOptions(),
    )
    assert drawer.facts()["solver"] == solver
    is_said = any("LCM-distilled" in s and LORA_FILE in s for s in drawer.system.remarks)
    assert is_said == (solver == "DPM-Solver++")
    embedding = drawer.encode(_epoch("dreamdiffusion"))
    made, _ = drawer.draw(embedding, seed=1, mode="single", label="")
    assert made["picture"].std() > 0
