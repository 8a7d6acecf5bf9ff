"""The published states of MindEye: names, sizes, and what becomes of them.

Owns the renaming and the sizes that shapes tell. Backbone and low-level network keep their
published names; the prior's are DALL-E 2's re-implementation's. Knows nothing of files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from configs.mindeye import BackboneConfig, LowLevelConfig, TokenPriorConfig
from models.checkpoints import CheckpointError, load_into, shape_of
from models.mindeye.backbone import Backbone
from models.mindeye.low_level import LowLevelNetwork
from models.mindeye.prior import TokenPrior
from models.sampling.schedules import cosine_alphas_cumprod

_PRIOR_NAMES = (
    (r"learned_query", "positions"),
    (r"null_brain_embeds", "null_brain"),
    (r"null_image_embed", "null_image"),
    (r"to_time_embeds\.0\.1\.net\.0\.0\.", "time_mlp.0."),
    (r"to_time_embeds\.0\.1\.net\.1\.0\.", "time_mlp.2."),
    (r"to_time_embeds\.0\.1\.net\.2\.", "time_mlp.4."),
    (r"causal_transformer\.rel_pos_bias\.relative_attention_bias\.", "relative_bias."),
    (r"causal_transformer\.layers\.(\d+)\.0\.norm\.g", r"layers.\1.attention.norm.weight"),
    (r"causal_transformer\.layers\.(\d+)\.0\.to_out\.0\.", r"layers.\1.attention.to_out."),
    (r"causal_transformer\.layers\.(\d+)\.0\.to_out\.1\.g", r"layers.\1.attention.norm_out.weight"),
    (r"causal_transformer\.layers\.(\d+)\.0\.", r"layers.\1.attention."),
    (r"causal_transformer\.layers\.(\d+)\.1\.0\.g", r"layers.\1.feedforward.norm.weight"),
    (r"causal_transformer\.layers\.(\d+)\.1\.1\.", r"layers.\1.feedforward.proj_in."),
    (r"causal_transformer\.layers\.(\d+)\.1\.5\.", r"layers.\1.feedforward.proj_out."),
    (r"causal_transformer\.norm\.g", "norm_out.weight"),
    (r"causal_transformer\.project_out\.", "proj_out."),
)
"""Published names, in the order in which they are tried, and ours."""
_FIXED = "rotary_emb.freqs"
_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Of the decoder's middle attention, as diffusers 0.13 named them."""
_OLD = re.compile(r"(attentions\.\d+\.)(query|key|value|proj_attn)\.")


def prior_name(published: str) -> str:
    """Our name of a parameter of the prior."""
    for pattern, name in _PRIOR_NAMES:
        if re.match(pattern, published):
            return re.sub(pattern, name, published, count=1)
    return published


def import_backbone(
    state: Mapping[str, Tensor], *, width: int = 768, act_first: bool | None = None
) -> Backbone:
    """Build a backbone of its published state (names below `voxel2clip.`).

    `width` is that of a token, which shapes tell where there is a projector alone; so is the order
    of norm and activation, which their places tell.
    """
    try:
        hidden, n_voxels = shape_of(state, "lin0.0.weight", "hidden, n_voxels")
        made = len(state["lin1.weight"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"the backbone's state lacks {error}, expected MindEye's.") from None
    if "projector.0.weight" in state:
        width = len(state["projector.0.weight"])
    config = BackboneConfig(
        n_voxels=n_voxels,
        hidden=hidden,
        n_blocks=sum(bool(re.fullmatch(r"mlp\.\d+\.0\.weight", name)) for name in state),
        n_tokens=made // width,
        width=width,
        projector=len(state.get("projector.2.weight", ())),
        norm="batch" if any(name.endswith("running_mean") for name in state) else "layer",
        act_first="lin0.2.weight" in state if act_first is None else act_first,
    )
    with torch.device("meta"):
        backbone = Backbone(config)
    load_into(backbone, state, what="the backbone's state", assign=True)
    return backbone.eval()


def import_prior(state: Mapping[str, Tensor], *, num_heads: int | None = None) -> TokenPrior:
    """Build a prior's network of its published state (names below `net.`)."""
    renamed = {prior_name(k): v for k, v in state.items() if not k.endswith(_FIXED)}
    try:
        n_tokens, width = shape_of(renamed, "positions", "n_tokens, width")
        n_buckets_heads = shape_of(renamed, "relative_bias.weight", "n_buckets, num_heads")[1]
        head_dim = shape_of(renamed, "layers.0.attention.null_kv", "2, head_dim")[1]
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"the prior's state lacks {error}, expected MindEye's.") from None
    config = TokenPriorConfig(
        n_tokens=n_tokens,
        width=width,
        depth=len({m[1] for k in renamed if (m := re.match(r"layers\.(\d+)\.", k))}),
        num_heads=num_heads or n_buckets_heads,
        head_dim=head_dim,
    )
    with torch.device("meta"):
        prior = TokenPrior(config)
    load_into(prior, renamed, what="the prior's state", assign=True)
    return prior.eval()


