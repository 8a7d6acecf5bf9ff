"""The shipped generator as a diffusers pipeline: `PhosphenePipeline.from_pretrained(folder)`.

Owns the shape of diffusers' interface. What it draws is `EmbeddedSampler`'s to the bit: the loop
is not written a second time here. No `from __future__ import annotations`: diffusers 0.35 reads the
components' classes from the signature and cannot resolve text.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderDC, DiffusionPipeline, ImagePipelineOutput, UNet2DConditionModel
from PIL import Image

from models.embedded.generator import Generator
from models.embedded.parts import Prior, Projection
from models.embedded.sampler import EmbeddedSampler


class PhosphenePipeline(DiffusionPipeline):  # type: ignore[misc]
    """Draws pictures of embeddings in the space of the shipped gallery.

    Parameters
    ----------
    vae : AutoencoderDC
        Pictures in [-1, 1] to latents and back.
    unet : UNet2DConditionModel
        Corrects the prior's guess; takes the embedding as `class_labels`.
    projection : Projection
        Embedding to the tokens that the U-Net attends to.
    prior : Prior
        Embedding to a first guess of its latents.
    correction_scale : float
        Part of the U-Net's correction that is added to it.

    Examples
    --------
    >>> import numpy as np, phosphene
    >>> folder = phosphene.list_systems()["embedded"].folder
    >>> pipe = phosphene.PhosphenePipeline.from_pretrained(folder, local_files_only=True)
    >>> cat = phosphene.load_gallery().embedding("cat")
    >>> pipe(cat, seeds=[0, 1]).images[0].size
    (128, 128)
    """

    def __init__(
        self,
        vae: AutoencoderDC,
        unet: UNet2DConditionModel,
        projection: Projection,
        prior: Prior,
        correction_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.register_modules(vae=vae, unet=unet, projection=projection, prior=prior)
        self.register_to_config(correction_scale=correction_scale)
        for module in (vae, unet, projection, prior):
            # As the app has them: convolutions are fastest on CPUs with channels last.
            module.to(memory_format=torch.channels_last)
            module.eval().requires_grad_(False)

    def __call__(
        self,
        embeddings: npt.NDArray[np.float32],
        *,
        seeds: Sequence[int] = (0,),
        num_inference_steps: int = 1,
        guidance_scale: float = 1.0,
        blend: bool = True,
        output_type: str = "pil",
    ) -> Any:
        """Draw one picture a seed.

        Parameters
        ----------
        embeddings : ndarray, shape (n_features,) or (n_seeds, n_features), float32
            One for all seeds, or one each; a length of 1 is certain, one near 0 draws fog.
        seeds : sequence of int
            Of the noise, one a picture; the same number of CPU threads gives the same picture.
        num_inference_steps : int
            1 to 50; these weights are sharpest in one.
        guidance_scale : float
            1: none.
        blend : bool
            Draw what lies between two known pictures as one thing: the shape of one in the
            colours of the other.
        output_type : str
            `pil`, or `np`: (n_seeds, height, width, 3) uint8.

        Returns
        -------
        ImagePipelineOutput
            Its `images`.
        """
        networks = (self.vae, self.unet, self.projection, self.prior)
        generator = Generator(*networks, "", self.config.correction_scale)
        sampler = EmbeddedSampler(
            generator,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            blend=blend,
        )
        vectors = np.atleast_2d(np.asarray(embeddings, dtype=np.float32))
        if len(vectors) == 1:
            vectors = np.repeat(vectors, len(seeds), axis=0)
        # One by one, as the app: the order of a batch's sums is another.
        pairs = zip(vectors, seeds, strict=True)
        pixels = np.concatenate([sampler.draw(v[np.newaxis], seeds=(seed,)) for v, seed in pairs])
        images = pixels if output_type == "np" else [Image.fromarray(each) for each in pixels]
        return ImagePipelineOutput(images=images)
