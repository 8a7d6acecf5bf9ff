"""Published EEG encoders: their layouts, their numbers, and heads on their features."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from configs import DecoderConfig
from models.adapters.data import CalibrationData
from models.adapters.errors import AdapterError
from models.adapters.files import load_adapter, save_adapter
from models.adapters.fit import fit_adapter
from models.api import ReadsFeatures
from models.checkpoints import CheckpointError
from models.conformance import check_encoder
from models.foundation.biot import Biot
from models.foundation.cbramod import CBraMod
from models.foundation.eegpt import Eegpt
from models.foundation.encoder import NETWORKS, FoundationEncoder
from models.foundation.importing import import_reve
from models.foundation.labram import Labram
from models.foundation.network import EegNetwork
from models.foundation.reve import POSITIONS, SITE_NAMES, Reve
from models.foundation.steegformer import SteegFormer
from models.registry import find_entry, find_system, open_encoder
from pipeline.errors import InfoError

ENSEMBLE = "models.adapters.methods.ensemble"
SITES = ("PO7", "PO8", "Oz", "Cz")
PAIRED = ("P7", "O1", "P8", "O2")
TABLE = (*SITES, *PAIRED)
NAMES = tuple(NETWORKS)


def toy(name: str) -> EegNetwork:
    """A small network of a kind, its numbers waves that anybody can make again."""
    network: EegNetwork
    if name == "labram":
        network = Labram(width=20, n_blocks=2, n_heads=2, hidden=24, n_filters=4, n_times=16)
    elif name == "cbramod":
        network = CBraMod(patch=200, n_filters=5, model=40, width=12, hidden=24, n_layers=2)
    elif name == "steegformer":
        network = SteegFormer(patch=16, width=24, n_blocks=2, hidden=48, n_places=145)
    elif name == "biot":
        network = Biot(patch=200, width=16, n_blocks=2, hidden=64, n_sites=16)
    elif name == "eegpt":
        network = Eegpt(patch=64, embed=16, n_blocks=2, hidden=64, n_summaries=2, n_sites=62)
    else:
        names = torch.tensor(list("\n".join(TABLE).encode()), dtype=torch.uint8)
        network = Reve(patch=200, width=24, n_blocks=2, inner=128, hidden=63, names=names)
    floats = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
    for k, (_, value) in enumerate(sorted(floats.items())):
        wave = torch.sin(0.37 * torch.arange(value.numel(), dtype=torch.float64) + k)
        value.copy_(0.3 * wave.reshape(value.shape))
    return network


def as_braindecode(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The layout in which braindecode keeps them, with a head that is not read."""
    rules = {
        "labram": {
            r"pos_embed": "position_embedding",
            r"time_embed": "temporal_embedding",
            r"patch_embed\.(.+)": r"patch_embed.temporal_conv.\1",
            r"(.+)\.mlp\.fc1\.(.+)": r"\1.mlp.0.\2",
            r"(.+)\.mlp\.fc2\.(.+)": r"\1.mlp.2.\2",
        },
        "cbramod": {},
        "steegformer": {
            r"enc_channel_emd\..+": "channel_pos.embedding.weight",
            r"blocks\.(\d)\.norm1\.(.+)": r"encoder.\1.0.fn.0.\2",
            r"blocks\.(\d)\.norm2\.(.+)": r"encoder.\1.1.fn.0.\2",
            r"blocks\.(\d)\.attn\.proj\.(.+)": r"encoder.\1.0.fn.1.projection.\2",
            r"blocks\.(\d)\.mlp\.fc1\.(.+)": r"encoder.\1.1.fn.1.0.\2",
            r"blocks\.(\d)\.mlp\.fc2\.(.+)": r"encoder.\1.1.fn.1.3.\2",
        },
        "biot": {
            r"(projection.+)": r"encoder.patch_embedding.\1",
            r"(channel_tokens.+)": r"encoder.\1",
            r"blocks\.(\d)\.norm1\.(.+)": r"encoder.transformer.layers.layers.\1.0.norm.\2",
            r"blocks\.(\d)\.norm2\.(.+)": r"encoder.transformer.layers.layers.\1.1.norm.\2",
            r"blocks\.(\d)\.(to_.+)": r"encoder.transformer.layers.layers.\1.0.fn.\2",
            r"blocks\.(\d)\.(w.+)": r"encoder.transformer.layers.layers.\1.1.fn.fn.\2",
        },
        "eegpt": {
            r"patch_embed\.(.+)": r"target_encoder.patch_embed.proj.\1",
            r"(.+)": r"target_encoder.\1",
        },
        "reve": {
            r"to_patch_embedding\.(.+)": r"to_patch_embedding.0.\1",
            r"blocks\.(\d)\.((?:norm|to_qkv|to_out)\.weight)": r"transformer.layers.\1.0.\2",
            r"blocks\.(\d)\.norm2\.(.+)": r"transformer.layers.\1.1.net.0.\2",
            r"blocks\.(\d)\.inner\.(.+)": r"transformer.layers.\1.1.net.1.\2",
            r"blocks\.(\d)\.outer\.(.+)": r"transformer.layers.\1.1.net.3.\2",
        },
    }[name]
    state = {key: value for key, value in state.items() if key not in (POSITIONS, SITE_NAMES)}
    found = {}
    for key, value in state.items():
        match = re.fullmatch(r"blocks\.(\d)\.attn\.qkv\.(.+)", key)
        if match and name == "steegformer":
            for part, third in zip(("queries", "keys", "values"), value.chunk(3), strict=True):
                found[f"encoder.{match[1]}.0.fn.1.{part}.{match[2]}"] = third.clone()
            continue
        new = next((m.expand(b) for a, b in rules.items() if (m := re.fullmatch(a, key))), key)
        found[new] = value
    return found | {"final_layer.weight": torch.ones(2, 3)}


