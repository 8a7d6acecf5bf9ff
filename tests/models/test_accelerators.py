"""The one place where a device's name becomes a device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from app.cli import main
from configs import DecoderConfig
from models.accelerators import choose_device
from models.embedded.live import load_sampler
from pipeline.errors import ConfigurationError


def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == choose_device("") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def test_a_device_that_is_not_there_is_named() -> None:
    for absent in ("cuda:99", "gpu"):
        with pytest.raises(ConfigurationError, match=f"device '{absent}' cannot be used"):
            choose_device(absent)


def test_a_session_draws_where_its_settings_say() -> None:
    assert load_sampler(DecoderConfig()).spec.device == "cpu"
    with pytest.raises(ConfigurationError, match="cuda:99"):
        load_sampler(DecoderConfig(device="cuda:99"))


def test_a_wrong_device_ends_a_run_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--headless", "--replay", "none.xdf", "--device", "gpu"]
    assert main([*words, "--out", str(tmp_path / "out")]) != 0
    said = capsys.readouterr().err.strip()
    assert "decoder.device = 'gpu'" in said
    assert len(said.splitlines()) == 1
