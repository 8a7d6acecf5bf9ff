"""How much each image adapter acts in each cross-attention layer of the U-Net.

Owns the scale tables of seed 002 (as published, and with its fault repaired) and their expansion
to layers by name, with the rules of diffusers' `set_ip_adapter_scale`: a block that is not named
gets 0. Knows the layers from their names only, so it needs no network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from models.multimodal.modalities import (
    ACCUMULATION,
    FUSION_WEIGHTS,
    Faults,
    Modality,
)

BlockScales = Mapping[str, "float | Sequence[float]"]
ScaleTable = float | Mapping[str, "float | Sequence[float] | BlockScales"]
"""A number for all layers; or {"down": ..., "mid": ..., "up": ...}, each a number, or
{"block_0": a number, or one number an attention}."""

TEXT_SCALE = 0.25

PUBLISHED_TABLES: Mapping[Modality, ScaleTable] = {
    Modality.IMAGE: {"up": {"block_2": 1.0, "block_3": 1.0}},
    Modality.TEXT: {
        "down": {f"block_{i}": TEXT_SCALE for i in range(4)},
        "up": {f"block_{i}": TEXT_SCALE for i in range(4)},
    },
    Modality.FEW: {"down": {"block_0": 1.0, "block_1": 1.0}},
    Modality.MIDDLE: {"down": {"block_2": 1.0, "block_3": 1.0}},
    Modality.LARGE: {"up": {"block_0": 1.0, "block_1": 1.0}},
}
"""As the original writes them. SDXL has cross-attention in down 1, down 2, the middle, up 0 and
up 1 only: the image modality acts nowhere."""

REPAIRED_TABLES: Mapping[Modality, ScaleTable] = {
    Modality.FEW: {"down": {"block_1": 1.0}},
    Modality.MIDDLE: {"down": {"block_2": 1.0}, "mid": 1.0},
    Modality.LARGE: {"up": {"block_0": 1.0}},
    Modality.IMAGE: {"up": {"block_1": 1.0}},
    Modality.TEXT: TEXT_SCALE,
}
"""The original's intent, coarse to fine along the network, on the blocks that exist."""


def scale_tables(faults: Faults) -> Mapping[Modality, ScaleTable]:
    """Return the tables for these faults."""
    return PUBLISHED_TABLES if faults.blocks_without_attention else REPAIRED_TABLES


def layer_scales(table: ScaleTable, layer_names: Iterable[str]) -> dict[str, float]:
    """Scale of each layer (`down_blocks.1.attentions.0....`, `mid_block.attentions.0....`)."""
    return {name: _scale_of(table, name) for name in layer_names}


def _scale_of(table: ScaleTable, layer_name: str) -> float:
    if not isinstance(table, Mapping):
        return float(table)
    place, *rest = layer_name.split(".")
    side = place.removesuffix("_blocks").removesuffix("_block")
    block = None if side == "mid" else int(rest[0])
    entry = table.get(side, 0.0)
    if isinstance(entry, Mapping):
        entry = entry.get(f"block_{block}", 0.0)
    if isinstance(entry, Sequence):
        return float(entry[int(rest[rest.index("attentions") + 1])])
    return float(entry)


def weighted(table: ScaleTable, weight: float) -> ScaleTable:
    """Multiply every number of a table."""
    if isinstance(table, Mapping):
        return {side: _weighted_entry(entry, weight) for side, entry in table.items()}
    return table * weight


def _weighted_entry(
    entry: float | Sequence[float] | BlockScales, weight: float
) -> float | Sequence[float] | BlockScales:
    if isinstance(entry, Mapping):
        return {name: _weighted_value(value, weight) for name, value in entry.items()}
    return _weighted_value(entry, weight)


def _weighted_value(value: float | Sequence[float], weight: float) -> float | Sequence[float]:
    if isinstance(value, Sequence):
        return [v * weight for v in value]
    return value * weight


def fused_scales(
    layer_names: Sequence[str],
    *,
    faults: Faults | None = None,
    weights: Mapping[Modality, float] = FUSION_WEIGHTS,
) -> dict[Modality, dict[str, float]]:
    """Scales when all modalities of `weights` act, each with its multiplier; others get 0."""
    tables = scale_tables(Faults() if faults is None else faults)
    return {
        modality: layer_scales(weighted(tables[modality], weights.get(modality, 0.0)), layer_names)
        for modality in Modality
    }


def separate_scales(
    layer_names: Sequence[str], modality: Modality, *, faults: Faults | None = None
) -> dict[Modality, dict[str, float]]:
    """Scales when one modality acts alone, at full strength."""
    return fused_scales(layer_names, faults=faults, weights={modality: 1.0})


def progressive_weights(
    shares: Mapping[Modality, float] = FUSION_WEIGHTS,
) -> list[dict[Modality, float]]:
    """Multipliers of the five pictures in which modalities accumulate from coarse to fine."""
    return [
        {modality: shares[modality] for modality in ACCUMULATION[: count + 1]}
        for count in range(len(ACCUMULATION))
    ]


def adaptive_weights(confidence: Mapping[Modality, float]) -> dict[Modality, float]:
    """Share the fused strength by how sure each prior is.

    `confidence` is not negative, in any unit (the mean cosine of several draws of one prior, for
    example). The multipliers keep their sum; equal confidence gives the published ones.
    """
    raw = {m: FUSION_WEIGHTS[m] * max(0.0, value) for m, value in confidence.items()}
    total = sum(raw.values())
    if total <= 0:
        return {m: FUSION_WEIGHTS[m] for m in confidence}
    whole = sum(FUSION_WEIGHTS[m] for m in confidence)
    return {m: value * whole / total for m, value in raw.items()}
