"""Settings of the ridge baseline's fit, as a frozen model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class RidgeConfig(BaseModel):
    """How voxels are regressed on embeddings."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    gallery: str | None = None
    """Whose vectors are the targets, by the events' labels: a folder or a registered name; None:
    the shipped one."""
    space: str | None = None
    """Space of those vectors, such as `clip-vit-l-14-image`; None: the shipped gallery's."""
    tmin: float = Field(default=0.0, ge=0, le=30)
    """First time from onset whose samples are averaged, s. Volumes: some 4; responses: 0."""
    tmax: float = Field(default=0.5, gt=0, le=30)
    """Last time from onset whose samples are averaged, s. Volumes: some 8; responses: 0.5."""
    alphas: tuple[float, ...] = (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3)
    """Penalties to choose from, in units of the mean variance of a voxel's scores times their
    count."""
    n_folds: int = Field(default=5, ge=2, le=50)
    """Of the cross-validation over stimuli that chooses the penalty."""

    @model_validator(mode="after")
    def _in_order(self) -> RidgeConfig:
        if not self.tmin < self.tmax:
            raise ValueError(f"tmin ({self.tmin} s) must lie before tmax ({self.tmax} s)")
        if not self.alphas or min(self.alphas) <= 0:
            raise ValueError("alphas must be numbers above 0")
        return self
