"""The benchmark of the live path measures what it says (small here: no figure is asserted)."""

from __future__ import annotations

from app.benchmarks.live import run_live_bench


def test_a_small_run_agrees_with_scipy() -> None:
    result = run_live_bench(duration=8.0, n_channels=4, sfreq=250.0, chunk_ms=40.0, n_peer_chunks=0)
    assert result["samples_out"] == 2000
    assert result["n_epochs"] >= 3
    assert result["max_abs_difference_uv"] < 1e-4
    assert result["x_real_time"] > 1
