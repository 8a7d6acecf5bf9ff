"""The latent diffusion model computes what the published one computed, through our importer."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from diffusers import AutoencoderKL, Transformer2DModel, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional

from configs.published import ConditionConfig
from models.checkpoints import CheckpointError, below
from models.latent_diffusion import importing
from models.latent_diffusion.conditioning import ConditionStage, alignment_loss
from models.latent_diffusion.model import LatentDiffusion
from models.sampling.denoisers import Level, Network, epsilon
from models.sampling.schedules import MINDVIS, SD15, alphas_cumprod, compvis_times, vp_levels
from models.sampling.solvers import ddim, last, plms
from tests.models import golden


@pytest.mark.golden
@pytest.mark.parametrize("name", ["unet_sd15_style", "unet_label2img_style"])
def test_unet(name: str) -> None:
    file = golden.load(name)
    arguments = file.arguments["args"]
    unet = importing.import_unet(file.state, num_heads=arguments["num_heads"])
    condition = importing.import_time_condition(file.state)
    x, t, context = (file.inputs[key] for key in ("x", "t", "context"))
    with torch.no_grad():
        file.check("timestep_embedding", unet.get_time_embed(x, t))
        file.check("time_embed", unet.time_embedding(unet.get_time_embed(x, t)))
        file.check("time_condition", condition(context))
        made = unet(x, t, encoder_hidden_states=context, class_labels=condition(context)).sample
        file.check("eps", made)
        file.check("attention_out", _alone(unet, file, context))


def _alone(unet: UNet2DConditionModel, file: golden.Golden, context: Tensor) -> Tensor:
    """Output of the recorded spatial transformer: of those that fit, the one that is closest."""
    given, expected = file.outputs["attention_in"], file.outputs["attention_out"]
    made = [
        module(given, encoder_hidden_states=context).sample
        for module in unet.modules()
        if isinstance(module, Transformer2DModel) and module.in_channels == given.shape[1]
    ]
    # The input is not checked against anything: it was recorded beside the output.
    file.checked.add("attention_in")
    return min(made, key=lambda each: float((each - expected).abs().max()))


@pytest.mark.golden
def test_autoencoder() -> None:
    file = golden.load("autoencoder_kl")
    vae = importing.import_vae(file.state)
    with torch.no_grad():
        posterior = vae.encode(file.inputs["image"]).latent_dist
        file.check("moments", posterior.parameters)
        file.check("mean", posterior.mean)
        file.check("mode", posterior.mode())
        file.check("sample", posterior.mean + posterior.std * file.inputs["posterior_noise"])
        file.check("decoded", vae.decode(file.inputs["latent"]).sample)
        file.check("reconstruction", vae.decode(posterior.mode()).sample)


@pytest.mark.golden
def test_vq_autoencoder() -> None:
    file = golden.load("autoencoder_vq")
    vae = importing.import_vae(file.state)
    given = file.inputs["latent"]
    with torch.no_grad():
        file.check("encoded", vae.encode(file.inputs["image"]).latents)
        quantised, _, (_, _, indices) = vae.quantize(given)
        file.check("quantized", quantised)
        file.check("indices", indices)
        file.check("decoded", vae.decode(given).sample)
        file.check("decoded_not_quantized", vae.decode(given, force_not_quantize=True).sample)
    file.assert_all_checked()
    assert vae.config.scaling_factor == 1
    again = importing.export_vae(vae)
    assert sorted(again) == sorted(file.state)
    assert all(torch.equal(again[name], value) for name, value in file.state.items())


@pytest.mark.parametrize("levels", [(False, False), (False, True), (True, True)])
def test_an_autoencoder_may_attend_in_any_level(levels: tuple[bool, ...]) -> None:
    """Under the published names, and with the published formula of attention."""
    torch.manual_seed(0)
    state = _compvis_vae(levels)
    vae = importing.import_vae(state)
    down = vae.encoder.down_blocks
    assert [hasattr(block, "attentions") for block in down] == list(levels)
    up = vae.decoder.up_blocks
    assert [hasattr(block, "attentions") for block in up] == list(reversed(levels))
    again = importing.export_vae(vae)
    assert sorted(again) == sorted(state)
    assert all(torch.equal(again[name], value) for name, value in state.items())
    x = torch.randn(2, 64, 4, 4)
    for level in (level for level, attends in enumerate(levels) if attends):
        with torch.no_grad():
            made = down[level].attentions[0](x)
        expected = _published_attention(x, below(state, f"encoder.down.{level}.attn.0."))
        torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


def _compvis_vae(levels: tuple[bool, ...]) -> dict[str, Tensor]:
    """A state of CompVis' `AutoencoderKL` with one block a level, 64 wide."""
    state: dict[str, Tensor] = {}

    def add(name: str, *shape: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(shape), torch.randn(shape[0])

    def add_resnet(name: str) -> None:
        for part in ("norm1", "norm2"):
            add(f"{name}.{part}", 64)
        for part in ("conv1", "conv2"):
            add(f"{name}.{part}", 64, 64, 3, 3)

    def add_attention(name: str) -> None:
        add(f"{name}.norm", 64)
        for part in ("q", "k", "v", "proj_out"):
            add(f"{name}.{part}", 64, 64, 1, 1)

    sides = (("encoder", "down", "downsample", 1), ("decoder", "up", "upsample", 2))
    for side, way, resampler, n_layers in sides:
        add(f"{side}.conv_in", 64, 3 if side == "encoder" else 4, 3, 3)
        add(f"{side}.norm_out", 64)
        add(f"{side}.conv_out", 8 if side == "encoder" else 3, 64, 3, 3)
        for block in ("block_1", "block_2"):
            add_resnet(f"{side}.mid.{block}")
        add_attention(f"{side}.mid.attn_1")
        for level, attends in enumerate(levels):
            for layer in range(n_layers):
                add_resnet(f"{side}.{way}.{level}.block.{layer}")
                if attends:
                    add_attention(f"{side}.{way}.{level}.attn.{layer}")
        resampled = range(len(levels) - 1) if side == "encoder" else range(1, len(levels))
        for level in resampled:
            add(f"{side}.{way}.{level}.{resampler}.conv", 64, 64, 3, 3)
    add("quant_conv", 8, 8, 1, 1)
    add("post_quant_conv", 4, 4, 1, 1)
    return state


def _published_attention(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    """`AttnBlock` of CompVis: one head over all places, added to its input."""
    h = functional.group_norm(x, 32, state["norm.weight"], state["norm.bias"], eps=1e-6)
    q, k, v = (
        functional.conv2d(h, state[f"{n}.weight"], state[f"{n}.bias"]).flatten(2) for n in "qkv"
    )
    weights = torch.softmax(q.transpose(1, 2) @ k * x.shape[1] ** -0.5, dim=2)
    seen = (v @ weights.transpose(1, 2)).reshape(x.shape)
    return x + functional.conv2d(seen, state["proj_out.weight"], state["proj_out.bias"])


@pytest.mark.golden
def test_fmri_condition_stage() -> None:
    file = golden.load("fmri_cond_stage")
    heads = file.arguments["mae"]["num_heads"]
    stage = importing.import_condition_stage(file.state, num_heads=heads)
    assert stage.mapping is None
    with torch.no_grad():
        context, tokens = stage(file.inputs["fmri"])
    file.check("tokens", tokens)
    file.check("context", context)
    file.assert_all_checked()


@pytest.mark.golden
def test_condition_stage() -> None:
    file = golden.load("eeg_cond_stage")
    heads = file.arguments["mae"]["num_heads"]
    stage = importing.import_condition_stage(file.state, num_heads=heads)
    assert stage.mapping is not None
    assert stage.cls_net is not None
    with torch.no_grad():
        context, tokens = stage(file.inputs["eeg"])
        vectors = stage.mapping(file.inputs["clip_tokens"])
        file.check("tokens", tokens)
        file.check("channel_mapped", stage.channel_mapper(tokens))
        file.check("context", context)
        file.check("clip_head", vectors)
        file.check("clip_loss", alignment_loss(vectors, file.inputs["image_embeds"]))
        file.check("class_logits", stage.cls_net(file.inputs["clip_tokens"]))


each_modality = pytest.mark.parametrize("modality", ["eeg", "fmri"])


def _betas(file: golden.Golden) -> dict[str, float]:
    given = file.arguments["ldm"]
    return {"beta_start": given["linear_start"], "beta_end": given["linear_end"]}


def _complete(file: golden.Golden) -> LatentDiffusion:
    return importing.import_latent_diffusion(
        file.state,
        num_heads=file.arguments["unet"]["params"]["num_heads"],
        encoder_heads=file.arguments["mae"]["num_heads"],
        betas=_betas(file),
    )


def _published_name(ours: str, model: LatentDiffusion) -> str:
    """Name under which the original state holds one of our parameters."""
    part, rest = ours.split(".", 1)
    if part == "condition_stage":
        return f"cond_stage_model.{rest}"
    if part == "time_condition":
        return f"model.diffusion_model.{importing.CONDITION}{rest}"
    marked = {k: torch.full((1,), float(i)) for i, k in enumerate(model.unet.state_dict())}
    renamed = importing.rename_unet(marked, model.unet)
    index = float(list(marked).index(rest))
    return "model.diffusion_model." + next(k for k, v in renamed.items() if v.item() == index)


@pytest.mark.golden
@each_modality
def test_complete_model(modality: str) -> None:
    file = golden.load(f"{modality}_ldm_complete")
    model = _complete(file)
    given = file.inputs
    trained = model.select_trained()
    image = given["image"].permute(0, 3, 1, 2)
    latents = model.encode_image(image, given.get("posterior_noise", torch.zeros(())))
    file.check("latent", latents)
    model.scheduler.alphas_cumprod = model.scheduler.alphas_cumprod.to(latents.dtype)
    noisy = model.scheduler.add_noise(latents, given["noise"], given["t"])
    file.check("noisy_latent", noisy)
    context, _ = model.condition_stage(given[modality])
    file.check("context", context)
    eps = model.predict_noise(noisy, given["t"], context)
    file.check("eps", eps)
    losses = model.losses(
        latents=latents,
        signal=given[modality],
        timesteps=given["t"],
        noise=given["noise"],
        image_embeds=given.get("image_embeds"),
    )
    file.check("loss", losses.total)
    file.check("loss_simple", losses.noise)
    if "image_embeds" in given:
        file.check("loss_total_recorded", losses.total)
        file.check("loss_clip", losses.alignment)
    each = (eps - given["noise"]).square().mean(dim=(1, 2, 3))
    weights = _variational_weights(model.scheduler.alphas_cumprod)
    file.check("loss_vlb", (weights[given["t"]] * each).mean())
    losses.total.backward()
    _check_gradients(file, model, trained)
    with torch.no_grad():
        denoise = epsilon(lambda x, t: model.predict_noise(x, t, context))
        made = last(plms(denoise, given["x_T"], _levels(file.arguments["S"], _betas(file))))
        file.check("plms_sample", made)
        decoded = model.vae.decode(model.unscaled(made)).sample
    file.check("decoded", decoded)
    file.check("image_0_1", ((decoded + 1) / 2).clamp(0, 1))
    file.assert_all_checked()


def _check_gradients(file: golden.Golden, model: LatentDiffusion, trained: list[str]) -> None:
    parameters = dict(model.named_parameters())
    published = {_published_name(name, model): parameters[name] for name in trained}
    for key in (k.removeprefix("grad/") for k in file.outputs if k.startswith("grad/")):
        file.check(f"grad/{key}", published[key].grad)
    # Ours is theirs less what their name rule caught by accident, and the unused tokens.
    accidents = ("first_stage_model.", "cond_stage_model.mae.pos_embed")
    unused = ("cond_stage_model.mae.cls_token", "cond_stage_model.mae.mask_token")
    expected = [n for n in file.names("trained_parameter_names") if not n.startswith(accidents)]
    assert sorted(published) == sorted(set(expected) - set(unused))
    assert len(trained) == len(set(trained))


@pytest.mark.golden
@each_modality
def test_schedule_buffers_follow_from_the_betas(modality: str) -> None:
    file = golden.load(f"{modality}_ldm_complete")
    table = alphas_cumprod(**_betas(file), scaled=True)
    assert torch.allclose(table, file.state["alphas_cumprod"], atol=1e-6)


@pytest.mark.golden
@each_modality
def test_states_go_back_to_the_published_names(modality: str) -> None:
    file = golden.load(f"{modality}_ldm_complete")
    state = importing.export_latent_diffusion(_complete(file))
    names = [n for n in file.state if "." in n]
    assert sorted(state) == sorted(names)
    for name in names:
        if not name.endswith(("cls_token", "mask_token")):
            assert torch.equal(state[name], file.state[name]), name


def _levels(steps: int, betas: dict[str, float]) -> list[Level]:
    table = alphas_cumprod(**betas, scaled=True)
    return vp_levels(table, compvis_times(steps), last=table[0], device=None)


@pytest.mark.golden
@pytest.mark.parametrize(("prefix", "betas"), [("sd15", SD15), ("mindvis", MINDVIS)])
def test_samplers(prefix: str, betas: dict[str, float]) -> None:
    file = golden.load("plms_sampler")
    denoise, x = epsilon(_toy_noise(file.inputs)), file.inputs["x_T"]
    table = alphas_cumprod(**betas, scaled=True)
    file.check(f"{prefix}_alphas_cumprod", table)
    for steps in file.arguments["steps"]:
        key, levels = f"{prefix}_plms{steps}", _levels(steps, betas)
        file.check(f"{key}_timesteps", torch.stack([level.time for level in levels[:-1]]))
        xs = [x, *plms(denoise, x, levels)]
        file.check(f"{key}_x0", xs[-1])
        file.check(f"{key}_xs", torch.stack(xs[1:]))
        # Predicted image of each step, from the two points on its line.
        origins = [
            _origin(start.double(), end.double(), here.alpha_bar.double(), there.alpha_bar.double())
            for (start, end), (here, there) in zip(pairwise(xs), pairwise(levels), strict=True)
        ]
        file.check(f"{key}_pred_x0s", torch.stack(origins).float())
        file.check(f"{prefix}_ddim{steps}_x0", last(ddim(denoise, x, levels)))


def _toy_noise(given: dict[str, Tensor]) -> Network:
    bias = given["c"].mean(dim=1) @ given["C"]

    def predict(x: Tensor, t: Tensor) -> Tensor:
        mixed = torch.einsum("ij,njhw->nihw", given["A"], x)
        added = (t.float() / 1000) * given["bias_t"]
        return torch.tanh(mixed + added[None, :, None, None] + bias[:, :, None, None])

    return predict


def _origin(start: Tensor, end: Tensor, now: Tensor, then: Tensor) -> Tensor:
    """Predicted image of one step, from the two points on its line."""
    now_noise, then_noise = (1 - now).sqrt(), (1 - then).sqrt()
    return (end * now_noise - start * then_noise) / (
        then.sqrt() * now_noise - now.sqrt() * then_noise
    )


def _variational_weights(table: Tensor) -> Tensor:
    """Weight of each timestep's squared error in the variational bound.

    beta^2 / (2 posterior_variance alpha (1 - alpha_cumprod)), the first taken from the second,
    in float64 (Ho et al., arXiv 2006.11239, eq. 12).
    """
    products = table.double()
    before = torch.cat([torch.ones(1, dtype=torch.float64), products[:-1]])
    alphas = products / before
    betas = 1 - alphas
    posterior = betas * (1 - before) / (1 - products)
    weights = betas**2 / (2 * posterior * alphas * (1 - products))
    weights[0] = weights[1]
    return weights.float()


def test_published_sizes_of_the_mappers() -> None:
    with torch.device("meta"):
        stage = ConditionStage(
            torch.nn.Identity(), n_tokens=128, embed_dim=1024, config=ConditionConfig()
        )
    counts = {
        name: sum(p.numel() for p in getattr(stage, name).parameters())
        for name in ("channel_mapper", "dim_mapper")
    }
    assert counts == {"channel_mapper": 13_261, "dim_mapper": 787_200}


def test_an_unconditioned_checkpoint_is_refused() -> None:
    with pytest.raises(CheckpointError, match="has no U-Net"):
        importing.import_unet({"weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="was not fine-tuned on brain"):
        importing.import_time_condition({})


def test_stable_diffusion_15_at_full_size() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64,
            cross_attention_dim=768,
            attention_head_dim=8,
            class_embed_type="identity",
        )
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
        state = importing.rename_unet(unet.state_dict(), unet)
        assert sum(v.numel() for v in state.values()) == 859_520_964
        assert {"input_blocks.11.0.in_layers.0.weight", "output_blocks.2.1.conv.weight"} <= {*state}
        assert state["output_blocks.5.2.conv.weight"].shape == (1280, 1280, 3, 3)
        again = importing.import_unet(state)
        assert {k: v.shape for k, v in again.state_dict().items()} == {
            k: v.shape for k, v in unet.state_dict().items()
        }
        first_stage = importing.export_vae(vae)
        assert first_stage["decoder.up.3.upsample.conv.weight"].shape == (512, 512, 3, 3)
        assert importing.import_vae(first_stage).config.block_out_channels == (128, 256, 512, 512)
