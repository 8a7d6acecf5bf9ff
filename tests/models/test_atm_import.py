"""Published files of the ATM family come in through `phosphene import`, at toy size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from app.cli import main
from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.folder import load_encoder, load_prior
from models.atm.generation import ADAPTER_FILE, AdapterGenerator
from models.atm.nice import NiceEncoder
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.atm.toy import TEXT_WIDTH, make_toy_pipeline, write_toy_adapter
from models.latent_diffusion import compvis
from models.latent_diffusion.importing import export_vae
from models.latent_diffusion.sdxl import import_clip, import_open_clip, import_unet, tokenizer
from models.multimodal.modalities import ENCODER_KEYS, Modality
from models.stable_diffusion.errors import StableDiffusionError
from models.stable_diffusion.generation import GenerationSettings
from models.stable_diffusion.libraries import quiet_libraries
from models.things_eeg2.montage import CH_NAMES, POSTERIOR
from models.weights import WeightState, check_weights
from tests.models import golden
from tests.models.hostile_pickle import Hostile

N_FEATURES = 24
SIZES = PriorConfig(
    embed_dim=N_FEATURES, cond_dim=N_FEATURES, hidden_dim=(32, 16, 8), time_embed_dim=16
)


def _import(system: str, files: Sequence[Path], out: Path, *more: str) -> int:
    return main(["import", system, *map(str, files), "--out", str(out), *more])


def _encoder(n_channels: int = 63) -> AtmsEncoder:
    torch.manual_seed(0)
    config = AtmsConfig.published()
    sizes = {"n_features": N_FEATURES, "n_channels": n_channels, "feedforward": 32}
    return AtmsEncoder(
        AtmsConfig(**{s: getattr(config, s) for s in config.__slots__} | sizes)
    ).eval()


@pytest.mark.parametrize(("n_channels", "names"), [(63, CH_NAMES), (17, POSTERIOR)])
def test_atm_s(n_channels: int, names: tuple[str, ...], tmp_path: Path) -> None:
    model = _encoder(n_channels)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save(state, tmp_path / "40.pth")
    assert _import("atm", [tmp_path / "40.pth"], tmp_path / "out") == 0
    own, facts, _ = load_encoder(tmp_path / "out" / "encoder")
    assert (facts.ch_names, own.config) == (names, model.config)
    eeg, ids = torch.randn(2, n_channels, 250), torch.tensor([2, 11])
    with torch.inference_mode():
        assert torch.equal(own(eeg, ids), model(eeg, ids))
    assert check_weights(tmp_path / "out").state == WeightState.READY


@pytest.mark.golden
def test_the_golden_state_comes_in_through_the_importer(tmp_path: Path) -> None:
    file = golden.load("atms_encoder")
    torch.save(file.state, tmp_path / "golden.pth")
    assert _import("atm", [tmp_path / "golden.pth"], tmp_path / "out") == 0
    model, _, _ = load_encoder(tmp_path / "out" / "encoder")
    call = next(k.removeprefix("eeg_") for k in file.inputs if k.startswith("eeg_"))
    with torch.inference_mode():
        vectors = model(file.inputs[f"eeg_{call}"], file.inputs[f"subject_ids_{call}"])
    file.check(f"embedding_{call}", vectors)


def test_nice_comes_in_three_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = NiceEncoder(n_features=N_FEATURES).eval()
    parts = {"Enc_eeg": model.enc_eeg.state_dict(), "Proj_eeg": model.proj_eeg.state_dict()}
    square = {"0.weight": torch.eye(8), "1.fn.1.weight": torch.eye(8)}
    files = []
    for name, state in (parts | {"Proj_img": square}).items():
        files.append(tmp_path / f"{name}_cls.pth")
        torch.save({f"module.{key}": value for key, value in state.items()}, files[-1])
    assert _import("atm", files, tmp_path / "out") == 0
    own, facts, _ = load_encoder(tmp_path / "out" / "encoder")
    assert isinstance(own, NiceEncoder)
    assert facts.ch_names == CH_NAMES
    eeg = torch.randn(2, 63, 250)
    with torch.inference_mode():
        assert torch.equal(own(eeg, torch.tensor([1, 2])), model(eeg))


def test_half_of_nice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(NiceEncoder().enc_eeg.state_dict(), tmp_path / "Enc_eeg_cls.pth")
    assert _import("atm", [tmp_path / "Enc_eeg_cls.pth"], tmp_path / "out") == 1
    assert "Proj_eeg is not among the files" in capsys.readouterr().err


def test_a_prior(tmp_path: Path) -> None:
    torch.manual_seed(0)
    prior = DiffusionPriorUNet(SIZES).eval()
    torch.save(prior.state_dict(), tmp_path / "diffusion_prior.pt")
    assert _import("atm", [tmp_path / "diffusion_prior.pt"], tmp_path / "out") == 0
    own, norm = load_prior(tmp_path / "out" / "prior")
    assert norm is None
    x, t = torch.randn(2, N_FEATURES), torch.tensor([3, 900])
    with torch.inference_mode():
        assert torch.equal(own(x, t, x), prior(x, t, x))


def _checkpoint(key: str) -> dict[str, Any]:
    torch.manual_seed(1)
    priors = {m.checkpoint_key: DiffusionPriorUNet(SIZES).state_dict() for m in Modality}
    return {key: _encoder().state_dict(), "epoch": 100, "loss": 0.5} | priors


@pytest.mark.parametrize("key", ENCODER_KEYS)
def test_the_multimodal_checkpoint_gives_six_networks(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = _checkpoint(key)
    torch.save(checkpoint, tmp_path / "epoch_100.pth")
    assert _import("atm-multimodal", [tmp_path / "epoch_100.pth"], tmp_path / "out") == 0
    assert "vectors are brought to 27.5" in capsys.readouterr().err
    for modality in Modality:
        prior, norm = load_prior(tmp_path / "out" / "priors" / modality)
        assert norm == 27.5
        for name, value in prior.state_dict().items():
            assert torch.equal(value, checkpoint[modality.checkpoint_key][name])
    again = tmp_path / "again"
    options = ("--target-norm", "21")
    assert _import("atm-multimodal", [tmp_path / "epoch_100.pth"], again, *options) == 0
    assert load_prior(again / "priors" / "few")[1] == 21
    del checkpoint["superpixel_few_diffusion_state_dict"]
    torch.save(checkpoint, tmp_path / "less.pth")
    assert _import("atm-multimodal", [tmp_path / "less.pth"], tmp_path / "less") == 1
    assert "lacks superpixel_few_diffusion_state_dict" in capsys.readouterr().err


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("caches")
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(6, N_FEATURES, generator=generator)
    text = torch.randn(3, N_FEATURES, generator=generator)
    torch.save(
        {"img_features": image, "text_features": text}, folder / "ViT-H-14_features_train.pt"
    )
    names = ["b_01", "a_02", "a_01"]
    levels = {name: torch.full((1, N_FEATURES), float(i)) for i, name in enumerate(names)}
    torch.save(levels, folder / "training_images_few_slic.pt")
    for place in ("00001_z/b_01.jpg", "00002_a/a_01.jpg", "00002_a/a_02.jpg"):
        (folder / "images" / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / "images" / place)
    return folder


def test_feature_caches_become_arrays(cache: Path, tmp_path: Path) -> None:
    torch.save(_checkpoint(ENCODER_KEYS[0]), tmp_path / "epoch_100.pth")
    files = [tmp_path / "epoch_100.pth", *sorted(cache.glob("*.pt"))]
    options = ("--images", str(cache / "images"))
    assert _import("atm-multimodal", files, tmp_path / "out", *options) == 0
    made = tmp_path / "out" / "features"
    given = torch.load(cache / "ViT-H-14_features_train.pt", weights_only=True)
    np.testing.assert_array_equal(np.load(made / "ViT-H-14.npy"), given["img_features"])
    texts = np.load(made / "ViT-H-14.text.npy")
    np.testing.assert_array_equal(texts[[0, 2, 5]], given["text_features"][[0, 1, 2]])
    # Rows follow the image set's folders, not the names.
    np.testing.assert_array_equal(np.load(made / "superpixel_few.npy")[:, 0], [0, 2, 1])
    norm = given["img_features"].norm(dim=1).mean().item()
    assert load_prior(tmp_path / "out" / "priors" / "image")[1] == pytest.approx(norm, rel=1e-5)


def test_features_without_an_order_or_over_others_are_refused(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _import("atm", [cache / "training_images_few_slic.pt"], tmp_path / "a") == 1
    assert "give --images" in capsys.readouterr().err
    clip = [cache / "ViT-H-14_features_train.pt"]
    assert _import("atm", clip, tmp_path / "b") == 0
    assert _import("atm", clip, tmp_path / "b") == 1
    assert "is there already" in capsys.readouterr().err


def _vocabulary(folder: Path) -> list[Path]:
    """A tokenizer's two files, ordered as CLIP's: `!` first, the special tokens last."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,'"
    tokens = ["!", "!</w>", *letters, *(f"{c}</w>" for c in letters)]
    table = dict(zip([*tokens, "<|startoftext|>", "<|endoftext|>"], range(82), strict=True))
    (folder / "vocab.json").write_text(json.dumps(table))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return [folder / "vocab.json", folder / "merges.txt"]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> StableDiffusionXLPipeline:
    """SDXL as its authors size it, but for widths: one head where the width is 64 or less."""
    quiet_libraries()
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("tokenizer")
    made = make_toy_pipeline(folder / "toy")
    config = dict(made.unet.config) | {
        "attention_head_dim": (1, 1, 1),
        "transformer_layers_per_block": (1, 1, 2),
    }
    made.unet = UNet2DConditionModel.from_config(config).eval()
    made.tokenizer, made.tokenizer_2 = (
        tokenizer(folder / "scratch", n_tokens=82, files=_vocabulary(folder), pad=pad)
        for pad in ("<|endoftext|>", "!")
    )
    made.vae = AutoencoderKL(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.13025,
    ).eval()
    text = {
        "vocab_size": 82,
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 2 * TEXT_WIDTH,
        "num_hidden_layers": 3,
        "num_attention_heads": 1,
        "projection_dim": TEXT_WIDTH,
        "bos_token_id": 80,
        "eos_token_id": 81,
    }
    first = CLIPTextConfig(**text, pad_token_id=81, hidden_act="quick_gelu")
    second = CLIPTextConfig(**text, pad_token_id=0, hidden_act="gelu")
    made.text_encoder = CLIPTextModel(first).eval()
    made.text_encoder_2 = CLIPTextModelWithProjection(second).eval()
    return made


