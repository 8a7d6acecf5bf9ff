"""Training settings of the ATM family and of the multimodal system, as frozen models.

Owns their defaults, which are the published values, and the later settings that gained on them,
each with its gain as published (another data split or another architecture: an order of
magnitude, not a promise).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Frozen(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class PreparationConfig(_Frozen):
    """Preparation of THINGS-EEG2; defaults: the published script's."""

    subjects: tuple[int, ...] = ()
    """Numbers of the subjects (1 is `sub-01`); empty: every folder that is there."""
    picks: Literal["all", "posterior"] = "all"
    """Channels of raw recordings that are kept and whitened together: 63, or the 17 posterior."""
    whitening: Literal["epochs", "time", "none"] = "epochs"
    """Multivariate noise normalisation: covariance over the times of each epoch (as used), over
    the repetitions at each time, or none."""
    train_repetitions: int = Field(default=2, ge=1)
    """Of a training condition in one session."""
    test_repetitions: int = Field(default=20, ge=1)
    """Of a test condition in one session."""


class RetrievalTrainingConfig(_Frozen):
    """Contrastive training of an EEG encoder; defaults: ATM-S as published."""

    network: Literal["atm-s", "nice"] = "atm-s"
    """`nice`: its ancestor without the transformer (15.6 % of 200-way top-1 in its own protocol,
    whose gallery differs; 16.1 % in later tables, against 27 to 28 % of ATM-S)."""
    objective: Literal["retrieval", "reconstruction"] = "retrieval"
    """`retrieval`: contrast with pictures and texts. `reconstruction`: 10 (0.9 MSE + 0.1
    contrast) towards un-normalised vectors, which a prior or an adapter can use."""
    passes: int = Field(default=40, ge=1)
    """Passes over the data."""
    batch_size: int = Field(default=64, ge=2)
    """Epochs in one batch. Systems near 60 % of 200-way top-1 use 1024."""
    lr: float = Field(default=3e-4, gt=0)
    """Rate of AdamW, constant."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's moments."""
    image_weight: float = Field(default=0.99, ge=0, le=1)
    """Weight of the pictures against the texts in `retrieval`."""
    mse_weight: float = Field(default=0.9, ge=0, le=1)
    """Weight of the squared error in `reconstruction`."""
    multi_positive: bool = False
    """Every repetition of a picture is a positive. Gain: +2.41 points of 200-way top-1 (SCORE,
    arXiv 2608.19134)."""
    normalise: Literal["image", "both"] = "image"
    """Sides brought to norm 1 before the contrast. `image` only (asymmetric, also what ATM-S
    does): 63.2 % against 46.4 % of 200-way top-1 with both (NeuroBridge)."""
    average_repetitions: bool = False
    """Train on the mean over a picture's repetitions: 4 times fewer, cleaner epochs. In every
    system that moved from about 28 % to about 60 % top-1 (a recurring setting, not a study)."""
    picks: Literal["all", "posterior"] = "all"
    """`posterior`: the 17 occipital and parietal channels instead of 63. Recurs in the same
    systems (UBP 50.9 %, NeuroBridge 63.2 % top-1 against 27 to 28 % of ATM-S)."""
    features: Literal["ViT-H-14", "RN50", "ViT-L-14"] = "ViT-H-14"
    """CLIP model of the targets. RN50 recurs in the same systems (CognitionCapturerPro 61.2 %);
    IP-Adapter needs ViT-H-14; NICE has ViT-L-14."""
    layers: tuple[int, ...] = ()
    """Blocks of the vision tower whose class tokens are the target, instead of its final vector.
    One: an intermediate layer (HCF 84.6 % top-1, arXiv 2603.07077; Shallow Alignment, 2601.21948).
    Several: a mixture that is learnt for each subject (SAMGA 91.3 %, arXiv 2604.17782; its training
    from coarse to fine is not part of it). A prior leads from there to what draws."""
    blurred: bool = False
    """Targets of blurred pictures: the eye and EEG keep little of fine detail (UBP 50.9 %, arXiv
    2503.04207; Visual Blur Perception 80 %). One blur for all here, none by uncertainty."""
    validation_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Part of the *pictures* held out; the test set is never looked at."""

    @model_validator(mode="after")
    def _layers_are_for_retrieval(self) -> RetrievalTrainingConfig:
        if self.layers and (self.objective != "retrieval" or self.blurred or min(self.layers) < 1):
            raise ValueError(
                "layers are numbers from 1 on for the objective 'retrieval', and of sharp "
                "pictures: leave out blurred, or layers"
            )
        return self

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the tables below `features` that the pictures' side comes from."""
        if self.layers:
            return tuple(f"{self.features}.layer-{number}" for number in self.layers)
        return (f"{self.features}.blurred" if self.blurred else self.features,)

    @classmethod
    def modern(cls) -> RetrievalTrainingConfig:
        """Return the settings that recur in the strongest retrieval systems."""
        return cls(
            batch_size=1024,
            multi_positive=True,
            average_repetitions=True,
            picks="posterior",
            features="RN50",
        )

    @classmethod
    def enigma(cls) -> RetrievalTrainingConfig:
        """Return the prior-free preset in ENIGMA's manner (arXiv 2602.10361).

        The encoder predicts un-normalised ViT-H vectors that go straight into the adapter of
        SDXL-Turbo, 4 steps, scale 1. All-subject means: PixCorr 0.167 (ATM-S 0.136), SSIM 0.426
        (0.392). Repeated pictures are positives here; in the original they are negatives.
        """
        return cls(objective="reconstruction", multi_positive=True, average_repetitions=True)

    @classmethod
    def nice(cls) -> RetrievalTrainingConfig:
        """Return NICE as published: Adam, large batches, 740 of 16 540 pictures to validate."""
        return cls(
            network="nice",
            passes=200,
            batch_size=1000,
            lr=2e-4,
            betas=(0.5, 0.999),
            weight_decay=0.0,
            image_weight=1.0,
            normalise="both",
            average_repetitions=True,
            features="ViT-L-14",
            validation_fraction=740 / 16540,
        )


class PriorTrainingConfig(_Frozen):
    """Training of the diffusion prior; defaults: ATM-S as published."""

    passes: int = Field(default=150, ge=1)
    """Passes over the data."""
    batch_size: int = Field(default=1024, ge=1)
    """Vectors in one batch."""
    lr: float = Field(default=1e-3, gt=0)
    """Peak rate of Adam: 500 steps of warm-up, then half a cosine."""


class MultimodalTrainingConfig(_Frozen):
    """Joint training of one encoder and five priors; defaults: seed 002's code."""

    passes: int = Field(default=100, ge=1)
    """Passes over the data."""
    batch_size: int = Field(default=32, ge=1)
    """Epochs in one batch (its README says 16)."""
    lr: float = Field(default=1e-4, gt=0)
    """Rate of Adam over everything."""
    pair_all_conditions: bool = False
    """The original's broadcast fault: each sample meets every condition of its batch."""
