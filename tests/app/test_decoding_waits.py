"""Epochs that come while the decoder loads: they wait, and what did not come to it is said so."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from app.runtime.decoder import Decoder
from app.runtime.decoding import Conclusion, Decoding, Past
from app.runtime.folder import SessionFolder
from app.runtime.messages import Answer, Job, Ready
from configs import DecoderConfig, SessionConfig, list_presets, load_preset
from models.api import EncoderSpec, InputSpec
from models.retrieval.making import make_store
from models.retrieval.store import VectorStore
from pipeline.errors import PhospheneError
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Info, Marker, Outcome, Verdict

INFO = Info(ch_names=("v0", "v1"), ch_types=("fmri", "fmri"), sfreq=0.5)


class StillLoading(Decoder):
    """Never gets ready: nothing leaves its queue."""

    def start(self) -> None:
        """Load for ever."""


class Ones(Decoder):
    """Is loaded already, and answers with ones of space `s`."""

    ready = Ready(
        EncoderSpec("ones", InputSpec(0.5), 0.0, 0.0, None, None, 4, space="s"), "", "", {}
    )

    def start(self) -> None:
        """Load nothing."""

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Be ready at once."""
        return True

    def submit(self, job: Job, *, policy: str = "") -> bool:
        """Answer at once."""
        answer = Answer(job.index, np.ones(4, np.float32), np.zeros((2, 2, 3), np.uint8))
        self._on_answer(job, answer, 0.0)
        return True


def searching(store: VectorStore, out: Path, ended: list[Conclusion], said: list[str]) -> Decoding:
    return Decoding(
        SessionConfig(),
        folder=SessionFolder(out),
        candidates=load_gallery(),
        store=store,
        clock=lambda: 0.0,
        is_live=False,
        past=Past(),
        conclude=ended.append,
        note=lambda _event: None,
        warn=said.append,
        make_decoder=Ones,
    )


def store_of(folder: Path, width: int) -> VectorStore:
    table = np.eye(width, dtype=np.float32) + 0.1
    return make_store(table, [f"row {k}" for k in range(width)], folder, name="n", space="s")


def test_a_store_of_another_width_is_refused_at_the_start(tmp_path: Path) -> None:
    decoding = searching(store_of(tmp_path / "s", 5), tmp_path / "out", [], [])
    with pytest.raises(PhospheneError, match="vectors of 5 numbers, expected the decoder's 4"):
        decoding.require(threading.Event())
    assert not searching(store_of(tmp_path / "t", 4), tmp_path / "out2", [], []).misfit


def test_a_store_that_is_damaged_later_costs_no_picture(tmp_path: Path) -> None:
    store = store_of(tmp_path / "s", 4)
    ended: list[Conclusion] = []
    said: list[str] = []
    decoding = searching(store, tmp_path / "out", ended, said)
    decoding.take(verdict(0), arrival=None, pulled=0.0, filtered=0.0)
    store.vectors = store.vectors * np.float16(80)
    for index in (1, 2):
        decoding.take(verdict(index), arrival=None, pulled=0.0, filtered=0.0)
    assert [each.result.outcome for each in ended] == [Outcome.DECODED] * 3
    assert [len(each.result.retrieved) for each in ended] == [4, 0, 0]
    assert sum("Nothing is retrieved any more" in each for each in said) == 1


def verdict(index: int) -> Verdict:
    epoch = Epoch(np.zeros((2, 1), np.float32), 0.0, 0.0, 2.0 * index, "cat", INFO, index=index)
    return Verdict(Marker(index, 2.0 * index, "cat"), Outcome.DECODED, epoch)


def test_epochs_wait_while_the_decoder_loads(tmp_path: Path) -> None:
    ended: list[Conclusion] = []
    decoding = Decoding(
        SessionConfig(decoder=DecoderConfig(queue_size=2)),
        folder=SessionFolder(tmp_path / "out"),
        candidates=load_gallery(),
        clock=lambda: 0.0,
        is_live=True,
        past=Past(),
        conclude=ended.append,
        note=lambda _event: None,
        warn=lambda _sentence: None,
        make_decoder=StillLoading,
    )
    decoding.start()
    for index in range(3):
        decoding.take(verdict(index), arrival=0.0, pulled=0.0, filtered=0.0)
    assert [each.result.index for each in ended] == [2]
    assert decoding.n_under_way == 2
    decoding.close()
    assert sorted(each.result.index for each in ended) == [0, 1, 2]
    for each in ended:
        assert each.result.outcome is Outcome.OVERLOAD
        assert each.result.reason == "the decoder was loading"


def test_scans_wait_as_long_as_a_decoder_may_load() -> None:
    """Responses come seconds apart, so that all that came meanwhile can still be drawn."""
    scans = [load_preset(name) for name in list_presets()]
    scans = [config for config in scans if config.source.type == "fMRI"]
    assert len(scans) == 8
    assert all(config.decoder.queue_size == 64 for config in scans)
    assert all(config.decoder.max_wait == 120.0 for config in scans)