def import_low_level(state: Mapping[str, Tensor]) -> LowLevelNetwork:
    """Build the low-level network of its published state."""
    renamed = {
        _OLD.sub(lambda m: f"{m[1]}{_ATTENTION[m[2]]}.", name): value
        for name, value in state.items()
    }
    try:
        hidden, n_voxels = shape_of(renamed, "lin0.0.weight", "hidden, n_voxels")
        first = len(renamed["norm.weight"])
        widths = [len(renamed[f"upsampler.up_blocks.{i}.resnets.0.conv2.weight"]) for i in range(3)]
        side = round((len(renamed["lin1.weight"]) / first) ** 0.5)
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"the low-level network's state lacks {error}, expected MindEye's."
        ) from None
    config = LowLevelConfig(
        n_voxels=n_voxels,
        hidden=hidden,
        n_blocks=sum(bool(re.fullmatch(r"mlp\.\d+\.0\.weight", name)) for name in renamed),
        side=side,
        widths=(widths[2], widths[1], widths[0]),
        maps=len(renamed.get("maps_projector.0.weight", ())),
    )
    with torch.device("meta"):
        network = LowLevelNetwork(config)
    load_into(network, renamed, what="the low-level network's state", assign=True)
    return network.eval()


def export_prior(prior: TokenPrior) -> dict[str, Tensor]:
    """State of a prior under its published names, without the fixed rotary rates."""
    return {_published_prior_name(name): value for name, value in prior.state_dict().items()}


def _published_prior_name(name: str) -> str:
    for published, ours in _PRIOR_NAMES:
        pattern = re.escape(ours).replace(r"\\1", r"(\d+)")
        if re.match(pattern, name):
            plain = published.replace(r"(\d+)", r"\1").replace("\\.", ".")
            return re.sub(pattern, plain, name, count=1)
    return name


def export_low_level(network: LowLevelNetwork) -> dict[str, Tensor]:
    """State of a low-level network under its published names."""
    names = {new: old for old, new in _ATTENTION.items()}
    pattern = re.compile(r"(attentions\.\d+\.)(to_q|to_k|to_v|to_out\.0)\.")
    return {
        pattern.sub(lambda m: f"{m[1]}{names[m[2]]}.", name): value
        for name, value in network.state_dict().items()
    }


def check_schedule(state: Mapping[str, Tensor]) -> int:
    """Count the steps of a prior's published schedule (names below `noise_scheduler.`).

    Raises
    ------
    CheckpointError
        It is none, or another than the cosine schedule.
    """
    found = state.get("alphas_cumprod")
    if found is None or not torch.allclose(found.float(), cosine_alphas_cumprod(len(found))):
        raise CheckpointError(
            "the prior's schedule (noise_scheduler.alphas_cumprod) is not the published cosine "
            "schedule: it cannot be sampled here."
        )
    return len(found)
