"""ATM-S, NICE and the diffusion prior compute what their originals compute."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from models.atm.encoder import AtmsConfig, AtmsEncoder
from models.atm.losses import clip_loss
from models.atm.nice import NiceEncoder, from_published
from models.atm.prior import DiffusionPriorUNet, PriorConfig
from models.atm.prior_sampling import prior_states
from models.atm.stages import PriorLoss, prior_rate
from models.sampling.schedules import leading_times
from models.sampling.solvers import last
from research.comparison.retrieval import k_way_retrieval, published_loss, retrieval_loss
from tests.models.golden import Golden, load


def _prior(file: Golden) -> DiffusionPriorUNet:
    prior = DiffusionPriorUNet(PriorConfig(**file.arguments["args"]))
    prior.load_state_dict(file.state)
    return prior.eval()


@pytest.mark.golden
@torch.inference_mode()
def test_encoder_matches() -> None:
    file = load("atms_encoder")
    n_subject_layers = sum(k.startswith("subject_wise_linear") for k in file.state) // 2
    model = AtmsEncoder(AtmsConfig.published(n_subject_layers=n_subject_layers)).eval()
    model.load_state_dict(file.state)
    calls = sorted(k.removeprefix("eeg_") for k in file.inputs if k.startswith("eeg_"))
    for call in calls:
        eeg, ids = file.inputs[f"eeg_{call}"], file.inputs[f"subject_ids_{call}"]
        tokens = model.tokens(eeg, ids)
        file.check(f"tokens_{call}", tokens)
        if f"conv_features_{call}" in file.outputs:
            file.check(f"conv_features_{call}", model.convolve(tokens))
        file.check(f"embedding_{call}", model(eeg, ids))
    file.assert_all_checked()


@pytest.mark.golden
@torch.inference_mode()
def test_nice_matches() -> None:
    file = load("nice_encoder")
    model = NiceEncoder(n_features=file.arguments["proj"]).eval()
    model.load_state_dict(from_published(file.state))
    eeg = file.inputs["eeg"].squeeze(1)
    vectors, images = model(eeg), file.inputs["image_features"]
    file.check("features", model.enc_eeg(eeg))
    file.check("embedding", vectors)
    file.check("image_projected", images)
    unit = functional.normalize(vectors, dim=-1)
    scale = model.logit_scale.exp()
    file.check("loss", clip_loss(unit, functional.normalize(images, dim=-1), scale))
    # As published: only the EEG side is normalised here, the factor is 100.
    ranking = (100 * unit @ file.inputs["centers"].T).softmax(dim=-1)
    file.check("test_similarity", ranking)
    file.check("test_top5", ranking.topk(5).indices)
    file.assert_all_checked()


@pytest.mark.golden
def test_losses_match() -> None:
    file = load("atms_losses")
    x, scale = file.inputs, file.inputs["logit_scale"]
    file.check("clip_img", clip_loss(x["eeg"], x["img_unit"], scale))
    file.check("clip_txt", clip_loss(x["eeg"], x["txt_unit"], scale))
    file.check("clip_img_unnormalised", clip_loss(x["eeg"], x["img"], scale))
    file.check("mse", torch.nn.functional.mse_loss(x["eeg"], x["img"]))
    file.check("retrieval_loss", retrieval_loss(x["eeg"], x["img_unit"], x["txt_unit"], scale))
    mse = functional.mse_loss(x["eeg"], x["img"])
    contrast = clip_loss(x["eeg"], x["img"], scale)
    # The original's evaluation uses another weight than its training.
    for name, weight in (("reconstruction_loss", 0.9), ("reconstruction_loss_eval", 0.99)):
        file.check(name, 10 * (weight * mse + (1 - weight) * contrast))
    file.assert_all_checked()


@pytest.mark.golden
def test_retrieval_evaluation_matches() -> None:
    file = load("atms_retrieval_evaluation")
    x, labels = file.inputs, file.inputs["labels"]
    gallery, scale = x["image_features_all"], x["logit_scale"]
    text = torch.ones_like(x["eeg_features"])
    batch = file.arguments["batch"]
    for k in file.arguments["ks"]:
        score = k_way_retrieval(x["eeg_features"], gallery, labels, x[f"draws_{k}"][:, 0])
        file.check(f"top1_{k}", torch.tensor(score.top1))
        file.check(f"top5_{k}", torch.tensor(score.top5))
        loss = published_loss(x["eeg_features"], gallery[labels], text, scale, batch_size=batch)
        file.check(f"loss_{k}", torch.tensor(loss))
    file.assert_all_checked()


@pytest.mark.golden
@torch.inference_mode()
def test_prior_network_matches() -> None:
    file = load("diffusion_prior_unet")
    prior, x = _prior(file), file.inputs
    file.check("eps_cond", prior(x["x"], x["t"], x["c"]))
    file.check("eps_uncond", prior(x["x"], x["t"]))
    file.check("eps_float_t", prior(x["x"], x["t"].float(), x["c"]))
    file.assert_all_checked()


@pytest.mark.golden
def test_prior_sampling_matches() -> None:
    file = load("diffusion_prior_generate")
    prior, c = _prior(file), file.inputs["c"]
    guidance = file.arguments["guidance"]
    for steps in file.arguments["steps"]:
        noise = file.inputs[f"noise_{steps}"]
        file.check(f"timesteps_{steps}", torch.from_numpy(leading_times(steps)))
        options = {"num_inference_steps": steps, "noise": noise}
        path = list(prior_states(prior, c, guidance_scale=guidance, **options))
        file.check(f"sample_{steps}", path[-1])
        file.check(f"trajectory_{steps}", torch.stack(path, dim=1))
        for g in (0, 2):
            if f"sample_{steps}_g{g}" in file.outputs:
                states = prior_states(prior, c, guidance_scale=g, **options)
                file.check(f"sample_{steps}_g{g}", last(states))
        if f"sample_{steps}_none" in file.outputs:
            expected = file.outputs[f"sample_{steps}_none"]
            each = [
                last(prior_states(prior, None, num_inference_steps=steps, noise=noise[j : j + 1]))
                for j in range(len(expected))
            ]
            file.check(f"sample_{steps}_none", torch.cat(each))
    file.assert_all_checked()


@pytest.mark.golden
def test_prior_training_matches() -> None:
    file = load("diffusion_prior_training")
    prior, x, arguments = _prior(file), file.inputs, file.arguments
    n_batches, n_passes = arguments["batches"], arguments["epochs"]
    n_steps = n_batches * n_passes
    rates = [prior_rate(s, base=arguments["lr"], n_steps=n_steps) for s in range(n_steps)]
    file.check("learning_rates", torch.tensor(rates, dtype=torch.float64))
    module = PriorLoss(prior)
    optimizer = torch.optim.Adam(prior.parameters(), lr=arguments["lr"])
    losses = []
    for step, rate in enumerate(rates):
        place = step % n_batches
        loss = module(
            vectors=x["c"][place],
            targets=x["h"][place],
            noise=x["noise"][step],
            timesteps=x["t"][step],
            drop=x["drop_draws"][step] < 0.1,
            seed=torch.tensor(0),
        )["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        losses.append(float(loss.detach()))
    means = torch.tensor(losses, dtype=torch.float64).view(n_passes, n_batches).mean(dim=1)
    file.check("epoch_losses", means)
    parameters = dict(prior.named_parameters())
    for name in (k for k in file.outputs if k.startswith("after/")):
        file.check(name, parameters[name.removeprefix("after/")])
    file.assert_all_checked()


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("layers", "expected"), [(2, 3_202_413), (0, 3_076_913)])
def test_encoder_has_the_published_size(layers: int, expected: int) -> None:
    with torch.device("meta"):
        model = AtmsEncoder(AtmsConfig.published(n_subject_layers=layers))
    assert _count(model) == expected


def test_own_encoder_keeps_nothing_unused() -> None:
    with torch.device("meta"):
        model = AtmsEncoder()
    assert _count(model) == 3_076_913 - 1_500


def test_prior_has_the_published_size() -> None:
    with torch.device("meta"):
        model = DiffusionPriorUNet()
    assert _count(model) == 9_675_648
