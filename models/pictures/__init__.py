"""Encoders of pictures: what a gallery's vectors in an embedding space come from.

Owns which space has which encoder. The shipped space's is trained and shipped here; a published
space's is its own tower, where the user has its weights.
"""

from __future__ import annotations

from models.api import CLIP_H_IMAGE, CLIP_L_TOKENS
from pipeline.errors import GalleryError
from pipeline.gallery import SPACE
from pipeline.gallery.making import PictureVectors

CLIP_L_IMAGE = "clip-vit-l-14-image"
"""Space of OpenAI CLIP ViT-L/14 image vectors (768)."""
TOWERS = {
    CLIP_H_IMAGE: "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
    CLIP_L_IMAGE: "openai/clip-vit-large-patch14",
    CLIP_L_TOKENS: "openai/clip-vit-large-patch14",
}
"""Published image towers by space, as Hugging Face names them."""
WIDTHS = {SPACE: 64, CLIP_H_IMAGE: 1024, CLIP_L_IMAGE: 768, CLIP_L_TOKENS: 257 * 768}
"""Numbers of a vector in the spaces that have a name of their own."""


def picture_encoder(space: str) -> PictureVectors:
    """Load what makes vectors of pictures in `space`.

    Raises
    ------
    GalleryError
        No encoder of that space is known, or its weights are not on this machine.
    """
    # torch comes with these.
    if space == SPACE:
        from models.pictures.shipped import load_shipped

        return load_shipped()
    if space in TOWERS:
        from models.pictures.clip import load_tower

        return load_tower(space, TOWERS[space])
    raise GalleryError(
        f"no encoder of pictures is known for the space {space!r}, expected one of "
        f"{', '.join((SPACE, *TOWERS))}."
    )