def as_published(name: str, state: dict[str, Tensor]) -> dict[str, object]:
    """The layout of its authors, with what they keep beside the encoder."""
    if name == "cbramod":
        mask = {"patch_embedding.mask_encoding": torch.zeros(40)}
        return {f"module.{key}": value for key, value in (state | mask).items()}
    if name in ("biot", "reve"):  # an encoder's bare state
        inner = as_braindecode(name, state)
        return {key.removeprefix("encoder."): value for key, value in inner.items()}
    if name == "eegpt":
        return {"state_dict": as_braindecode(name, state), "epoch": 7}
    prefix = "student." if name == "labram" else ""
    inner = {f"{prefix}{key}": value for key, value in state.items()}
    return {"model": inner | {"decoder_embed.weight": torch.ones(3, 3)}, "epoch": 7}


def run_import(name: str, file: Path, out: Path) -> FoundationEncoder:
    entry = find_system(name).descriptor.importer
    assert entry is not None
    files = [file]
    if name == "reve":
        where = toy(name).state_dict()[POSITIONS].tolist()
        files.append(file.with_name("positions.json"))
        files[1].write_text(json.dumps(dict(zip(TABLE, where, strict=True))))
    find_entry({name: entry}, name, what="system")(files, out)
    encoder = open_encoder(DecoderConfig(system=name, weights=str(out)))
    assert isinstance(encoder, FoundationEncoder)
    return encoder


# First numbers of the fourth token, by the networks of braindecode 1.8.1 with the same weights.
BRAINDECODE = {
    "labram": (0.046733, -0.255778, -0.420279, -0.439863),
    "cbramod": (-2.00689, 1.193759, -0.342364, -1.700064),
    "steegformer": (0.213458, 0.029723, 0.450145, 0.334021),
    "biot": (-27.215508, -21.431999, -14.890032, -0.294912),
    "eegpt": (0.218815, 0.432344, 0.200457, 0.249692),
    "reve": (0.194592, 0.931795, 0.071715, -1.452192),
}


