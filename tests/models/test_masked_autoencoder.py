"""The masked autoencoder computes what the published one computed, and has its sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from configs.published import MaskedAutoencoderConfig, MaskedTrainingConfig
from models.checkpoints import CheckpointError
from models.masked_autoencoder import (
    MaskedAutoencoder,
    import_autoencoder,
    import_encoder,
    resize_positions,
    sinusoidal_positions,
)
from models.masked_autoencoder.schedule import decay_groups, learning_rate, make_optimizer
from tests.models import golden

each_modality = pytest.mark.parametrize("modality", ["eeg", "fmri"])
_LENGTH = {"eeg": "time_len", "fmri": "num_voxels"}


def _autoencoder(file: golden.Golden, modality: str) -> MaskedAutoencoder:
    args: dict[str, Any] = file.arguments["args"]
    model = import_autoencoder(
        file.state, num_heads=args["num_heads"], decoder_num_heads=args["decoder_num_heads"]
    )
    assert model.config.n_times == args[_LENGTH[modality]]
    assert model.config.mlp_ratio == args["mlp_ratio"]
    return model


@pytest.mark.golden
@each_modality
def test_forward(modality: str) -> None:
    file = golden.load(f"{modality}_mae")
    model = _autoencoder(file, modality).eval()
    signal, noise = file.inputs[modality], file.inputs["mask_noise"]
    ratio = file.arguments["mask_ratio"]
    with torch.no_grad():
        made = model(signal, noise, mask_ratio=ratio)
        latent = model.encode(signal, noise, mask_ratio=ratio)
        whole = model(signal, noise, mask_ratio=0.0)
    file.check("loss", made.loss)
    file.check("pred", made.prediction)
    file.check("mask", made.mask)
    file.check("encoder_latent", latent.tokens)
    file.check("ids_restore", latent.ids_restore)
    file.check("patchified", model.patchify(signal))
    given = {"unpatchified": model.patchify(signal), "pred_as_signal": made.prediction}
    for name, patches in given.items():
        again = patches.reshape(len(signal), -1, model.config.n_channels).transpose(1, 2)
        file.check(name, again)
    if "loss_mask_ratio_0" in file.outputs:  # recorded for EEG alone
        file.check("loss_mask_ratio_0", whole.loss)
        file.check("pred_mask_ratio_0", whole.prediction)
    file.assert_all_checked()


@pytest.mark.golden
@each_modality
def test_two_steps_of_training(modality: str) -> None:
    file = golden.load(f"{modality}_mae_train_step")
    model = _autoencoder(file, modality).train()
    config = MaskedTrainingConfig(lr=file.arguments["lr"])
    optimizer = make_optimizer(model, config)
    for step, suffix in enumerate(("", "_2")):
        optimizer.zero_grad()
        made = model(
            file.inputs[f"{modality}{suffix}"],
            file.inputs[f"mask_noise{suffix}"],
            mask_ratio=file.arguments["mask_ratio"],
        )
        made.loss.backward()
        file.check(f"loss_{step}", made.loss)
        if step == 0:
            for name, parameter in model.named_parameters():
                if f"grad_first_step/{name}" in file.outputs:
                    file.check(f"grad_first_step/{name}", parameter.grad)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        file.check(f"grad_norm_{step}", norm)
        optimizer.step()
    after = model.state_dict()
    checked = [k for k in file.outputs if k.startswith("after_two_steps/")]
    assert checked
    for key in checked:
        file.check(key, after[key.split("/", 1)[1]])


@pytest.mark.golden
@each_modality
def test_encoder(modality: str) -> None:
    file = golden.load(f"{modality}_encoder")
    encoder = import_encoder(file.state, num_heads=file.arguments["args"]["num_heads"]).eval()
    signal = file.inputs[modality]
    with torch.no_grad():
        file.check("tokens", encoder(signal))
        file.check("tokens_from_2d", encoder(signal[0]))
        file.check("tokens_global_pool", encoder.pooled(signal))


@pytest.mark.golden
@each_modality
def test_encoder_of_an_autoencoders_checkpoint(modality: str) -> None:
    file = golden.load(f"{modality}_encoder_from_mae_checkpoint")
    arguments = file.arguments
    encoder = import_encoder(
        file.state, num_heads=arguments["args"]["num_heads"], n_times=arguments["new_len"]
    ).eval()
    with torch.no_grad():
        file.check("tokens", encoder(file.inputs[modality]))
    file.check("pos_embed", encoder.pos_embed)
    decayed, kept = decay_groups(_autoencoder(file, modality))
    assert sorted(decayed) == sorted(file.names("weight_decay_names"))
    assert sorted(kept) == sorted(file.names("no_weight_decay_names"))
    config = MaskedTrainingConfig(passes=arguments["epochs"], warmup_passes=arguments["warm"])
    n_steps = arguments["spe"]
    rates = [
        learning_rate(each + step / n_steps, config)
        for each in range(arguments["epochs"])
        for step in range(n_steps)
    ]
    file.check("learning_rates", torch.tensor(rates, dtype=torch.float64))


def _narrow() -> dict[str, torch.Tensor]:
    """A state whose decoder is too narrow for the 16 heads of the published one."""
    config = MaskedAutoencoderConfig(
        n_channels=4,
        n_times=16,
        embed_dim=12,
        depth=1,
        num_heads=3,
        decoder_embed_dim=6,
        decoder_depth=1,
        decoder_num_heads=2,
    )
    return MaskedAutoencoder(config).state_dict()


def test_the_encoder_alone_asks_nothing_of_the_decoder() -> None:
    state = _narrow()
    encoder = import_encoder(state, num_heads=3)
    assert encoder(torch.zeros(1, 4, 16)).shape == (1, 4, 12)
    # Nor of half a decoder.
    del state["decoder_blocks.0.mlp.fc1.weight"]
    import_encoder(state, num_heads=3)


def test_sizes_that_do_not_fit_are_one_sentence() -> None:
    state = _narrow()
    with pytest.raises(CheckpointError, match=r"embed_dim \(12\) must be a multiple of 5\.$"):
        import_encoder(state, num_heads=5)
    with pytest.raises(CheckpointError, match=r"n_times \(18\) must be a multiple of 4\.$"):
        import_encoder(state, num_heads=3, n_times=18)
    with pytest.raises(CheckpointError, match=r"decoder_embed_dim \(6\) must be a multiple of 4"):
        import_autoencoder(state, num_heads=3, decoder_num_heads=4)
    del state["decoder_embed.weight"]
    with pytest.raises(CheckpointError, match="has no decoder"):
        import_autoencoder(state, num_heads=3, decoder_num_heads=2)


@pytest.mark.golden
def test_positions() -> None:
    file = golden.load("mae_positions")
    for dim, n_tokens in file.arguments["tables"]:
        file.check(f"table_{dim}_{n_tokens}", sinusoidal_positions(n_tokens, dim))
    given = file.inputs["checkpoint_pos_embed"]
    file.check("interpolated_pos_embed", resize_positions(given, file.arguments["new"]))


@pytest.mark.parametrize(
    ("sizes", "encoder", "decoder"),
    [
        ({}, 151_769_088, 13_412_864),
        ({"n_channels": 1, "n_times": 4656, "patch_size": 16}, 151_261_184, 13_158_416),
    ],
)
def test_published_sizes(sizes: dict[str, int], encoder: int, decoder: int) -> None:
    with torch.device("meta"):
        model = MaskedAutoencoder(MaskedAutoencoderConfig.model_validate(sizes))
    counts = {True: 0, False: 0}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            counts[name.startswith(("decoder_", "mask_token"))] += parameter.numel()
    assert counts == {False: encoder, True: decoder}


def test_shapes_of_the_published_size() -> None:
    config = MaskedAutoencoderConfig(depth=1, decoder_depth=1)
    model = MaskedAutoencoder(config)
    signal, noise = torch.randn(2, 128, 512), torch.rand(2, 128)
    made = model(signal, noise, mask_ratio=0.75)
    assert made.prediction.shape == (2, 128, 512)
    assert made.mask.sum(dim=1).tolist() == [96, 96]
    patches = model.patchify(signal)
    assert torch.equal(patches[1, 7, 128 * 3 + 5], signal[1, 5, 4 * 7 + 3])


def test_a_foreign_state_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"expected one of a masked autoencoder"):
        import_encoder({"weight": torch.zeros(1)})
