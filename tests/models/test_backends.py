"""Back-ends: chosen, built apart, checked against eager, kept safely, swapped back and forth."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor, nn

from configs import DecoderConfig, load_preset
from models import ahead, compiling
from models.sampling.backends import choice as choosing
from models.sampling.backends import engines, spawn
from models.sampling.backends.base import Backend, BackendError, Target, missing
from models.sampling.backends.cache import EngineCache, Key, Manifest
from models.sampling.backends.checks import check_part
from models.sampling.backends.choice import BACKENDS, Choice, choose
from models.sampling.backends.engines import Engine, build, key_of, load, load_shipped, prepare
from models.sampling.backends.machine import has_bfloat16
from models.sampling.backends.openvino import OpenVino
from models.sampling.backends.spawn import build_apart
from models.sampling.backends.trace import Trace
from models.sampling.parts import Flat, Part, Run
from models.systems import load_system, noise_epoch


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@dataclass
class FakeBuilder:
    """Engines are the weights as bytes; `error` is what they are off by."""

    name: str = "fake"
    packages: tuple[str, ...] = ()
    extra: str = ""
    takes_graphs: bool = False
    error: float = 0.0
    calls: list[str] = field(default_factory=list)

    def dtypes(self, kind: str) -> tuple[str, ...]:
        return ("float32",)

    def build(self, module: nn.Module, examples: tuple[Tensor, ...], target: Target) -> bytes:
        self.calls.append("build")
        return self._bytes(module)

    def refit(
        self, engine: bytes, module: nn.Module, examples: tuple[Tensor, ...], target: Target
    ) -> bytes:
        self.calls.append("refit")
        assert engine != self._bytes(module)
        return self._bytes(module)

    def load(self, engine: bytes, weights: Mapping[str, Tensor], target: Target) -> Run:
        matrix = torch.from_numpy(np.frombuffer(engine, np.float32).copy().reshape(3, 3))
        return lambda x: x @ matrix.T + self.error

    def _bytes(self, module: nn.Module) -> bytes:
        return module.state_dict()["module.weight"].numpy().tobytes()


@dataclass
class FakeMaker:
    """Engines are the modules themselves; `error` is what they are off by."""

    name: str
    error: float = 0.0
    packages: tuple[str, ...] = ()
    extra: str = ""

    def dtypes(self, kind: str) -> tuple[str, ...]:
        return ("float32",)

    def prepare(self, module: nn.Module, examples: tuple[Tensor, ...], target: Target) -> Run:
        return lambda *tensors: module(*tensors) + self.error


def _linear(seed: int) -> Part:
    torch.manual_seed(seed)
    return Part(nn.Linear(3, 3, bias=False), "unet")


def _drawing(part: Part) -> Callable[[], object]:
    x = torch.linspace(-1, 1, 3)[None]
    return lambda: part(x)


def _built(
    part: Part, backend: FakeBuilder, cache: EngineCache, target: Target | None = None
) -> tuple[Manifest, Key]:
    target = Target() if target is None else target
    key = key_of([part], backend=backend, target=target, options={"steps": 4})
    draw = _drawing(part)
    draw()
    manifest = build(
        [part], backend=backend, target=target, key=key, cache=cache, draw=draw, say=lambda _: None
    )
    return manifest, key


def _loaded(part: Part, backend: FakeBuilder, cache: EngineCache, key: Key) -> Engine:
    manifest = cache.find(key)
    assert manifest is not None
    return load([part], manifest, backend=backend, target=Target(), cache=cache)


def test_settings_that_say_nothing_mean_eager_and_presets_the_fastest() -> None:
    """An old `session.toml` lacks the keys: it means what it meant."""
    assert (DecoderConfig().backend, DecoderConfig().dtype) == ("eager", "float32")
    chosen = load_preset("demo").decoder
    assert (chosen.backend, chosen.dtype) == ("auto", "auto")


def test_the_shipped_model_draws_by_graphs_that_ship_with_it() -> None:
    """Eager's picture but for the last bits, the same bits each time, and it says what draws."""
    system = load_system(DecoderConfig(backend="onnxruntime", num_inference_steps=2))
    plain = load_system(DecoderConfig(num_inference_steps=2))
    embedding = plain.encoder.encode(noise_epoch(plain.encoder.spec))
    expected = plain.sampler.sample(embedding, seed=3).pixels
    drawn = system.sampler.sample(embedding, seed=3).pixels
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    again = load_system(DecoderConfig(backend="onnxruntime", num_inference_steps=2))
    np.testing.assert_array_equal(again.sampler.sample(embedding, seed=3).pixels, drawn)
    assert system.settled == {"device": "cpu", "backend": "onnxruntime", "dtype": "float32"}
    assert system.engine is not None
    assert max(system.engine.manifest.deviations.values()) < 1e-4
    assert "onnxruntime" in system.versions
    # A, eager, A.
    system.use(None)
    np.testing.assert_array_equal(system.sampler.sample(embedding, seed=3).pixels, expected)
    system.use(system.engine)
    np.testing.assert_array_equal(system.sampler.sample(embedding, seed=3).pixels, drawn)