def signals(network: EegNetwork) -> Tensor:
    """Two windows of four channels, two patches long."""
    n_times = network.patch + network.step
    return torch.sin(0.1 * torch.arange(8 * n_times, dtype=torch.float64)).reshape(2, 4, n_times)


def sites_of(name: str) -> tuple[str, ...]:
    return PAIRED if name == "biot" else SITES


def places_of(network: EegNetwork) -> Tensor:
    if network.is_bipolar:
        return torch.tensor([3, 7, 0, 1])
    known = [site.upper() for site in network.sites]
    return torch.tensor([known.index(n.upper()) if known else 0 for n in SITES])


@pytest.mark.parametrize("name", NAMES)
def test_both_layouts_give_what_braindecode_gives(name: str, tmp_path: Path) -> None:
    network = toy(name)
    state = network.state_dict()
    save_file(as_braindecode(name, state), tmp_path / "model.safetensors")
    torch.save(as_published(name, state), tmp_path / "published.pth")
    first = run_import(name, tmp_path / "model.safetensors", tmp_path / "a")
    second = run_import(name, tmp_path / "published.pth", tmp_path / "b")
    assert first.spec.n_features == network.width
    patches = signals(network).float().unfold(2, network.patch, network.step)
    with torch.no_grad():
        found = first.network(patches, places_of(network))
    n_tokens = 2 if name == "eegpt" else 8
    assert found.shape == (2, n_tokens, network.width)
    token = found[1, min(3, n_tokens - 1), :4]
    np.testing.assert_allclose(token, BRAINDECODE[name], rtol=2e-4, atol=2e-5)
    windows = 20 * np.random.default_rng(0).standard_normal((3, 4, 154))
    sites = sites_of(name)
    features = first.features(windows, sites, 256.0)
    np.testing.assert_array_equal(features, second.features(windows, sites, 256.0))
    alone = first.features(windows[1:2], sites, 256.0)
    np.testing.assert_allclose(alone[0], features[1], rtol=1e-4, atol=1e-6)
    assert list(check_encoder(first)) == []
    assert isinstance(first, ReadsFeatures)
    with pytest.raises(InfoError, match=r"knows 0 of what A17, A18 give.*--picks"):
        first.check_montage(("A17", "A18"))


def test_what_is_no_such_checkpoint_is_refused(tmp_path: Path) -> None:
    save_file(toy("cbramod").state_dict(), tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match="another network's"):
        run_import("labram", tmp_path / "c.safetensors", tmp_path / "out")
    state = toy("labram").state_dict()
    save_file(
        {k: v for k, v in state.items() if "blocks.1.attn" not in k}, tmp_path / "l.safetensors"
    )
    with pytest.raises(CheckpointError, match=r"lacks .*blocks\.1\.attn"):
        run_import("labram", tmp_path / "l.safetensors", tmp_path / "out")
    torch.save({"model": object()}, tmp_path / "code.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        run_import("labram", tmp_path / "code.pth", tmp_path / "out")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(CheckpointError, match="pth: a folder, expected a checkpoint"):
        run_import("labram", tmp_path / "folder.pth", tmp_path / "out")
    (tmp_path / "empty.pth").touch()
    with pytest.raises(CheckpointError, match="no checkpoint of torch"):
        run_import("labram", tmp_path / "empty.pth", tmp_path / "out")
    # An old protocol, which torch warns of before it refuses: a warning would fail this test.
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"model": object()}, protocol=4))
    with pytest.raises(CheckpointError, match="could run code"):
        run_import("labram", tmp_path / "old.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_cap_of_few_pairs_is_refused(tmp_path: Path) -> None:
    save_file(as_braindecode("biot", toy("biot").state_dict()), tmp_path / "b.safetensors")
    encoder = run_import("biot", tmp_path / "b.safetensors", tmp_path / "out")
    encoder.check_montage(("PO7", "T6", "T5", "O1", "O2"))  # P7-O1 and P8-O2
    with pytest.raises(
        InfoError, match=r"biot knows 1 of what .* pairs of neighbours among them .FP1-F7, "
    ):
        encoder.check_montage(("PO7", "PO8", "P7", "O1", "Oz", "Pz"))
    # Only the difference counts: what all electrodes share is not seen.
    windows = 20 * np.random.default_rng(0).standard_normal((2, 4, 154))
    shared = windows + 50 * np.sin(np.arange(154) / 9)
    found = [encoder.features(each, PAIRED, 256.0) for each in (windows, shared)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('{"Oz": [0, 1]}', "is no table of electrodes"),
        ('{"Oz": [0, 1, null]}', "cannot be read as a table"),
        ("[1, 2]", "cannot be read as a table"),
        ("{}", "is no table of electrodes"),
    ],
)
def test_a_table_of_electrodes_that_is_none_is_refused(
    table: str, said: str, tmp_path: Path
) -> None:
    save_file(as_braindecode("reve", toy("reve").state_dict()), tmp_path / "r.safetensors")
    (tmp_path / "positions.json").write_text(table)
    files = [tmp_path / "r.safetensors", tmp_path / "positions.json"]
    with pytest.raises(CheckpointError, match=said):
        import_reve(files, tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"reve is two files, .*r\.safetensors given"):
        import_reve(files[:1], tmp_path / "out")


