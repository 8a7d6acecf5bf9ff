"""Draws the picture of an embedding in a few steps of a rectified flow.

Owns the conditions and the two ends of the loop, noise and pixels; `models.sampling` has the loop.
Knows nothing of EEG: the embedding's length is its confidence, and the generator was trained to
draw fog where there is none. A picture is a pure function of (embedding, seed, steps, guidance,
thread count); nothing is kept between calls, so a picture always belongs to its own epoch.

The network gives the correction from the prior's guess to the clean latents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.api import SamplerSpec
from models.embedded.blends import find_blend
from models.embedded.flatness import flattened
from models.embedded.generator import (
    REVISION,
    WEIGHTS,
    Generator,
    GeneratorError,
    load_generator,
    load_picture_encoder,
    load_upscaler,
)
from models.embedded.own_pictures import OwnPictures
from models.embedded.repeats import Cut, cut_of
from models.embedded.upscaler import FACTOR, Upscaler
from models.sampling import denoisers, schedules, solvers
from models.sampling.denoisers import Network
from models.sampling.noise import seeded_noise
from models.sampling.parts import Part
from models.sampling.pictures import to_pixels
from pipeline.errors import ConfigurationError, ShapeError
from pipeline.gallery import SPACE, Gallery, load_gallery
from pipeline.values import Embedding, GeneratedImage, Uint8

MAX_STEPS = 50
SMALL = 128
"""Side of what the networks draw, pixels; larger is upscaled."""
GRAPHS: Mapping[int, Mapping[str, Path]] = {
    1: {"unet": WEIGHTS / "unet/graph.onnx", "decoder": WEIGHTS / "vae/graph.onnx"},
    2: {"unet": WEIGHTS / "unet/graph_2.onnx", "decoder": WEIGHTS / "vae/graph_2.onnx"},
    3: {
        "conditions": WEIGHTS / "unet/conditions_3.onnx",
        "step": WEIGHTS / "unet/step_3.onnx",
        "decoder": WEIGHTS / "vae/graph_2.onnx",
    },
}
"""Networks without weights for ONNX Runtime, by revision and part; each has the same networks in
other steps, and so other last bits. `python -m research.embedded.graphs` makes them."""
CUT_FROM = 3
"""First revision whose networks are cut by how often they are asked (`repeats`)."""
GRAPH_REVISION = max(GRAPHS)


class EmbeddedSampler:
    """The `Sampler` of the embedded model.

    Parameters
    ----------
    generator : Generator
        The networks.
    num_inference_steps : int
        Euler steps, 1 to 50.
    guidance_scale : float
        1 draws the conditional picture; above 1, away from fog: each step also asks for the
        picture of an empty embedding, which doubles the cost. What this weight does is to
        exaggerate, so a decoded picture should be shown with 1.
    flat : bool
        Take the grain out of the background.
    blend : bool
        Draw what lies between two known pictures as one thing: the shape of one of them in the
        colours of the other.
    graph_revision : int
        Which networks engines are made of, and which of `GRAPHS` one of ONNX Runtime is.
    upscaler : (Upscaler, str) or None
        What doubles the pixels of a picture, and its SHA-256.
    load_encoder : callable or None
        Loads the autoencoder's other half, which `know` needs.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        num_inference_steps: int = 1,
        guidance_scale: float = 1.0,
        flat: bool = True,
        blend: bool = True,
        graph_revision: int = GRAPH_REVISION,
        upscaler: tuple[Upscaler, str] | None = None,
        load_encoder: Callable[[], Callable[[Tensor], Tensor]] | None = None,
    ) -> None:
        if not 1 <= num_inference_steps <= MAX_STEPS:
            raise ConfigurationError(
                f"num_inference_steps is {num_inference_steps}, expected 1 to {MAX_STEPS}: "
                "the embedded model needs no more than 4."
            )
        if not guidance_scale >= 1.0:
            raise ConfigurationError(
                f"guidance_scale is {guidance_scale}, expected at least 1: 1 means no guidance."
            )
        self._generator = generator
        self._guidance = float(guidance_scale)
        self._is_flat, self._blends = flat, blend
        self._load_encoder = load_encoder
        self._upscaler = None if upscaler is None else upscaler[0]
        self._upscaler_sha256 = "" if upscaler is None else upscaler[1]
        self._own: OwnPictures | None = None
        # Guidance asks for two at once, which the graphs are not for.
        graphs = {} if self._guidance > 1.0 else GRAPHS[graph_revision]
        self._unet = Part(generator.unet, "unet", graph=graphs.get("unet"))
        self._decoder = Part(generator.vae.decoder, "decoder", graph=graphs.get("decoder"))
        # Made once, not at every picture.
        self._levels = schedules.flow_levels(num_inference_steps, device=generator.like.device)
        self._cut: Cut | None = None
        if graph_revision >= CUT_FROM:
            self._cut = cut_of(generator, self._levels, graphs)
        self._scaling = float(generator.vae.config.scaling_factor)

    @property
    def spec(self) -> SamplerSpec:
        """What it takes and draws."""
        _, height, width = self._generator.latent_shape
        scale = self._generator.vae.spatial_compression_ratio
        digest = self._generator.sha256
        if self._upscaler is not None:
            scale *= FACTOR
            digest = hashlib.sha256(f"{digest} {self._upscaler_sha256}".encode()).hexdigest()
        return SamplerSpec(
            name="embedded",
            space=SPACE,
            size=(scale * height, scale * width),
            steps=len(self._levels) - 1,
            sha256=digest,
            device=str(self._generator.like.device),
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        """What an engine can take the place of."""
        cut = self._cut
        first = (self._unet,) if cut is None else (cut.conditions, cut.step)
        return *first, self._decoder

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """What acts on its pictures."""
        return {"steps": len(self._levels) - 1, "guidance": self._guidance}

    @property
    def remarks(self) -> tuple[str, ...]:
        """One where pictures of the gallery's own are drawn."""
        if self._own is None:
            return ()
        name = self._own.gallery.name
        return (
            f"What is nearest to a picture of the gallery {name!r} is drawn from the gallery's own "
            "picture, behind fog by confidence (decoder.own_pictures): the generator was not "
            "trained on it.",
        )

    def know(self, gallery: Gallery) -> None:
        """Draw a gallery's own pictures where an embedding is nearest to one of them.

        Raises
        ------
        GeneratorError
            The weights have no encoder of pictures.
        """
        if SPACE not in gallery.tables or gallery.sha256 == load_gallery().sha256:
            return
        if self._load_encoder is None:
            raise GeneratorError(
                "this generator has no encoder of pictures, expected one for the gallery's own: "
                "turn decoder.own_pictures off."
            )
        encode = self._load_encoder()
        like = self._generator.like
        size = self._generator.vae.spatial_compression_ratio * self._generator.latent_shape[1]
        self._own = OwnPictures(gallery, lambda x: self._scaling * encode(x.to(like)), size=size)

    def sample(self, embedding: Embedding, *, seed: int) -> GeneratedImage:
        """Draw the picture of an embedding.

        Parameters
        ----------
        embedding : Embedding
            `vector` (n_features,) float32.
        seed : int
            Of the noise, 0 to 2**64 - 1; the same seed shows the same pose.

        Raises
        ------
        ShapeError
            If the vector has another length than the generator's.
        """
        pixels = self.draw(embedding.vector[None], seeds=(seed,))[0]
        return GeneratedImage(
            pixels=pixels, seed=seed, index=embedding.index, t_onset=embedding.t_onset
        )

    def sample_batch(
        self, embeddings: Sequence[Embedding], *, seeds: Sequence[int]
    ) -> npt.NDArray[np.uint8]:
        """Draw the pictures of several embeddings together, (n, height, width, 3) sRGB."""
        return self.draw(np.stack([each.vector for each in embeddings]), seeds=tuple(seeds))

    @torch.inference_mode()
    def draw(
        self, vectors: npt.NDArray[np.float32], *, seeds: tuple[int, ...]
    ) -> npt.NDArray[np.uint8]:
        """Draw several pictures at once.

        Parameters
        ----------
        vectors : ndarray, shape (n, n_features), float32
            One embedding a picture.
        seeds : tuple of int
            One a picture.

        Returns
        -------
        ndarray, shape (n, height, width, 3), uint8
            sRGB.
        """
        expected = (len(seeds), self._generator.n_features)
        if vectors.shape != expected:
            raise ShapeError(
                f"embeddings have shape {vectors.shape}, expected {expected}: "
                "use an encoder that was trained for this generator."
            )
        like = self._generator.like
        vectors = np.array(vectors)
        owns = [None if self._own is None else self._own.find(vector) for vector in vectors]
        blends = [
            find_blend(vector, seed=seed) if self._blends and own is None else None
            for vector, seed, own in zip(vectors, seeds, owns, strict=True)
        ]
        for row, blend in enumerate(blends):
            if blend is not None:
                vectors[row] = blend.vector
        conditions = torch.from_numpy(vectors).to(like, non_blocking=True)
        noise = seeded_noise(seeds, self._generator.latent_shape, like=like)
        latents = next(noise)
        if None in owns:
            latents = self._denoise(latents, conditions)
        for row, own in enumerate(owns):
            if own is not None and self._own is not None:
                latents[row] = self._own.latents(own, float(np.linalg.norm(vectors[row])))[0]
        pixels = self.decode(latents)
        for row, (own, blend) in enumerate(zip(owns, blends, strict=True)):
            if self._is_flat and own is None:
                pixels[row] = flattened(pixels[row])
            if blend is not None:
                pixels[row] = blend.colour(pixels[row])
        return pixels if self._upscaler is None else self._upscaled(self._upscaler, pixels)

    def _upscaled(self, upscaler: Upscaler, pixels: Uint8) -> Uint8:
        """Pictures (n, height, width, 3) with twice the pixels, one by one."""
        like, made = self._generator.like, []
        for picture in pixels:
            levels = torch.from_numpy(picture).permute(2, 0, 1)[None].to(like)
            small = (levels / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)
            made.append(to_pixels(upscaler(small))[0])
        return np.stack(made)

    def _denoise(self, latents: Tensor, conditions: Tensor) -> Tensor:
        """Go from noise to scaled latents."""
        is_guided = self._guidance > 1.0
        if is_guided:
            conditions = torch.cat([torch.zeros_like(conditions), conditions])
        network = denoisers.in_dtype(self._network(conditions), conditions.dtype)
        if is_guided:
            network = denoisers.guided(denoisers.together(network), self._guidance)
        latents = latents.contiguous(memory_format=torch.channels_last)
        states = solvers.euler_flow(denoisers.clean(network), latents, self._levels)
        return solvers.last(states)

    def _network(self, conditions: Tensor) -> Network:
        """The prior's guess plus the U-Net's correction of it: clean latents of a noisy sample."""
        if self._cut is not None:
            return self._cut.network(conditions)
        tokens = self._generator.projection(conditions)
        guess = self._generator.prior(conditions).view(-1, *self._generator.latent_shape)

        def predict(x: Tensor, time: Tensor) -> Tensor:
            correction = self._unet(
                torch.cat([x, guess], dim=1),
                time,
                encoder_hidden_states=tokens,
                class_labels=conditions,
                return_dict=False,
            )[0]
            return torch.as_tensor(guess + self._generator.correction_scale * correction)

        return predict

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> npt.NDArray[np.uint8]:
        """Pixels (n, height, width, 3) uint8 of scaled latents (n, channels, height, width)."""
        return to_pixels(self._decoder((latents / self._scaling).to(self._generator.like)))


def load_sampler(
    folder: Path | None = None,
    *,
    revision: int = REVISION,
    num_inference_steps: int = 1,
    guidance_scale: float = 1.0,
    flat: bool = True,
    blend: bool = True,
    size: int = 128,
    graph_revision: int = GRAPH_REVISION,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> EmbeddedSampler:
    """Load the sampler with its weights (None: those that ship); `device` None: the CPU."""
    generator = load_generator(folder, revision=revision, device=device, dtype=dtype)
    return EmbeddedSampler(
        generator,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        flat=flat,
        blend=blend,
        graph_revision=graph_revision,
        upscaler=load_upscaler(like=generator.like) if size > SMALL else None,
        load_encoder=partial(load_picture_encoder, folder, revision=revision, like=generator.like),
    )
