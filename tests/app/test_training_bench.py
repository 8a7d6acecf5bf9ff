"""`phosphene bench training`: the peer computes the same function, and both take their turns."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from app.benchmarks import training
from app.benchmarks.training_peers import Atms, MaskedAutoencoder
from app.cli import main
from configs.published import MaskedAutoencoderConfig
from models.atm.encoder import AtmsEncoder
from models.masked_autoencoder import MaskedAutoencoder as OurAutoencoder

TINY = {
    **{"embed_dim": 16, "depth": 2, "num_heads": 2},
    **{"decoder_embed_dim": 8, "decoder_depth": 1, "decoder_num_heads": 2},
}
OUR_NAMES = {
    "value_embedding": "encoder.enc_embedding.value_embedding",
    "subject_embedding": "encoder.enc_embedding.subject_embedding.subject_embedding",
    "layer": "encoder.encoder.attn_layers.0",
    "norm": "encoder.encoder.norm",
    "tsconv": "enc_eeg.0.tsconv",
    "projection": "enc_eeg.0.projection.0",
    "proj1": "proj_eeg.0",
    "proj2": "proj_eeg.1.fn",
    "proj_norm": "proj_eeg.2",
    "logit_scale": "logit_scale",
}


def test_the_peer_of_stage_a_finds_our_loss() -> None:
    torch.manual_seed(0)
    sizes = MaskedAutoencoderConfig(n_channels=4, n_times=64, **TINY)
    ours = OurAutoencoder(sizes)
    ours.initialise()
    peer = MaskedAutoencoder(sizes.model_dump())
    peer.load_state_dict(ours.state_dict())
    signal, noise = torch.randn(3, 4, 64), torch.rand(3, 16)
    expected = ours(signal, noise).loss
    torch.testing.assert_close(peer(signal, 0.75, noise), expected)


def test_the_peer_of_atms_makes_our_vectors() -> None:
    torch.manual_seed(0)
    ours, peer = AtmsEncoder().eval(), Atms(63, 250, 1024).eval()
    state = ours.state_dict()
    for name, value in peer.state_dict().items():
        first, _, rest = name.partition(".")
        if name != "pe":
            value.copy_(state[OUR_NAMES[first] + ("." + rest if rest else "")])
    eeg, ids = torch.randn(2, 63, 250), torch.tensor([0, 3])
    with torch.no_grad():
        torch.testing.assert_close(peer(eeg, ids), ours(eeg, ids), rtol=1e-4, atol=1e-4)


def test_both_take_their_turns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"n_channels": 4, "n_times": 64, **TINY}
    settings = {"batch_size": 4, "passes": 10}
    table: dict[str, Any] = {"model": model, "training": settings}
    cases = (
        training.Case("a", "dreamdiffusion", "a", table, 2),
        training.Case("s", "atm", "encoder", {"training": settings}, 2),
    )
    small = {"cases": cases, "device": "cpu", "n_files": 6, "n_pictures": 8}
    monkeypatch.setattr(training.run_training_bench, "__kwdefaults__", small)
    assert main(["bench", "training", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["benchmarks"]["training"]
    assert report["device"] == "cpu"
    for row in report["rows"]:
        assert row["ratio"] > 0
        assert row["steps"] == 2
        assert row["ours"].endswith("steps/s")
    assert [row["precision"] for row in report["rows"]][1] == "no"
