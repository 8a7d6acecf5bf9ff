"""A step divided between processes, or into parts, is the step; and so is one that continues."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from models.mindeye.losses import draw_mix
from models.registry import read_registry
from models.training import LoopConfig, draws, make_engine, train
from models.training.division import Division
from models.training.draws import Draws
from models.training.errors import TrainingError
from models.training.state import list_runs
from tests.forking import run_programs
from tests.models.divided_stages import LINE
from tests.models.line import Line

NORMS = {"atm-encoder", "atm-multimodal-train"}
"""Stages with batch norms, whose statistics are a part's."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    pytest.importorskip("accelerate", reason="several processes need phosphene[train]")
    pytest.importorskip("transformers", reason="the frozen networks need phosphene[published]")
    pytest.importorskip("tensorboard", reason="its event files need phosphene[train]")
    root = tmp_path_factory.mktemp("divided")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    # What torchrun and `accelerate launch` set for their processes.
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [common | {"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    code = "from pathlib import Path\nfrom tests.models.divided_stages import main\n"
    for exit_code, said in run_programs(f"{code}main(Path({str(root)!r}))", root, *ranks):
        assert exit_code == 0, said
    _tracks_a_task_that_leaves_a_parameter_aside(root)
    made: dict[str, dict[str, float]] = json.loads((root / "found.json").read_text())
    return made


def _tracks_a_task_that_leaves_a_parameter_aside(root: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    task, whole = Line(), replace(LINE, batch_size=2 * LINE.batch_size)
    report = train(task, whole, engine=make_engine(device="cpu"), out=root / "whole-line")
    made = load_file(list_runs(root / "line")[-1] / "trained.safetensors")["weight"]
    torch.testing.assert_close(made, task.module.weight.detach(), rtol=1e-5, atol=1e-6)
    folder = next((root / "log").rglob("events.out.tfevents.*")).parent
    events = EventAccumulator(str(folder))
    events.Reload()
    losses = events.Scalars("loss")
    assert [each.step for each in losses] == list(range(1, report["n_steps"] + 1))
    assert losses[-1].value == pytest.approx(report["losses"]["loss"], rel=1e-5)
    assert events.Scalars("lr")[0].value == pytest.approx(0.1)


def test_two_processes_are_one_with_twice_the_batch(found: dict[str, dict[str, float]]) -> None:
    systems = read_registry().systems
    stages = {f"{name}-{s}" for name, system in systems.items() for s in system.descriptor.stages}
    others = {"atm-prepare", "atm-multimodal-features", "fmri-ridge-fit"}  # without a loop
    assert stages - found.keys() == others
    for stage, apart in found.items():
        assert apart["moved"] > 1e-5, stage
        assert apart["two"] < 1e-5, stage


def test_a_run_continues_with_another_number_of_processes(
    found: dict[str, dict[str, float]],
) -> None:
    for stage, apart in found.items():
        for what in ("to one", "to two"):
            assert apart[what] < 1e-5, (stage, what)
        for what in ("weights", "weights to two"):
            assert apart[what] < 1e-3 * apart["moved"], (stage, what)
        assert apart["is whole"], stage


def test_parts_add_up_to_the_step(found: dict[str, dict[str, float]]) -> None:
    for stage, apart in found.items():
        if stage in NORMS:
            assert apart["parts"] > 1e-4, stage  # else it need not be listed
        else:
            assert apart["parts"] < 1e-5, stage
            assert apart["weights of parts"] < 1e-3 * apart["moved"], stage


@pytest.mark.parametrize("whole", [2**21, 0])
def test_rows_are_drawn_alike_however_a_step_is_divided(
    whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draws, "DRAWN_WHOLE", whole)
    monkeypatch.setattr(draws, "ITEMS_WHOLE", whole)
    items = np.arange(100, 112)

    def drawn(of: Draws) -> list[torch.Tensor]:
        each = torch.tensor(of.each(lambda i, g: i + float(torch.rand((), generator=g))))
        return [
            of.rand(),
            of.randn(2, 3),
            of.randint(9),
            of.one_rand().repeat(len(of.indices)),
            each,
        ]

    once = drawn(Draws.of(items, 5))
    for n_processes, n_parts in ((2, 1), (1, 3), (2, 3)):
        size = len(items) // (n_processes * n_parts)
        shares = [
            drawn(Division(12, rank, n_processes, n_parts).draws(items, 5, part=part))
            for part in range(n_parts)
            for rank in range(n_processes)
        ]
        for whole_step, rows in zip(once, zip(*shares, strict=True), strict=True):
            assert torch.equal(torch.cat(rows), whole_step), size
    halves = [Division(12, rank, 2, 1).draws(items, 5, part=0) for rank in (0, 1)]
    mixes = [half.for_step(draw_mix).partner.tolist() for half in halves]
    assert mixes[0] == mixes[1]
    assert len(mixes[0]) == 12
    assert len({int(half.seed()) for half in halves}) == 2


def test_processes_that_cannot_share_a_step_are_told_how_many_can() -> None:
    with pytest.raises(
        TrainingError, match=r"have 12 items, of which 5 processes .* start 1, 2, 3, 4, 6 or 12\."
    ):
        Division.fit(12, rank=0, n_processes=5, at_most=8)
    made = Division.fit(12, rank=0, n_processes=2, at_most=4)
    assert (made.n_parts, made.size, str(made)) == (2, 3, "2 processes of 3, 2 parts each")


def test_a_checkpoint_keeps_the_items_of_its_steps(tmp_path: Path) -> None:
    engine, notes = make_engine(device="cpu"), []
    for name, sizes in (("whole", (8, 8)), ("cut", (8, 2))):
        task = Line()
        for stop_after, batch_size in zip((2, 4), sizes, strict=True):
            config = LoopConfig(passes=3, batch_size=batch_size)
            out = tmp_path / name
            train(task, config, engine=engine, out=out, stop_after=stop_after, on_note=notes.append)
    assert notes == [
        "note: steps stay of 8 items, as the run began (the settings say 2): 1 process of 2, "
        "4 parts each."
    ]
    one, other = (list_runs(tmp_path / name)[-1] for name in ("whole", "cut"))
    # As versions wrote it that told processes and parts apart.
    facts = json.loads((one / "run.json").read_text())
    assert facts.pop("n_items") == 8
    facts["loop"] |= {"batch_size": 2, "gradient_accumulation_steps": 2}
    (one / "run.json").write_text(json.dumps(facts | {"n_processes": 2}))
    made = []
    for checkpoint in (one, other):
        task = Line()
        config = LoopConfig(passes=3, batch_size=8)
        train(task, config, engine=engine, out=tmp_path / "on", resume=checkpoint, stop_after=6)
        made.append(task.module.weight.detach())
    torch.testing.assert_close(made[0], made[1], rtol=1e-5, atol=1e-6)
