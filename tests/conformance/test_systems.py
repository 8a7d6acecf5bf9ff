"""One suite over every registered encoder and sampler, ours and somebody else's.

Systems whose weights are not on this machine are skipped; their toys, which are the same classes,
are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs import DecoderConfig, load_preset
from models.api import Encoder, EncoderSpec, InputSpec, Sampler, SamplerSpec
from models.conformance import check_encoder, check_sampler
from models.registry import find_system, read_registry
from models.systems import load_encoder, load_sampler, noise_epoch
from pipeline.values import Embedding, Epoch, GeneratedImage
from tests.conformance.plugin import on_path, write_example

OURS = [found.descriptor for found in read_registry().systems.values()]
ENCODERS = [found.name for found in OURS if found.encoder] + ["lab-linear", "lab-fmri"]
SAMPLERS = [found.name for found in OURS if found.sampler] + ["lab-linear", "lab-tiles"]


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path) -> Iterator[None]:
    write_example(tmp_path / "site")
    with on_path(tmp_path / "site"):
        yield


def _config(name: str) -> DecoderConfig:
    descriptor = find_system(name).descriptor
    status = descriptor.status()
    if status is not None and status.state == "missing":
        pytest.skip(status.problems[0])
    config = load_preset(descriptor.preset).decoder
    if not descriptor.encoder:
        return config.model_copy(update={"generator": name})
    return config.model_copy(update={"system": name})


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder(name: str) -> None:
    encoder = load_encoder(_config(name))
    assert isinstance(encoder, Encoder)
    assert list(check_encoder(encoder)) == []
    descriptor = find_system(name).descriptor
    assert encoder.spec.space == descriptor.space
    assert encoder.spec.input.kind == descriptor.modality.lower()


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler(name: str) -> None:
    config = _config(name)
    sampler, encoder = load_sampler(config), load_encoder(config)
    assert isinstance(sampler, Sampler)
    assert encoder.spec.space == sampler.spec.space == find_system(name).descriptor.space
    embedding = encoder.encode(noise_epoch(encoder.spec))
    assert list(check_sampler(sampler, embedding)) == []


class _Broken:
    """Remembers, forgets its seed, and says what is not so."""

    spec: EncoderSpec | SamplerSpec

    def __init__(self, spec: EncoderSpec | SamplerSpec) -> None:
        self.spec, self._n = spec, 0

    def encode(self, epoch: Epoch) -> Embedding:
        self._n += 1
        if len(epoch.info.ch_names) < 4:
            raise ValueError("boom\nand more")
        return Embedding(np.full(3, self._n, np.float32), index=0, t_onset=epoch.t_onset)

    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        self._n += 1
        pixels = np.full((4, 4, 3), 0 if seed == 6 else self._n, np.uint8)
        return GeneratedImage(pixels, 0, embedding.index, embedding.t_onset)


def test_an_encoder_that_breaks_the_contract_is_told_so() -> None:
    given = InputSpec(100.0, n_channels=4)
    spec = EncoderSpec("", given, 0.0, 1.0, None, None, 5, sha256="beef", states_confidence=True)
    found = " | ".join(check_encoder(_Broken(spec)))  # type: ignore[arg-type]
    for words in (
        "spec.name is empty",
        "64 hexadecimal digits",
        "spec says 5 features",
        "not the index and onset",
        "states_confidence is True",
        "another vector the second time",
        "half of the channels raises ValueError: boom, expected a PhospheneError",
    ):
        assert words in found
    assert "\n" not in found
    fine = replace(spec, input=replace(given, ch_names=("O1", "O2", "Oz", "Pz")))
    found = " | ".join(check_encoder(_Broken(fine)))  # type: ignore[arg-type]
    assert "labels that nobody knows is taken, expected a refusal" in found


def test_a_sampler_that_breaks_the_contract_is_told_so() -> None:
    spec = SamplerSpec("x", "", (8, 8), 3, sha256="0" * 64)
    embedding = Embedding(np.ones(3, np.float32), index=1, t_onset=2.0)
    found = " | ".join(check_sampler(_Broken(spec), embedding))  # type: ignore[arg-type]
    for words in (
        "pictures have shape (4, 4, 3), spec says (8, 8)",
        "not the index, onset and seed",
        "another picture the second time",
        "one too long is taken, expected a refusal",
    ):
        assert words in found
