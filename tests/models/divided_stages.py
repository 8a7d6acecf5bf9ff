"""Every training stage at toy size, each divided between two processes and not; for one of them.

What a stage hands to the loop is run there as a whole, in two processes, in parts, and from a
checkpoint of one division with the other: the process of rank 0 compares, and keeps what it found.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import load_file
from torch import distributed, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional

from models.atm.data import write_epochs
from models.multimodal.modalities import Modality
from models.registry import find_entry, find_system
from models.stages import StageRequest
from models.training import asked, make_engine, sharding, state
from models.training.engine import FSDP, Engine, SingleDevice
from models.training.loop import LoopConfig, Progress, Task, train
from models.training.state import list_runs
from pipeline.gallery import load_gallery
from tests.models import fmri_files, imagenet40_files, mindeye_files
from tests.models.line import Line
from tests.models.transformer_toys import SIZE, write_transformer

N_ITEMS, N_STEPS = 4, 3
LINE = LoopConfig(passes=3, batch_size=8, gradient_accumulation_steps=2)
"""Of a task that leaves a parameter aside, with a tracker."""
MAE = {
    **{"embed_dim": 32, "depth": 1, "num_heads": 4},
    **{"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 4},
}
SHARDED = (
    *("dreamdiffusion-a", "dreamdiffusion-b", "mind-vis-a1", "contrast-attend-diffuse-phase-1"),
    *("atm-encoder", "mindeye-high-level", "mindeye-low-level", "sana-sprint-projector"),
)
"""Stages that two processes continue with a part of the network each."""
MASKED = ("a", "a1", "a2", "phase-1", "phase-2")
NO_WARM_UP = {"warmup_passes": 1e-3}
MINDEYE = {"model": {"hidden": 16, "n_blocks": 1, "projector": 8}, "training": {"lr": 1e-3}}
PRIOR = {"prior": {"hidden_dim": [16, 8]}, "training": {"lr": 1e-2}}
GOD = {"subjects": ["sbj_3"], "one_in": 6}


def write_files(root: Path) -> None:
    """Write what the stages read, each in the format of its publication."""
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    rng = np.random.default_rng(0)
    (root / "eeg").mkdir()
    for number in range(12):
        np.save(root / "eeg" / f"{number}.npy", 10 * rng.normal(size=(2 + number, 90 + number)))
    fmri_files.write_god(root / "Kamitani" / "npz", n_voxels=60)
    fmri_files.write_label2img(root / "ldm" / "label2img" / "model.ckpt")
    imagenet40_files.write_stage_b_files(root, n_channels=8)
    (root / "nsd").mkdir()
    mindeye_files.write_nsd(root / "nsd")
    for name in ("sana-sprint", "z-image-turbo", "flux2-klein"):
        write_transformer(root / name, name)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4}
    sizes |= {f"decoder_{name}": size for name, size in sizes.items()}
    config = ViTMAEConfig(
        **sizes, intermediate_size=16, decoder_intermediate_size=16, image_size=32, patch_size=8
    )
    ViTMAEForPreTraining(config).save_pretrained(root / "vit-mae-base")
    ids = np.repeat(np.arange(10), 2)
    names = ("ViT-H-14", "ViT-H-14.text", *(m.published_name for m in Modality))
    write_epochs(
        root / "things",
        eeg=rng.normal(size=(len(ids), 2, 80)).astype(np.float32),
        image_ids=ids,
        subject_ids=ids % 2,
        features={name: rng.normal(size=(10, 8)).astype(np.float32) for name in names},
        ch_names=("O1", "O2"),
    )


def stages(root: Path) -> Iterator[tuple[str, str, Path, dict[str, Any]]]:
    """System, stage, data and settings of each; a later one reads what an earlier one wrote."""
    yield "dreamdiffusion", "a", root / "eeg", {"model": MAE | {"n_channels": 8, "n_times": 64}}
    b = {"side": 32, "num_heads": 4, "encoder": str(root / "dreamdiffusion-a" / "encoder")}
    yield "dreamdiffusion", "b", root, {"data": b, "condition": {"image_embed_dim": 16}}
    only_god = {"subjects": ["sbj_3"], "hcp": "none"}
    yield "mind-vis", "a1", root, {"data": only_god, "model": MAE}
    a1 = {"subjects": ["sbj_3"], "encoder": "mind-vis-a1/encoder"}
    yield "mind-vis", "a2", root, {"data": a1}
    yield "mind-vis", "b", root, {"data": a1 | {"side": 32, "one_in": 6}}
    yield "contrast-attend-diffuse", "phase-1", root, {"data": only_god, "model": MAE}
    one = GOD | {"encoder": "contrast-attend-diffuse-phase-1/encoder"}
    yield "contrast-attend-diffuse", "phase-2", root, {"data": one}
    yield "contrast-attend-diffuse", "ldm", root, {"data": one | {"side": 32}}
    yield "atm", "encoder", root / "things", {"training": {"multi_positive": True, "lr": 1e-3}}
    yield "atm", "prior", root / "things", PRIOR | {"encoder": str(root / "atm-encoder/encoder")}
    yield "atm-multimodal", "train", root / "things", PRIOR
    small = {"prior": {"depth": 1, "num_heads": 2, "head_dim": 4, "n_steps": 10}}
    yield "mindeye", "high-level", root / "nsd", MINDEYE | small
    base, soft = str(root / "mindeye-high-level"), {"mixup_fraction": 0.0}
    yield "mindeye", "person", root / "nsd", {"base": base, "training": soft}
    low = {"hidden": 8, "n_blocks": 1, "side": 2, "widths": [32, 32, 32]}
    yield "mindeye", "low-level", root / "nsd", {"data": {"maps": "maps"}, "model": low}
    gallery = load_gallery().folder
    assert gallery is not None
    for name in ("sana-sprint", "z-image-turbo", "flux2-klein"):
        table = {"weights": str(root / name), "training": {"size": SIZE}}
        table["projector"] = {"n_tokens": 2, "rank": 4, "n_hidden": 4}
        yield name, "projector", gallery, table


class Divided:
    """Takes the loop's place in a stage."""

    def __init__(self, root: Path, sharded: Engine) -> None:
        self.name = ""
        self._sharded = sharded
        self.found: dict[str, dict[str, float]] = {}
        self._root = root

    def __call__(
        self, task: Task, config: LoopConfig, *, engine: Engine, out: Path, **_: Any
    ) -> dict[str, Any]:
        """Train every way; nothing of it is the stage's result."""
        _still(task)
        self._module, self._task = task.module, task
        loop = replace(config, batch_size=N_ITEMS, gradient_accumulation_steps=1)
        cut = random.Random(self.name).randrange(1, N_STEPS)
        half = replace(loop, batch_size=N_ITEMS // 2)
        single = SingleDevice(torch.device("cpu"), "no")
        runs = self._root / "runs" / self.name
        # First as if no launcher had started two: each alone, at once.
        if engine.rank == 0:
            whole = self._run(loop, single, runs / "one", save_every=cut, stop_after=N_STEPS)
        else:
            parts = self._run(half, single, runs / "parts", n_parts=2, stop_after=2)
            (runs / "parts" / "losses.json").write_text(json.dumps(parts))
        engine.wait()
        two = self._run(half, engine, runs / "two", stop_after=cut)
        checkpoint = runs / "one" / "checkpoints" / f"step-{cut:08d}"
        on = self._sharded if self.name in SHARDED else engine
        to_two = self._run(half, on, runs / "to-two", resume=checkpoint, stop_after=N_STEPS)
        if engine.rank == 0:
            is_whole = self._is_as_saved(runs / "to-two")
            to_one = self._run(loop, single, runs / "two", stop_after=N_STEPS)
            losses = runs / "parts" / "losses.json"
            self.found[self.name] = {
                "two": _apart(two, whole[:cut]),
                "to one": _apart(to_one, whole[cut:]),
                "to two": _apart(to_two, whole[cut:]),
                "parts": _apart(json.loads(losses.read_text()), whole[:2]),
                "weights": _weights_apart(runs / "two", runs / "one"),
                "weights to two": _weights_apart(runs / "to-two", runs / "one"),
                "is whole": is_whole,
                "weights of parts": _weights_apart(runs / "parts", runs / "one"),
                "moved": self._moved(runs / "one"),
            }
        task.module = self._module  # type: ignore[misc]
        return {"step": N_STEPS, "n_steps": N_STEPS}

    def _run(
        self, loop: LoopConfig, engine: Engine, out: Path, *, n_parts: int = 1, **how: Any
    ) -> list[float]:
        losses: list[float] = []

        def on_step(progress: Progress) -> None:
            losses.append(progress.losses["loss"])

        config = replace(loop, gradient_accumulation_steps=n_parts)
        how = {"engine": engine, "out": out, "on_step": on_step} | how
        if isinstance(engine, SingleDevice):
            before = {name: value.clone() for name, value in self._module.state_dict().items()}
            self._task.module = self._module  # type: ignore[misc]
            train(self._task, config, **how)
            self._module.load_state_dict(before)
            self._module.zero_grad(set_to_none=True)
        else:
            # DDP leaves hooks on what it has wrapped, FSDP other parameters.
            self._task.module = copy.deepcopy(self._module)  # type: ignore[misc]
            train(self._task, config, **how)
        return losses

    def _is_as_saved(self, out: Path) -> bool:
        """Whether the module holds all that its run kept, also where processes held shards."""
        saved = load_file(list_runs(out)[-1] / "trained.safetensors")
        made = self._task.module.state_dict()
        return all(torch.equal(made[name], value) for name, value in saved.items())

    def _moved(self, out: Path) -> float:
        before = self._module.state_dict()
        after = load_file(list_runs(out)[-1] / "trained.safetensors")
        return max(
            float((value - before[name]).abs().max())
            for name, value in after.items()
            if name.rsplit(".", 1)[-1] not in state.RUNNING
        )


def _still(task: Task) -> None:
    """Without dropout, whose masks are other for other rows; and where noise is not a gradient."""
    for module in task.module.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    make = task.make_optimizer

    def make_optimizer() -> torch.optim.Optimizer:
        optimizer = make()
        for group in optimizer.param_groups:
            # Adam makes whole steps of the noise in gradients that are 0 but for rounding.
            group["eps"] = 0.1
        return optimizer

    task.make_optimizer = make_optimizer  # type: ignore[method-assign]


def _apart(a: list[float], b: list[float]) -> float:
    return float(np.max(np.abs(np.subtract(a, b)) / np.abs(b)))


def _weights_apart(a: Path, b: Path) -> float:
    last = list_runs(a)[-1].name
    one, other = (load_file(out / "checkpoints" / last / "trained.safetensors") for out in (a, b))
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def main(root: Path) -> None:
    """Run every stage in this process, one of two."""
    engine = make_engine(device="cpu")
    state.KEPT = N_STEPS
    torch.manual_seed(0)
    if engine.rank == 0:
        write_files(root)
    engine.wait()
    plain = functional.scaled_dot_product_attention

    def still(*args: Any, dropout_p: float = 0.0, **more: Any) -> Any:
        del dropout_p
        return plain(*args, **more)

    functional.scaled_dot_product_attention = still  # type: ignore[assignment]
    sharding.LEAST = 1
    with patch.dict("os.environ", {FSDP: "true"}):
        sharded = make_engine(device="cpu")
    divided = asked.train = Divided(root, sharded)  # type: ignore[assignment]
    for system, stage, data, given in stages(root):
        divided.name = f"{system}-{stage}"
        common = {"batch_size": N_ITEMS, "lr": 1e-2} | (NO_WARM_UP if stage in MASKED else {})
        table = {**given, "training": common | given.get("training", {})}
        run = find_entry(find_system(system).descriptor.stages, stage, what="stage")
        run(StageRequest(data, root / divided.name, table=table, precision="no", device="cpu"))
        engine.wait()
    tracked = make_engine(device="cpu", tracker="tensorboard", folder=str(root / "log"))
    train(Line(), LINE, engine=tracked, out=root / "line")
    assert distributed.is_initialized(), "whoever trains on would wait for ever"
    # The last thing that is done with shards is a forward pass.
    task = Line()
    task.n_val = 4
    train(task, LINE, engine=sharded, out=root / "validated")
    made = task.module.state_dict()
    assert not any(isinstance(value, DTensor) for value in made.values())
    kept = load_file(list_runs(root / "validated")[-1] / "trained.safetensors")
    torch.testing.assert_close(dict(made), kept, rtol=0, atol=0)
    if engine.rank == 0:
        (root / "found.json").write_text(json.dumps(divided.found))
