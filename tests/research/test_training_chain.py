"""The chain of `make train-embedded`: order, going on after an interruption, the comparison."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import runpy
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import numpy as np
import pytest
import torch
from PIL import Image

from models.embedded.generator import load_generator
from models.embedded.sampler import EmbeddedSampler
from pipeline.gallery import load_gallery
from pipeline.values import Float32, Uint8
from research.embedded import (
    build_gallery,
    chain,
    evaluate_generator,
    every_picture,
    latents,
    picture_quality,
    train_autoencoder,
    train_encoder,
    train_unet,
)
from research.embedded.features import Looks, layout

MADE = "gallery/fluent_emoji"
STAGES = {
    *("gallery", "pictures", "ae", "dec", "latents", "prior", "unet", "encoder"),
    *("judge-generator", "judge-pictures", "judge-encoder"),
}
N_CONCEPTS, N_RENDERS = 40, 160
"""Pictures of the gallery and of the package, of which the last are outside of the gallery."""


def _render(number: int) -> bytes:
    """A box in a transparent picture, as a WebP file; its colour and shape go by the number."""
    pixels = np.zeros((24, 24, 4), np.uint8)
    pixels[4:20, 3 + number % 7 : 20 - number % 5] = (number, 255 - number, 90, 255)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "WEBP")
    return written.getvalue()


def _package(path: Path, files: Mapping[str, bytes]) -> None:
    """An npm package of these files."""
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of small packages, beside which all that the chain is made of is small too."""
    codes = [f"{0x1F400 + number:x}" for number in range(N_RENDERS)]
    renders = {f"assets/{code}.webp": _render(number) for number, code in enumerate(codes)}
    names = [
        {
            "short_name": f"thing_{code}", "unified": code.upper(), "category": "Animals & Nature",
            "subcategory": "animal-mammal", "sort_order": number,
        }
        for number, code in enumerate(codes[:-20])
    ]  # fmt: skip
    _package(tmp_path / chain.RENDERS, renders)
    _package(tmp_path / chain.NAMES, {"emoji.json": json.dumps(names).encode()})
    concepts = [f"thing_{code}" for code in codes[:N_CONCEPTS]]
    (tmp_path / "concepts.toml").write_text(f"animal = {json.dumps(concepts)}\n")
    monkeypatch.setattr(build_gallery, "__file__", str(tmp_path / "build_gallery.py"))
    # Training of the encoder needs as many pictures as the shipped gallery has.
    for module in (every_picture, latents, train_unet, evaluate_generator, picture_quality):
        monkeypatch.setattr(module, "load_gallery", lambda: load_gallery(tmp_path / MADE))
    project = np.random.default_rng(0).standard_normal((8 * 8 * 3, 1280), np.float32)
    monkeypatch.setattr(Looks, "__init__", lambda self, version=0: None)
    monkeypatch.setattr(Looks, "__call__", lambda self, shown: layout(shown) @ project)
    monkeypatch.setattr(
        build_gallery,
        "meaning",
        lambda texts: np.random.default_rng(1).standard_normal((len(texts), 384), np.float32),
    )
    monkeypatch.setitem(train_unet.PRIOR, "hidden_size", 64)
    monkeypatch.setattr(train_autoencoder, "N_FOLD", 2)
    monkeypatch.setattr(train_encoder, "BATCH", 32)
    # Seconds each, and run by the encoder's own tests.
    for name in ("solve_straight", "measure_noise"):
        monkeypatch.setattr(train_encoder, name, lambda *_, **__: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def _noise(_: EmbeddedSampler, vectors: Float32, *, seeds: tuple[int, ...]) -> Uint8:
    """What a judge can measure, at once."""
    rng = np.random.default_rng(seeds)
    return rng.integers(0, 256, (len(vectors), 128, 128, 3), np.uint8)


def test_every_stage_starts_with_the_arguments_of_the_quick_chain(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From packages to the report; only the judges' pictures are not drawn."""

    def start(command: list[str], *, stdout: TextIO, **_: object) -> SimpleNamespace:
        assert command[:3] == [sys.executable, "-P", "-m"]
        monkeypatch.setattr(sys, "argv", command[3:])
        with contextlib.redirect_stdout(stdout):
            importlib.import_module(command[3]).main()
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(chain, "subprocess", SimpleNamespace(run=start, STDOUT=None))
    with monkeypatch.context() as fast:
        fast.setattr(EmbeddedSampler, "draw", _noise)
        assert chain.main(["--out", str(small), "--packages", str(small), "--quick"]) == 0
    ended = {path.parent.name for path in small.glob("*/ended.json")}
    assert ended == STAGES
    assert "| encoder, cyton, SNR 1, top-1 % |" in (small / "report.md").read_text()
    sampler = EmbeddedSampler(load_generator(small / "unet" / "weights"))
    known = load_gallery(small / MADE)
    assert sampler.draw(known.embeddings[:1], seeds=(0,)).shape == (1, 128, 128, 3)


def test_every_input_of_a_stage_is_made_by_an_earlier_one(tmp_path: Path) -> None:
    made = {"packages"}
    for stage in chain.stages(tmp_path / "out", tmp_path / "r.tgz", tmp_path / "n.tgz"):
        own = {stage.name}
        for argument in stage.arguments:
            path = Path(argument)
            if path.is_relative_to(tmp_path / "out"):
                assert path.relative_to(tmp_path / "out").parts[0] in made | own
        made |= own


def _stage(code: str) -> chain.Stage:
    class Script(chain.Stage):
        def command(self, *, quick: bool) -> list[str]:
            return [sys.executable, "-c", *self.arguments]

    return Script(name="one", module="none", arguments=(code,))


def test_ended_stage_is_not_run_again_and_a_failed_one_is(tmp_path: Path) -> None:
    count = tmp_path / "count"
    write = f"open({str(count)!r}, 'a').write('x')"
    with pytest.raises(SystemExit, match="Stage 'one' failed with exit code 3"):
        chain.run(_stage(f"{write}; raise SystemExit(3)"), tmp_path, quick=True)
    chain.run(_stage(write), tmp_path, quick=True)
    chain.run(_stage(write), tmp_path, quick=True)
    assert count.read_text() == "xx"
    assert json.loads((tmp_path / "one" / "ended.json").read_text())["quick"] is True


def test_missing_package_is_named_with_what_fetches_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        chain.main(["--out", str(tmp_path)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert chain.RENDERS in said
    assert "scripts/fetch_packages.py" in said


def test_download_cut_short_leaves_no_package(tmp_path: Path) -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "fetch_packages.py"))
    fetch, packages = script["fetch"], script["PACKAGES"]

    def broken(_: str, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("connection lost")

    with pytest.raises(OSError, match="connection lost"):
        fetch(tmp_path, broken)
    assert set(packages) == {chain.RENDERS, chain.NAMES}
    assert not any((tmp_path / name).exists() for name in packages)
    fetch(tmp_path, lambda _, path: path.write_bytes(b"whole"))
    assert all((tmp_path / name).read_bytes() == b"whole" for name in packages)


def test_comparison_sets_this_run_beside_what_ships() -> None:
    table = chain.compared({"a": 1.0, "b": 2.0}, {"a": 3.0})
    assert "| a | 3.00 | 1.00 |" in table
    assert "| b | - | 2.00 |" in table
