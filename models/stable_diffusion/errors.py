"""The base error of the Stable Diffusion family."""

from __future__ import annotations

from pipeline.errors import PhospheneError


class StableDiffusionError(PhospheneError):
    """A generator's folder or file is missing, unsafe, unusable, or asked for what it has not."""
