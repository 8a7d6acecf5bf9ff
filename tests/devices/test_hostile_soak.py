"""The soak in small: the same checks as `phosphene bench soak`, and they can fail."""

from __future__ import annotations

import numpy as np
import pytest

from app.benchmarks.soak import run_soak_bench
from devices.hostile import HostileSettings, HostileSource, Witness, untouched
from pipeline.live import LivePath
from pipeline.values import Packet, StreamRole


def test_a_small_soak_finds_nothing() -> None:
    result = run_soak_bench(minutes=4.0, n_starts=0, seed=5)
    for row in result["rows"]:
        assert row["met"], row
        assert row["unaccounted"] == row["mislabelled"] == 0
        assert row["markers"] > 150


@pytest.mark.parametrize("harm", ["labels", "doubled", "shifted"])
def test_the_witness_sees_what_is_wrong(harm: str) -> None:
    source = HostileSource(HostileSettings(duration=20.0))
    path = LivePath(untouched(source), source.streams)
    witness, errors = Witness(source, path), []
    while items := source.read(0.0):
        for item in items:
            fed = item
            if isinstance(item, Packet) and item.role is StreamRole.EEG and source.now > 1010:
                samples, stamps = np.array(item.samples), np.array(item.timestamps)
                if harm == "labels":
                    samples[:, [0, 1]] = samples[:, [1, 0]]
                elif harm == "doubled":
                    samples[:-1, -1] = samples[1:, -1]
                else:
                    stamps += 0.1
                fed = Packet(StreamRole.EEG, samples, stamps, item.received_at)
            for verdict in path.feed(fed):
                if verdict.epoch is not None:
                    errors.append(abs(witness.onset_error(verdict.epoch)))
        witness.look()
    if harm == "shifted":
        assert max(errors) > 20
    else:
        assert witness.n_wrong > 1000