def trials(n: int = 80) -> CalibrationData:
    """Two classes that differ in a wave over the back of the head."""
    rng = np.random.default_rng(3)
    is_face = rng.random(n) < 0.5
    epochs = 8 * rng.standard_normal((n, 4, 128))
    epochs[is_face, :3, 40:70] += 8 * np.sin(np.linspace(0, np.pi, 30))
    return CalibrationData(
        epochs=epochs.astype(np.float32),
        labels=tuple("face" if each else "house" for each in is_face),
        onsets=np.arange(n) * 1.0,
        channels=SITES,
        sfreq=128.0,
        tmin=-0.2,
    )


def installed(home: Path, value: float = 1.0) -> None:
    """Import the toy as the user's LaBraM."""
    state = toy("labram").state_dict()
    save_file(state | {"cls_token": value * state["cls_token"]}, home / "toy.safetensors")
    run_import("labram", home / "toy.safetensors", home / "phosphene/systems/labram")


def test_a_head_on_its_features_is_offered_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(f"{ENSEMBLE}.choose", lambda logits, *_: np.full(len(logits), 0.25))
    with pytest.raises(CheckpointError, match="missing, expected the pretrained encoder"):
        fit_adapter(trials(), methods=["labram"], with_curve=False)
    installed(tmp_path)
    data = trials()
    adapter = fit_adapter(data, methods=["labram"], with_curve=False)
    alone = {each.title: each.accuracy for each in adapter.report.methods}
    assert alone["head on labram"] > 0.6
    (reference,) = adapter.manifest.event_classes.encoders
    assert (reference.system, reference.n_features) == ("labram", 20)
    saved = save_adapter(adapter, tmp_path / "adapter")
    again = load_adapter(tmp_path / "adapter")
    epoch = data.epoch(0)
    assert again.encode(epoch).classes == pytest.approx(saved.encode(epoch).classes, rel=1e-6)
    installed(tmp_path, value=2.0)
    with pytest.raises(AdapterError, match=r"fitted to labram \w+\.\.\., the one installed is"):
        load_adapter(tmp_path / "adapter")


def test_an_encoder_without_weight_need_not_be_there_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(f"{ENSEMBLE}.choose", lambda logits, *_: np.eye(len(logits))[0])
    installed(tmp_path)
    adapter = fit_adapter(trials(), methods=["labram"], with_curve=False)
    assert not adapter.manifest.event_classes.encoders
    save_adapter(adapter, tmp_path / "adapter")
    (tmp_path / "phosphene/systems/labram/model.safetensors").unlink()
    assert load_adapter(tmp_path / "adapter").encode(trials().epoch(0)).classes