def _open_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A second text encoder's state under OpenCLIP's names."""
    made = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": state["text_projection.weight"].T,
        "logit_scale": torch.tensor(4.6),
    }
    n_layers = 1 + max(int(k.split(".")[2]) for k in state if ".layers." in k)
    names = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for i in range(n_layers):
        ours, theirs = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
        for kind in ("weight", "bias"):
            for own, other in names.items():
                made[f"{theirs}{other}.{kind}"] = state[f"{ours}{own}.{kind}"]
            qkv = [state[f"{ours}self_attn.{q}_proj.{kind}"] for q in "qkv"]
            made[f"{theirs}attn.in_proj_{kind}"] = torch.cat(qkv)
    return made


def _single_file(pipeline: StableDiffusionXLPipeline) -> dict[str, Tensor]:
    """The pipeline as one state under the published names."""
    unet = pipeline.unet
    layout = compvis.UNetLayout(unet.config.layers_per_block, (False, True, True))
    names = compvis.reverse(compvis.unet_names(layout))
    unet_state = compvis.rename(unet.state_dict(), names)
    clip, big = (
        {k.removeprefix("text_model."): v for k, v in m.state_dict().items()}
        for m in (pipeline.text_encoder, pipeline.text_encoder_2)
    )
    state = {f"model.diffusion_model.{k}": v for k, v in unet_state.items()}
    state |= {f"first_stage_model.{k}": v for k, v in export_vae(pipeline.vae).items()}
    state |= {f"conditioner.embedders.0.transformer.text_model.{k}": v for k, v in clip.items()}
    state |= {f"conditioner.embedders.1.model.{k}": v for k, v in _open_clip(big).items()}
    ids = "conditioner.embedders.0.transformer.text_model.embeddings.position_ids"
    return {k: v.contiguous().clone() for k, v in state.items()} | {ids: torch.arange(77)[None]}


def test_the_names_of_the_single_file_are_those_that_diffusers_knows(
    pipeline: StableDiffusionXLPipeline,
) -> None:
    state = _single_file(pipeline)
    config = dict(pipeline.unet.config)
    made = single_file_utils.convert_ldm_unet_checkpoint(dict(state), config)
    expected = pipeline.unet.state_dict()
    assert set(made) == set(expected)
    assert all(torch.equal(made[name], value) for name, value in expected.items())
    big = single_file_utils.convert_open_clip_checkpoint(
        pipeline.text_encoder_2, state, prefix="conditioner.embedders.1.model."
    )
    own = pipeline.text_encoder_2.state_dict()
    assert {k.removeprefix("text_model.") for k in big} >= {
        k.removeprefix("text_model.") for k in own
    }


def _draw(folder: Path, prompt: str = "") -> np.ndarray:
    settings = GenerationSettings(num_inference_steps=2, guidance_scale=0.0, size=64)
    generator = AdapterGenerator(folder, settings=settings)
    generator.set_scales(1.0)
    return generator.draw([torch.ones(N_FEATURES)], seed=3, prompt=prompt)


def test_a_single_file_sdxl_and_its_adapter_draw_as_the_folder_does(
    pipeline: StableDiffusionXLPipeline, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    folder, single, adapter = tmp_path / "folder", tmp_path / "sd_xl.ckpt", tmp_path / "a.bin"
    pipeline.save_pretrained(folder / "generator")
    write_toy_adapter(folder / ADAPTER_FILE, pipeline.unet, n_features=N_FEATURES)
    torch.save({"state_dict": _single_file(pipeline), "global_step": 3}, single)
    _save_adapter_bin(folder / ADAPTER_FILE, adapter)
    out = tmp_path / "out"
    assert _import("atm", [single, adapter, *_vocabulary(tmp_path)], out) == 0
    for prompt in ("", "a cat"):
        np.testing.assert_array_equal(_draw(out, prompt), _draw(folder, prompt))
    index = json.loads((out / "generator" / "model_index.json").read_text())
    assert index["scheduler"] == ["diffusers", "EulerAncestralDiscreteScheduler"]
    assert index["_class_name"] == "StableDiffusionXLPipeline"


def _save_adapter_bin(source: Path, target: Path) -> None:
    nested: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, value in load_file(source).items():
        part, _, rest = name.partition(".")
        nested[part][rest] = value
    torch.save(nested, target)


def test_without_a_tokenizer_only_the_empty_prompt_is_drawn(
    pipeline: StableDiffusionXLPipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(4)
    # In half precision, as it is published: drawn in single precision all the same.
    state = {k: v.half() if v.is_floating_point() else v for k, v in _single_file(pipeline).items()}
    save_file(state, tmp_path / "sd_xl_base_1.0.safetensors")
    write_toy_adapter(tmp_path / "toy.safetensors", pipeline.unet, n_features=N_FEATURES)
    adapter = {k: v.half() for k, v in load_file(tmp_path / "toy.safetensors").items()}
    save_file(adapter, tmp_path / "toy.safetensors")
    files = [tmp_path / "sd_xl_base_1.0.safetensors", tmp_path / "toy.safetensors"]
    assert _import("atm-multimodal", files, tmp_path / "out") == 0
    assert "only the empty prompt can be used" in capsys.readouterr().err
    assert _draw(tmp_path / "out").shape == (64, 64, 3)
    with pytest.raises(StableDiffusionError, match=r"vocab\.json"):
        _draw(tmp_path / "out", prompt="a cat")
    index = json.loads((tmp_path / "out" / "generator" / "model_index.json").read_text())
    assert index["scheduler"][1] == diffusers.EulerDiscreteScheduler.__name__


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"weight": torch.ones(2)}, "is no file of the ATM family, expected an ATM-S"),
        ({"image_proj": {"latents": torch.ones(2)}, "ip_adapter": {}}, "of another kind"),
        ({"input_layer.0.weight": torch.ones(2, 2)}, "expected a diffusion prior"),
        ({"encoder.enc_embedding.x": torch.ones(2)}, "expected ATM-S"),
    ],
)
def test_other_files_are_one_sentence(
    content: dict[str, Any], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(content, tmp_path / "other.pt")
    assert _import("atm", [tmp_path / "other.pt"], tmp_path / "out") == 1
    errors = capsys.readouterr().err.splitlines()
    assert sentence in errors[-1]


def test_a_file_that_holds_code_is_refused_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"img_features": Hostile(tmp_path / "ran")}, tmp_path / "hostile.pt")
    assert _import("atm", [tmp_path / "hostile.pt"], tmp_path / "out") == 1
    assert "could run code" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_an_option_of_another_system_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _import("dreamdiffusion", [tmp_path / "x"], tmp_path, "--images", str(tmp_path)) == 1
    assert "--images is not an option of dreamdiffusion" in capsys.readouterr().err


def test_sdxl_at_its_full_size_is_read_from_shapes_alone() -> None:
    """The published sizes, on tensors without storage: counts are those of the published model."""
    published = {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel(**published)
    names = compvis.unet_names(compvis.UNetLayout(2, (False, True, True)))
    state = compvis.rename(unet.state_dict(), compvis.reverse(names))
    assert state["middle_block.1.transformer_blocks.9.attn2.to_k.weight"].shape == (1280, 2048)
    assert state["label_emb.0.0.weight"].shape == (1280, 2816)
    assert state["output_blocks.2.2.conv.weight"].shape == (1280, 1280, 3, 3)
    made = import_unet(state, pooled_width=1280)
    for name, value in published.items():
        found = made.config[name]
        assert (tuple(found) if isinstance(found, list) else found) == value, name
    assert sum(p.numel() for p in made.parameters()) == 2_567_463_684
    adapters = [n for n in made.attn_processors if n.endswith("attn2.processor")]
    assert len(adapters) == 70  # as many as the published adapter has layers


@pytest.mark.parametrize(
    ("kind", "sizes", "n_parameters"),
    [
        (CLIPTextModel, (768, 3072, 12, 12), 123_060_480),
        (CLIPTextModelWithProjection, (1280, 5120, 32, 20), 694_659_840),
    ],
)
def test_text_encoders_at_their_full_size(
    kind: Any, sizes: tuple[int, int, int, int], n_parameters: int
) -> None:
    width, inner, n_layers, n_heads = sizes
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        vocab_size=49408,
        projection_dim=width,
    )
    with torch.device("meta"):
        model = kind(config)
    state = {k.removeprefix("text_model."): v for k, v in model.state_dict().items()}
    is_first = kind is CLIPTextModel
    made = import_clip(state) if is_first else import_open_clip(_open_clip(state))
    assert made.config.num_attention_heads == n_heads
    assert made.config.hidden_act == ("quick_gelu" if is_first else "gelu")
    assert made.config.eos_token_id == 49407
    assert sum(p.numel() for p in made.parameters()) == n_parameters