def test_a_named_back_end_that_is_absent_is_refused_by_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choosing, "missing", lambda _: "openvino is not installed (pip ... [fast])")
    with pytest.raises(BackendError, match=r"'openvino', but openvino is not installed.*\[fast\]"):
        choose(DecoderConfig(backend="openvino"))


def test_auto_takes_the_next_one_and_names_what_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(backend: Backend) -> str:
        return "" if backend.name in {"trace", "eager"} else f"{backend.name} is not installed"

    monkeypatch.setattr(choosing, "missing", absent)
    chosen = choose(DecoderConfig(backend="auto", dtype="auto"))
    assert chosen.first[0].name == "trace"
    assert "onnxruntime is not installed" in chosen.faster


def test_a_type_that_a_back_end_has_not_is_refused() -> None:
    with pytest.raises(BackendError, match="does not compute float16 on cpu"):
        choose(DecoderConfig(backend="onnxruntime", dtype="float16"))


def test_an_engine_is_kept_and_found_again(tmp_path: Path) -> None:
    cache, backend, part = EngineCache(tmp_path / "engines"), FakeBuilder(), _linear(0)
    manifest, key = _built(part, backend, cache)
    assert not manifest.refused
    assert manifest.deviations["picture"] < 1e-6
    engine = _loaded(part, backend, cache, key)
    expected = _drawing(part)()
    engine.use([part])
    assert part.is_engine
    torch.testing.assert_close(_drawing(part)(), expected)
    assert cache.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("error", [KeyError("input0"), RuntimeError("no network"), IndexError()])
def test_an_engine_that_takes_other_inputs_is_refused_in_a_sentence(
    tmp_path: Path, error: Exception
) -> None:
    cache, backend, part = EngineCache(tmp_path / "engines"), FakeBuilder(), _linear(0)
    _, key = _built(part, backend, cache)

    class Foreign(FakeBuilder):
        def load(self, engine: bytes, weights: Mapping[str, Tensor], target: Target) -> Run:
            def run(*_: Tensor) -> Tensor:
                raise error

            return run

    with pytest.raises(BackendError, match=r"unet cannot be run .*: refused; delete .*engines"):
        _loaded(part, Foreign(), cache, key)


def test_other_weights_refit_and_the_first_come_back_to_the_bit(tmp_path: Path) -> None:
    """A, B, A: each has a key of its own, and B comes of A's engine."""
    cache, backend = EngineCache(tmp_path / "engines"), FakeBuilder()
    first, second = _linear(0), _linear(1)
    _, key_a = _built(first, backend, cache)
    before = cache.load(cache.find(key_a) or pytest.fail("lost"), "unet")
    made, key_b = _built(second, backend, cache)
    assert backend.calls == ["build", "refit"]
    assert made.is_refitted
    assert key_a.architecture == key_b.architecture
    assert key_a.name != key_b.name
    assert cache.load(cache.find(key_a) or pytest.fail("lost"), "unet") == before


@pytest.mark.parametrize(("error", "words"), [(0.5, "deviates from eager"), (np.nan, "not finite")])
def test_an_engine_that_is_not_eager_is_refused(tmp_path: Path, error: float, words: str) -> None:
    cache, backend, part = EngineCache(tmp_path / "engines"), FakeBuilder(error=error), _linear(0)
    manifest, key = _built(part, backend, cache)
    assert words in manifest.refused
    with pytest.raises(BackendError, match=words):
        _loaded(part, backend, cache, key)


def test_an_engine_that_answers_otherwise_than_when_checked_is_refused(tmp_path: Path) -> None:
    cache, backend, part = EngineCache(tmp_path / "engines"), FakeBuilder(), _linear(0)
    _, key = _built(part, backend, cache)
    backend.error = 1e-6
    with pytest.raises(BackendError, match="does not answer as it did"):
        _loaded(part, backend, cache, key)


