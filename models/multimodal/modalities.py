"""The five modalities and what seed 002 gives each: loss weight, share in the picture, names.

Owns these tables only, and the faults of the original that are repaired by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Modality(StrEnum):
    """What a prior predicts; the order is that of the published adapter list."""

    IMAGE = "image"
    TEXT = "text"
    FEW = "few"
    MIDDLE = "middle"
    LARGE = "large"

    @property
    def published_name(self) -> str:
        """As tensors and checkpoints call it: `superpixel_few` and so on."""
        return f"superpixel_{self}" if self in SUPERPIXELS else str(self)

    @property
    def checkpoint_key(self) -> str:
        """Key of its prior in a published checkpoint."""
        return f"{self.published_name}_diffusion_state_dict"


SUPERPIXELS = (Modality.FEW, Modality.MIDDLE, Modality.LARGE)
"""From coarse to fine."""
ENCODER_KEYS = ("eeg_model_state_dict", "feature_extractor_state_dict")
"""Training writes the first, generation looks for the second: both are read."""

LOSS_WEIGHTS = {
    Modality.IMAGE: 0.3,
    Modality.TEXT: 0.3,
    Modality.FEW: 0.1,
    Modality.MIDDLE: 0.1,
    Modality.LARGE: 0.2,
}
FUSION_WEIGHTS = LOSS_WEIGHTS
"""Multipliers of the adapters when all five act; the same figures as in the loss."""
ACCUMULATION = (Modality.FEW, Modality.MIDDLE, Modality.LARGE, Modality.TEXT, Modality.IMAGE)
"""Order in which the progressive mode adds them."""

MODES = ("separate", "fused", "progressive")
"""Each modality alone, all in one picture, one more in each picture."""
DRAWING_FAULTS = ("blocks_without_attention", "unit_norm_embeddings")
"""Faults of the original that act when it draws, but for the label in its prompt, which has an
option of its own; `pair_all_conditions` acts in training."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults of the original, each off by default; `Faults.published()` turns all on.

    Attributes
    ----------
    oracle_prompt : bool
        Put the true class name into the text prompt. The README's figures are likely inflated by
        it; `--oracle-prompt`.
    blocks_without_attention : bool
        Give scales to blocks of the U-Net that have no cross-attention, so that the image
        modality injects nothing and the middle block stays unused.
    unit_norm_embeddings : bool
        Feed vectors of norm 1 to adapters that were trained on norms of 25 to 30.
    pair_all_conditions : bool
        Broadcast in the training step, so that each sample meets every condition of its batch.
    """

    oracle_prompt: bool = False
    blocks_without_attention: bool = False
    unit_norm_embeddings: bool = False
    pair_all_conditions: bool = False

    @classmethod
    def published(cls) -> Faults:
        """Every fault on: what the original does."""
        return cls(True, True, True, True)
