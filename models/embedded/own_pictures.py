"""Pictures that the generator never learnt and a gallery has: drawn where an embedding means them.

The prior knows the vectors of its own gallery by heart; a photograph's lies between them, and
comes out as a cloud. Owns when an embedding means a gallery's own picture, and that picture's
latents: the autoencoder's, behind the fog that belongs to the embedding's length.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.embedded.fog import fog_of, veiled
from pipeline.gallery import SPACE, Gallery, load_gallery
from pipeline.values import Float32, read_only

LIKENESS = 0.5
"""Least cosine of an embedding with the picture that it means."""
_SAME = 1e-3
"""Difference of cosines below which the generator's own pictures come first."""


class OwnPictures:
    """The upright pictures of a gallery that the generator was not trained on.

    Parameters
    ----------
    gallery : Gallery
        With vectors of the generator's space.
    encode : callable
        Latents (n, channels, height, width) of pictures (n, 3, height, width) in [-1, 1].
    size : int
        Side of a picture, pixels.
    """

    def __init__(self, gallery: Gallery, encode: Callable[[Tensor], Tensor], *, size: int) -> None:
        self.gallery = gallery.subset(kind="upright")
        self._rows = read_only(np.array(self.gallery.tables[SPACE], dtype=np.float32))
        self._encode, self._size = encode, size

    def find(self, vector: Float32) -> int | None:
        """Find the picture that an embedding means; None where it is none of these.

        It is the one that is more like the embedding than anything that the generator knows, and
        at least `LIKENESS`.
        """
        length = float(np.linalg.norm(vector))
        if not 0.0 < length < np.inf or vector.shape != self._rows.shape[1:]:
            return None
        likeness = self._rows @ vector / length
        best = int(np.argmax(likeness))
        known = float((load_gallery().embeddings @ vector).max() / length)
        return best if likeness[best] > max(LIKENESS, known + _SAME) else None

    def latents(self, row: int, length: float) -> Tensor:
        """Latents (1, channels, height, width) of a picture as it looks at an embedding's length.

        Raises
        ------
        GalleryError
            The picture is gone, or another one.
        """
        pixels = self.gallery.image(self.gallery.labels[row], size=self._size)
        seen = veiled(Image.fromarray(pixels), float(fog_of(length)))
        levels = torch.from_numpy(np.array(seen, dtype=np.uint8)).permute(2, 0, 1)[None].float()
        return self._encode((levels / 127.5 - 1.0).contiguous(memory_format=torch.channels_last))
