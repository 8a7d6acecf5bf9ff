"""From a published state of the masked autoencoder to our modules.

Owns the reading of sizes from shapes and the fitting of positions to another length. Only the
count of heads leaves no trace in a state, so it is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from torch import Tensor

from configs.published import MaskedAutoencoderConfig
from models.checkpoints import CheckpointError, load_into, shape_of
from models.masked_autoencoder.network import MaskedAutoencoder, SignalEncoder
from models.masked_autoencoder.positions import resize_positions

_TOKENS = ("cls_token", "mask_token")
"""Published encoders carry both without using them."""


def config_of(
    state: Mapping[str, Tensor], *, num_heads: int = 16, decoder_num_heads: int | None = None
) -> MaskedAutoencoderConfig:
    """Read the sizes from a state's shapes; a decoder's only where its heads are given.

    Raises
    ------
    CheckpointError
        The state is not of this family, or its widths are no multiples of the heads.
    """
    try:
        embed_dim, n_channels, patch_size = shape_of(
            state, "patch_embed.proj.weight", "embed_dim, n_channels, patch_size"
        )
        n_tokens = shape_of(state, "pos_embed", "1, n_tokens + 1, embed_dim")[1] - 1
        hidden = shape_of(state, "blocks.0.mlp.fc1.weight", "hidden, embed_dim")[0]
    except KeyError as error:
        raise CheckpointError(
            f"the state has no {error}, expected one of a masked autoencoder: give the encoder's "
            "checkpoint.pth."
        ) from None
    sizes: dict[str, float] = {}
    if decoder_num_heads is not None:
        sizes = {
            "decoder_embed_dim": _decoder_width(state),
            "decoder_depth": _depth(state, "decoder_blocks."),
            "decoder_num_heads": decoder_num_heads,
        }
    return _validated(
        {
            "n_channels": n_channels,
            "n_times": n_tokens * patch_size,
            "patch_size": patch_size,
            "embed_dim": embed_dim,
            "depth": _depth(state, "blocks."),
            "num_heads": num_heads,
            "mlp_ratio": hidden / embed_dim,
            **sizes,
        }
    )


def _validated(sizes: Mapping[str, float]) -> MaskedAutoencoderConfig:
    try:
        return MaskedAutoencoderConfig.model_validate(sizes)
    except ValidationError as error:
        words = "; ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
        raise CheckpointError(
            f"the state's sizes and the given counts of heads do not fit each other: {words}."
        ) from None


def _decoder_width(state: Mapping[str, Tensor]) -> int:
    if "decoder_embed.weight" not in state:
        raise CheckpointError(
            "the state has no decoder (decoder_embed.weight), expected a whole autoencoder's: give "
            "the checkpoint of its pre-training."
        )
    return shape_of(state, "decoder_embed.weight", "decoder_embed_dim, embed_dim")[0]


def _depth(state: Mapping[str, Tensor], prefix: str) -> int:
    return 1 + max(int(k[len(prefix) :].split(".")[0]) for k in state if k.startswith(prefix))


def import_autoencoder(
    state: Mapping[str, Tensor],
    *,
    num_heads: int = 16,
    decoder_num_heads: int = 16,
    n_times: int | None = None,
) -> MaskedAutoencoder:
    """Build the whole autoencoder of a published state (parameters and fixed positions).

    `n_times` fits it to signals of another length, as `import_encoder` does.
    """
    config = config_of(state, num_heads=num_heads, decoder_num_heads=decoder_num_heads)
    kept = dict(state)
    if n_times is not None and n_times != config.n_times:
        config = _validated(config.model_dump() | {"n_times": n_times})
        for name in ("pos_embed", "decoder_pos_embed"):
            kept[name] = resize_positions(kept[name], config.n_tokens)
    model = MaskedAutoencoder(config)
    load_into(model, kept, what="the autoencoder's state")
    return model


def import_encoder(
    state: Mapping[str, Tensor], *, num_heads: int = 16, n_times: int | None = None
) -> SignalEncoder:
    """Build the conditioning encoder of an encoder's or an autoencoder's state.

    Parameters
    ----------
    state : mapping
        Published names; decoder and special tokens are left out.
    num_heads : int
        Attention heads, which shapes do not tell.
    n_times : int, optional
        Samples of the signals to encode; the positions are resized (nearest) where it differs.
    """
    config = config_of(state, num_heads=num_heads)
    if n_times is not None and n_times != config.n_times:
        config = _validated(config.model_dump() | {"n_times": n_times})
    kept = {
        name: value
        for name, value in state.items()
        if not name.startswith("decoder_") and name not in _TOKENS
    }
    kept["pos_embed"] = resize_positions(kept["pos_embed"], config.n_tokens)
    encoder = SignalEncoder(config)
    load_into(encoder, kept, what="the encoder's state")
    return encoder
