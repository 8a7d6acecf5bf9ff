"""`phosphene bench sampler` measures what it says, and writes a GPU's table where there is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.benchmarks import sampler, sampler_engines, sampler_peers
from app.benchmarks.sampler import BEGIN, END, run_sampler_bench, table_of, write_table
from app.cli import main
from app.errors import AppError
from models import accelerators
from models.sampling.backends.choice import BACKENDS
from models.sampling.backends.machine import cpu_flags


class Broken:
    """A back-end that cannot make anything."""

    name, packages, extra = "openvino", (), ""

    def dtypes(self, kind: str) -> tuple[str, ...]:
        return ("float32",)

    def prepare(self, *_: Any) -> Any:
        raise RuntimeError("it is broken")


class FakeGpu:
    """Says that it is a GPU, and computes on the CPU."""

    type = "cuda"

    def __str__(self) -> str:
        return "cpu"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sampler.CASES, "cpu", (("small", 32, 2),))
    monkeypatch.setitem(sampler.CASES, "cuda", (("small", 32, 1),))
    monkeypatch.setattr(sampler, "N_TURNS", 6)


@pytest.mark.filterwarnings("error::FutureWarning")
def test_contenders_draw_with_one_set_of_weights(
    tiny: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "sampler", "--quick", "--only", "peers", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["benchmarks"]["sampler"]
    assert [row["who"] for row in report["rows"]] == ["diffusers", "StreamDiffusion's way", "ours"]
    (facts,) = report["cases"]
    assert facts["max_difference_to_diffusers"] <= 1e-4
    assert facts["a_b_a"] == 0 < facts["changed"]
    (stage,) = facts["stages"]
    assert 0 < stage["share_of_roof"] < 1
    assert min(stage["unet_ms"], stage["decoder_ms"], stage["overhead_ms"]) > 0
    # Twice the U-Net and once the decoder, by hand: the stem's convolution alone is in there.
    assert facts["gflops"] > 2 * (2 * 4 * 32 * 9 * 4 * 4) / 1e9


def test_a_stream_batch_lags_by_its_steps() -> None:
    """Its first pictures are of noise that was put in at the start, the later ones alike."""
    case = sampler_peers.Case("small", 32, 3)
    bench = sampler_peers.make(case, device="cpu", compiled=False)
    draw = bench.runs["StreamDiffusion's way"]
    drawn = [draw() for _ in range(5)]
    assert not np.array_equal(drawn[0], drawn[2])
    assert np.array_equal(drawn[2], drawn[3])
    assert np.array_equal(drawn[3], drawn[4])


def test_a_gpus_table_is_written(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerators, "choose_device", lambda _: FakeGpu())
    monkeypatch.setattr(torch, "compile", lambda module, mode: module)
    page = tmp_path / "performance.md"
    begin, end = BEGIN.format("cuda"), END.format("cuda")
    page.write_text(f"before\n{begin}\nnot measured\n{end}\nafter\n")
    report = run_sampler_bench(device="cuda", page=page, quick=True, only="peers")
    text = page.read_text()
    assert text == f"before\n{begin}\n{table_of(report)}{end}\nafter\n"
    assert "| small, 32 px, 1 step | diffusers, compiled |" in text
    page.write_text("no marks")
    with pytest.raises(AppError, match="has no place for the table"):
        write_table(page, "cuda", report)


def test_time_that_is_over_leaves_cases_out(tiny: None) -> None:
    report = run_sampler_bench(minutes=0.0)
    assert report["left_out"] == ["small 32 px 2 steps"]
    assert report["rows"] == []


def test_the_shipped_model_is_drawn_by_every_back_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each beside diffusers' classes, with its share of the roof; those that fail are named."""
    monkeypatch.setattr(sampler, "N_TURNS", 3)
    known = {name: BACKENDS[name] for name in ("eager", "onnxruntime")}
    monkeypatch.setattr(sampler_engines, "BACKENDS", {**known, "openvino": Broken()})
    report = run_sampler_bench(cases=(("shipped", 128, 1),), quick=True)
    names = [row["who"] for row in report["rows"]]
    assert names == ["diffusers' classes", "ours", "ours, onnxruntime"]
    (facts,) = report["cases"]
    assert facts["max_difference_to_diffusers"] == 0
    assert facts["left_out"] == ["openvino: it is broken"]
    eager, engine = facts["stages"]
    assert eager["difference_to_eager"] == 0 < engine["difference_to_eager"] < 1e-3
    for name in ("conditions", "step", "decoder", "pixels", "finish"):
        assert min(eager[f"{name}_ms"], engine[f"{name}_ms"]) > 0
    assert eager["overhead_ms"] < eager["step_ms"], "what computes is no overhead"
    assert "ours, onnxruntime: conditions" in table_of(report)
    assert set(report["flags"]) <= cpu_flags()
