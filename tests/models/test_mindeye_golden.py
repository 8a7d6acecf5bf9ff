"""MindEye computes what its original computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models.checkpoints import below
from models.mindeye import losses
from models.mindeye.importing import import_backbone, import_low_level, import_prior, prior_name
from models.mindeye.prior import TokenPrior
from models.mindeye.prior_diffusion import by_cls_norm, levels, noised, prior_loss, prior_states
from models.mindeye.reconstruction import SCALING_FACTOR, Drawing, best_of
from models.mindeye.repetitions import chosen
from models.mindeye.schedule import OneCycle, decays
from models.mindeye.targets import ClipTokens, clip_normalised
from models.sampling.denoisers import Estimate
from models.sampling.solvers import ddpm, last
from tests.models.golden import Golden, load

pytestmark = pytest.mark.golden


@torch.inference_mode()
def test_backbone_matches() -> None:
    file = load("mindeye_backbone")
    model = import_backbone(file.state, width=file.arguments["args"]["clip_size"])
    made = model.eval()(file.inputs["voxels"])
    file.check("tokens_flat", made.tokens.flatten(1))
    file.check("projected", made.projected)
    file.assert_all_checked()


@torch.inference_mode()
def test_backbone_of_single_vectors_matches() -> None:
    file = load("mindeye_backbone_bn")
    args = file.arguments["args"]
    model = import_backbone(file.state, width=args["out_dim"], act_first=args["act_first"])
    made = model.eval()(file.inputs["voxels"])
    file.check("out", made.tokens.flatten(1))
    file.assert_all_checked()


@torch.inference_mode()
def test_prior_matches() -> None:
    file = load("mindeye_prior")
    x, sizes = file.inputs, file.arguments["net"]
    prior = import_prior(below(file.state, "net."), num_heads=sizes["heads"]).eval()
    n_steps = file.arguments["timesteps"]
    prior.config = prior.config.model_copy(update={"n_steps": n_steps})
    brain, noisy, times = x["brain_tokens"], x["noisy"], x["net_times"]
    file.check("net_time_embedding", prior.time_token(times))
    file.check("net_pred", prior(noisy, times, brain))
    keeps = {"keeps_brain": x["brain_keep_mask"], "keeps_image": x["image_keep_mask"]}
    file.check("net_pred_dropped", prior(noisy, times, brain, **keeps))
    none = dict.fromkeys(keeps, torch.zeros(len(noisy), dtype=torch.bool))
    file.check("net_pred_all_dropped", prior(noisy, times, brain, **none))
    # The original's layers were recorded on tokens without positions.
    tokens = torch.cat([brain, prior.time_token(times), noisy], dim=1)
    bias = prior.bias(tokens.shape[1])
    file.check("relative_position_bias", bias)
    layer = prior.layers[0]
    file.check("first_attention", layer.attention(tokens, bias))
    file.check("first_feedforward", layer.feedforward(tokens))
    for layer in prior.layers:
        tokens = layer(tokens, bias)
    file.check("transformer_out", prior.proj_out(prior.norm_out(tokens)))
    _check_diffusion(file, prior)
    backbone = import_backbone(below(file.state, "voxel2clip."), width=sizes["dim"]).eval()
    voxel_tokens = backbone(x["voxels"]).tokens
    file.check("voxel_tokens_flat", voxel_tokens.flatten(1))
    given = {"target": x["image_embed"], "noise": x["noise"], "timesteps": x["times"]}
    loss, predicted = prior_loss(prior, brain=brain, **given, **keeps)
    for name in ("p_losses", "forward"):
        file.check(f"{name}_loss", loss)
        file.check(f"{name}_pred", predicted * prior.scale)
    loss, _ = prior_loss(prior, brain=voxel_tokens, **given, **keeps)
    file.check("forward_loss_from_voxels", loss)
    file.assert_all_checked()


def _check_diffusion(file: Golden, prior: TokenPrior) -> None:
    x, n_steps = file.inputs, file.arguments["timesteps"]
    scaled, times = x["image_embed"] * prior.scale, x["times"]
    noisy = noised(scaled, x["noise"], times, n_steps)
    file.check("q_sample", noisy)
    steps = [_step(c, y, int(t), n_steps) for c, y, t in zip(scaled, noisy, times, strict=True)]
    file.check("posterior_mean", torch.stack([mean for mean, _ in steps]))
    file.check("posterior_log_variance", torch.stack([spread for _, spread in steps]))
    for name, scale in (("sample", 1.0), ("sample_cond_scale_3", 3.0)):
        noise = iter(x["sample_noises"])
        states = prior_states(prior, x["brain_tokens"], noise=noise, guidance_scale=scale)
        sample = last(states)
        file.check(name, sample)
        if scale == 1.0:
            file.check("sample_cls_normalised", by_cls_norm(sample))


def _step(clean: Tensor, x: Tensor, at: int, n_steps: int) -> tuple[Tensor, Tensor]:
    """Mean and logarithm of the variance (1, 1) of one step of the sampler from `at` on."""
    rows = levels(n_steps)
    here, there = rows[n_steps - 1 - at : n_steps + 1 - at]
    pair = [here, there, there]

    def one(clean: Tensor, x: Tensor, noise: float) -> Tensor:
        draws = iter([torch.full_like(x, noise)] * 2)
        return next(ddpm(lambda x, _: Estimate(clean, x), x, pair, draws))

    spread = one(torch.zeros_like(x), torch.zeros_like(x), 1.0)[:1, :1]
    return one(clean, x, 0.0), 2 * spread.log()


def test_losses_match() -> None:
    file = load("mindeye_losses")
    x, arguments = file.inputs, file.arguments
    mix = losses.make_mix(x["perm"], x["beta_draws"], x["select_draws"])
    file.check("mixco_betas", mix.share)
    file.check("mixco_select", x["select_draws"] <= losses.MIX_CHANCE)
    file.check("mixco_voxels", mix(x["voxels"]))
    file.check("mixco_voxels_3d", mix(x["voxels_3d"]))
    file.check("mixco_clip_target", mix(x["targs"]))
    preds, targs, other = x["preds"], x["targs"], x["targs_aug"]
    preds.requires_grad_()
    for temperature in arguments["temps"]:
        file.check(
            f"mixco_one_way_{temperature}",
            losses.mixco(preds, targs, temperature, mix=mix, both_ways=False),
        )
        both = losses.mixco(preds, targs, temperature, mix=mix)
        file.check(f"bimixco_{temperature}", both)
        file.check(f"nce_plain_{temperature}", losses.info_nce(preds, targs, temperature))
        soft = losses.soft_clip(preds, targs, temperature)
        file.check(f"soft_clip_{temperature}", soft)
        maps = losses.soft_contrast(x["tok_s"], x["tok_t"], x["tok_a"], temperature)
        file.check(f"soft_cont_{temperature}", maps)
    file.check("soft_clip_default_temp", losses.soft_clip(preds, targs, 0.125))
    own = losses.make_mix(x["perm_fixed_point"], x["beta_draws"], x["select_draws"])
    temperature = arguments["temps"][0]
    file.check("bimixco_fixed_point", losses.mixco(preds, targs, temperature, mix=own))
    for name in (k for k in file.outputs if k.startswith("grad_")):
        kind = losses.soft_clip if "soft" in name else losses.mixco
        options = {} if "soft" in name else {"mix": mix}
        loss = kind(preds, targs, temperature, **options)
        file.check(name, torch.autograd.grad(loss, preds)[0])
    for start, end, n in arguments["anneal"]:
        file.check(f"cosine_anneal_{start}_{end}_{n}", losses.cosine_anneal(start, end, n))
    assert other.shape == targs.shape
    file.assert_all_checked()


@torch.inference_mode()
def test_low_level_matches() -> None:
    file = load("mindeye_lowlevel")
    made = import_low_level(file.state)(file.inputs["voxels"])
    file.check("latent", made.latents)
    file.check("latent_with_maps", made.latents)
    file.check("maps", made.maps)
    file.assert_all_checked()


@torch.inference_mode()
def test_clip_targets_match() -> None:
    file = load("mindeye_clip_targets")
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**file.arguments["vision"]))
    known = tower.state_dict()
    moved = {k if k in known else k.removeprefix("vision_model."): v for k, v in file.state.items()}
    tower.load_state_dict(moved)
    clip, images = ClipTokens(tower), file.inputs["images"]
    file.check("preprocessed", clip.prepare(images)[..., ::7, ::7])
    height, width = file.outputs["channel_normalised"].shape[2:]
    file.check("channel_normalised", clip_normalised(images)[..., :height, :width])
    file.check("tokens", clip(images, is_normed=False))
    file.check("tokens_clamped", clip(images, is_normed=False, clamped=True))
    file.check("tokens_normalised", clip(images))
    file.check("image_embed", clip.vectors(images))
    file.assert_all_checked()


def test_training_helpers_match() -> None:
    file = load("mindeye_training_helpers")
    x, arguments = file.inputs, file.arguments
    # The branch draws that the original's were fixed to.
    for name, chance in (("combine", 0.4), ("mean", 0.7), ("single", 0.95)):
        made = chosen(x["voxels"], chance=chance, weights=x["weights"], pick=x["pick"])
        file.check(f"voxels_{name}", made)
    flat = x["voxels"][:, 0]
    file.check("voxels_2d", chosen(flat, chance=0.4, weights=x["weights"], pick=x["pick"]))
    steps = arguments["num_train"] // arguments["batch"]
    cycle = OneCycle(arguments["max_lr"], arguments["epochs"], steps)
    at = range(arguments["epochs"] * steps)
    file.check("learning_rates", torch.tensor([cycle.rate(s) for s in at], dtype=torch.float64))
    file.check("beta1", torch.tensor([cycle.beta1(s) for s in at], dtype=torch.float64))
    for key, expected in (("weight_decay_001_names", True), ("no_weight_decay_names", False)):
        names = [n for n in file.names(key) if not n.endswith("rotary_emb.freqs")]
        ours = [prior_name(n.removeprefix("net.")) for n in names]
        assert {decays(name) for name in ours} == {expected}
    file.assert_all_checked()


@torch.inference_mode()
def test_reconstruction_matches() -> None:
    file = load("mindeye_reconstruction")
    x, arguments = file.inputs, file.arguments
    width, n_tokens, n_steps = arguments["W"], arguments["N"], arguments["steps"]
    brain = (x["voxel"] @ x["brain_map"]).view(1, n_tokens, width)
    projected = brain @ x["projector_map"]
    tokens = by_cls_norm(brain + 0.3 * x["prior_noise"], eps=1e-6)

    def unet(latents: Tensor, time: Tensor, context: Tensor) -> Tensor:
        # The original's context holds 77 empty text tokens in front, which this toy averages.
        mean = context.sum(dim=1) / (77 + n_tokens)
        mixed = torch.einsum("ij,bjhw->bihw", x["unet_channel_map"], latents)
        pulled = (mean @ x["unet_context_map"])[:, :, None, None]
        return torch.tanh(0.7 * mixed + 0.2 * time / 1000 + pulled)

    blurry = x["blurry"].repeat_interleave(64, 2).repeat_interleave(64, 3)
    pooled = functional.avg_pool2d(clip_normalised(blurry), 8)
    encoded = torch.einsum("ij,bjhw->bihw", x["vae_encode_map"], pooled) * SCALING_FACTOR
    far = torch.linspace(-1, 1, 48 * n_tokens * width).view(48, -1).sin()
    for name, start, strength in (("blurry", encoded, 0.85), ("noise", None, 1.0)):
        noise = x["start_noise"]
        drawing = Drawing(num_inference_steps=n_steps, guidance_scale=3.5, strength=strength)
        path = list(drawing.states(unet, tokens, noise=noise, start=start))
        file.check(f"from_{name}_timesteps", torch.from_numpy(drawing.times(begins=False)))
        file.check(f"from_{name}_steps_run", len(path))
        file.check(f"from_{name}_latents_first", path[0][..., ::8, ::8])
        file.check(f"from_{name}_latents_last", path[-1])
        decoded = torch.einsum("ij,bjhw->bihw", x["vae_decode_map"], path[-1] / SCALING_FACTOR)
        pictures = (decoded / 2 + 0.5).clamp(0, 1)
        file.check(f"from_{name}_recons", pictures[..., ::4, ::4])
        seen = functional.avg_pool2d(pictures, pictures.shape[-1] // 4).flatten(1) @ far
        file.check(f"from_{name}_best", [best_of(seen, projected)])
    file.assert_all_checked()