def _plant(path: Path) -> None:
    path.write_bytes(np.ones((3, 3), np.float32).tobytes())


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere"))


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (_plant, "another hash"),
        (_link, "is a link"),
        (lambda path: path.chmod(0o666), "written by somebody else"),
        (lambda path: path.parent.chmod(0o777), "written by somebody else"),
        (lambda path: path.parent.parent.chmod(0o777), "written by somebody else"),
    ],
)
def test_a_planted_engine_is_refused(
    tmp_path: Path, plant: Callable[[Path], None], words: str
) -> None:
    cache, backend, part = EngineCache(tmp_path / "engines"), FakeBuilder(), _linear(0)
    manifest, key = _built(part, backend, cache)
    plant(cache.folder / manifest.key / "unet.engine")
    with pytest.raises(BackendError, match=words):
        _loaded(part, backend, cache, key)


class Timed(nn.Module):
    """A noise level of hundreds becomes angles, and these scale the values."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        angles = time.reshape(-1, 1) * torch.linspace(0.01, 1, 4)[None]
        return torch.as_tensor(x * self.linear(torch.cat([angles.cos(), angles.sin()], dim=-1)))


@pytest.mark.skipif(
    not has_bfloat16() or bool(missing(OpenVino())), reason="no OpenVINO, or a CPU of float32 alone"
)
def test_openvino_keeps_the_angles_of_noise_levels_exact() -> None:
    """Rounded to bfloat16, an angle of 997 is one of 996."""
    torch.manual_seed(0)
    part, target = Part(Timed(), "unet"), Target("cpu", "bfloat16")
    part(torch.randn(1, 8), torch.tensor(997.0))
    assert part.seen is not None
    engine = OpenVino().build(Flat(part.module, part.seen).eval(), part.seen.tensors, target)
    run = OpenVino().load(engine, {}, target)
    assert check_part(part, run, dtype="bfloat16") < 0.02
    with pytest.raises(BackendError, match="cut short"):
        OpenVino().load(engine[:7], {}, target)


def test_a_key_depends_on_all_that_an_engine_depends_on() -> None:
    part, backend = _linear(0), FakeBuilder()

    def name(part: Part = part, steps: int = 4, **target: str | int) -> str:
        options = {"steps": steps, "guidance": 1.0}
        other = Target(**target)  # type: ignore[arg-type]
        return key_of([part], backend=backend, target=other, options=options).name

    assert name() == name(steps=1)
    changed = Part(part.module, "unet", state="lora")
    assert len({name(), name(threads=2), name(_linear(1)), name(changed)}) == 4
    before = name()
    backend.revision = 2  # type: ignore[attr-defined]
    assert name() != before


def test_a_change_of_state_leaves_the_engine() -> None:
    part = _linear(0)
    draw = _drawing(part)
    draw()
    key = key_of([part], backend=Trace(), target=Target(), options={})
    engine = prepare(
        [part], backend=Trace(), target=Target(), key=key, draw=draw, say=lambda _: None
    )
    assert engine.manifest.deviations["picture"] == 0.0
    engine.use([part])
    part.change("another adapter")
    assert not part.is_engine


def test_a_build_that_crashes_costs_a_sentence() -> None:
    with pytest.raises(BackendError, match=r"crashed|ended with"):
        build_apart({}, say=lambda _: None, program="models.there_is_none")


def test_a_build_ends_though_a_forked_process_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaves_one.py").write_text(
        "import json, subprocess, sys\n"
        "stays = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(json.dumps({'say': str(stays.pid)}), flush=True)\n"
        "print(json.dumps({'refused': 'no'}), flush=True)\n"
        "import os; os._exit(0)\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said: list[str] = []
    with pytest.raises(BackendError, match=r"^no$"):
        build_apart({}, say=said.append, program="leaves_one")
    stays = psutil.Process(int(said[0]))  # or there was nothing to wait for
    stays.kill()


def test_a_build_that_fails_says_the_error_and_not_what_comes_after_it() -> None:
    complaints = "Traceback\nlib.ConversionError: no complex\n(Refer to the trace.)\n"
    assert spawn._end(1, complaints) == "ended with 1: lib.ConversionError: no complex"


def test_every_back_end_has_the_name_that_settings_take() -> None:
    for name in BACKENDS:
        assert DecoderConfig(backend=name).backend == name  # type: ignore[arg-type]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Part, list[str]]:
    """A part with a graph that ships with it, and what was held against eager."""
    checked: list[str] = []
    check = engines.check_part

    def counted(part: Part, run: Run, *, dtype: str) -> float:
        checked.append(part.name)
        return check(part, run, dtype=dtype)

    monkeypatch.setattr(engines, "check_part", counted)
    part = _linear(0)
    part.graph = tmp_path / "graph.onnx"
    part.graph.write_bytes(part.module.state_dict()["weight"].numpy().tobytes())
    return part, checked


def _load_graph(part: Part, cache: EngineCache, backend: FakeBuilder | None = None) -> Engine:
    backend = backend or FakeBuilder()
    key = key_of([part], backend=backend, target=Target(), options={})
    return load_shipped(
        [part], backend=backend, target=Target(), key=key, cache=cache, draw=_drawing(part)
    )


def test_a_graph_that_ships_is_held_against_eager_once(
    tmp_path: Path, shipped: tuple[Part, list[str]]
) -> None:
    (part, checked), cache = shipped, EngineCache(tmp_path / "engines")
    first = _load_graph(part, cache)
    part.use(None)
    again = _load_graph(part, cache)
    assert checked == ["unet"]
    assert again.manifest == first.manifest
    assert again.manifest.deviations["picture"] < 1e-6
    again.use([part])
    assert part.is_engine


@pytest.mark.parametrize("why", ["another answer", "another graph", "another's folder", "no room"])
def test_a_graph_is_held_against_eager_where_what_is_kept_cannot_tell(
    tmp_path: Path, shipped: tuple[Part, list[str]], why: str
) -> None:
    (part, checked), cache = shipped, EngineCache(tmp_path / "engines")
    _load_graph(part, cache)
    backend = FakeBuilder()
    if why == "another answer":
        backend.error = 1e-6
    elif why == "another graph" and part.graph is not None:
        weight = part.module.state_dict()["weight"] * (1 + 1e-6)
        part.graph.write_bytes(weight.numpy().tobytes())
    elif why == "no room":
        cache = EngineCache(tmp_path / "file")
        cache.folder.write_text("")
    else:
        cache.folder.chmod(0o777)
    part.use(None)
    assert _load_graph(part, cache, backend).manifest.deviations["picture"] < 1e-3
    assert checked == ["unet", "unet"]


def test_what_is_chosen_can_be_asked_without_torch() -> None:
    code = (
        "import sys; from models.probing import probe_backends as p; found = p();"
        "sys.exit('torch' in sys.modules or found['backend'] == 'eager')"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("system", "first", "n_parts", "rounding"),
    [
        ("embedded", "conditions", 3, 1e-6),
        ("mindeye-toy", "unet", 2, 0.0),
        ("dreamdiffusion-toy", "unet", 2, 0.0),
    ],
)
def test_engines_are_built_ahead_and_compared_with_eager(
    monkeypatch: pytest.MonkeyPatch, system: str, first: str, n_parts: int, rounding: float
) -> None:
    """One that is refused says why, beside one that is measured."""
    good, bad = FakeMaker("good"), FakeMaker("bad", error=0.5)
    named = ((good, Target()), (bad, Target()), (BACKENDS["eager"], Target()))
    monkeypatch.setattr(ahead, "choose", lambda _: Choice(named, is_asked=False, why=""))
    said: list[str] = []
    made = list(ahead.build_ahead(DecoderConfig(system=system), say=said.append))
    assert [each.backend for each in made] == ["good", "bad"]
    assert made[0].reason == ""
    assert made[0].deviation <= rounding
    assert min(made[0].picture, made[0].eager) > 0
    assert made[1].reason.startswith(f"{first} deviates from eager by")
    assert said.count("loading the networks") == 1, "both draw by the same networks"
    assert f"good: {first} (1 of {n_parts}): compiling" in said


def test_a_system_without_parts_has_nothing_to_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "parts_of", lambda _: ())
    with pytest.raises(BackendError, match="embedded shows no networks to back-ends"):
        list(ahead.build_ahead(DecoderConfig(backend="trace")))


def test_a_build_ends_with_who_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    monkeypatch.setattr(os, "_exit", ended.append)
    compiling._end_with_input()
    assert ended == [1]


def test_libraries_report_to_nobody() -> None:
    """What ours is imported with keeps them from it; `tests.reports` catches what is sent."""
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    with pytest.raises(ImportError):
        __import__("openvino_telemetry")
