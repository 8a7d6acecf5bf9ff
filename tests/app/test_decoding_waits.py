"""Epochs that come while the decoder loads: they wait, and what did not come to it is said so."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.runtime.decoder import Decoder
from app.runtime.decoding import Conclusion, Decoding, Past
from app.runtime.folder import SessionFolder
from configs import DecoderConfig, SessionConfig, list_presets, load_preset
from pipeline.gallery import load_gallery
from pipeline.values import Epoch, Info, Marker, Outcome, Verdict

INFO = Info(ch_names=("v0", "v1"), ch_types=("fmri", "fmri"), sfreq=0.5)


class StillLoading(Decoder):
    """Never gets ready: nothing leaves its queue."""

    def start(self) -> None:
        """Load for ever."""


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
