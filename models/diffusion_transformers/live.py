"""The few-step transformers behind the ports: a vector becomes tokens, tokens a picture.

Owns loading from a folder, and which space it draws: its projector's, or the tokens' own. Knows
nothing of streams or of training.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from configs import DecoderConfig
from models.accelerators import choose_device, choose_dtype
from models.api import SamplerSpec, installed_weights
from models.diffusion_transformers.family import Family
from models.diffusion_transformers.generation import TokenGenerator
from models.diffusion_transformers.parts import read_parts
from models.diffusion_transformers.projector import FOLDER, Projector, files_of, load_projector
from models.stable_diffusion.errors import StableDiffusionError
from models.stable_diffusion.folder_sampler import FolderSampler
from models.stable_diffusion.live import read_settings
from models.weights import hash_files
from pipeline.errors import ShapeError
from pipeline.values import Embedding

SIZE = 512
"""Side of a picture unless the folder's `system.json` says another, pixels."""


class TransformerSampler(FolderSampler[Tensor]):
    """A generator of the family; satisfies `models.api.Sampler`.

    Parameters
    ----------
    generator : TokenGenerator
    projector : Projector or None
        None: the vector is tokens already.
    width : int
        Features of a token.
    spec : SamplerSpec
    remarks : tuple of str
    """

    def __init__(
        self,
        generator: TokenGenerator,
        *,
        projector: Projector | None,
        width: int,
        spec: SamplerSpec,
        remarks: tuple[str, ...] = (),
    ) -> None:
        facts = {"condition": "tokens" if projector is None else "projector"}
        super().__init__(generator, spec=spec, facts=facts, remarks=remarks)
        self.generator, self._projector, self._width = generator, projector, width

    def condition(self, embedding: Embedding) -> Tensor:
        """Make what the transformer reads: (n_tokens, width).

        Raises
        ------
        ShapeError
            As `sample`.
        """
        vector = torch.from_numpy(np.array(np.squeeze(embedding.vector), dtype=np.float32))
        if self._projector is None:
            fits, expected = vector.ndim == 2 and vector.shape[-1] == self._width, "(n_tokens, "
            expected += f"{self._width})"
        else:
            n = self._projector.config.n_features
            fits, expected = vector.shape == (n,), f"({n},)"
        if not fits:
            raise ShapeError(
                f"the embedding has shape {embedding.vector.shape}, expected {expected}: use an "
                f"encoder of the space {self._spec.space!r}."
            )
        if self._projector is None:
            return vector
        with torch.inference_mode():
            return torch.as_tensor(self._projector(vector[None])[0])


def load_sampler(config: DecoderConfig) -> TransformerSampler:
    """Load the generator that `config.weights` names, a folder.

    Raises
    ------
    PhospheneError
        A part is missing, unsafe, or does not fit the others.
    """
    name = config.generator or "sana-sprint"
    folder = Path(config.weights) if config.weights is not None else installed_weights(name)
    parts = read_parts(folder)
    family, settings = parts.family, read_settings(folder)
    size = settings.size or SIZE
    if size % family.multiple:
        raise StableDiffusionError(
            f"{folder} has size {size} in system.json, expected a multiple of {family.multiple}."
        )
    width = family.width(parts.transformer)
    place = folder / FOLDER
    projector = load_projector(place, width=width) if place.is_dir() else None
    steps = config.num_inference_steps
    guidance = config.guidance_scale or settings.guidance_scale or family.guidance
    device = choose_device(config.device)
    generator = TokenGenerator(
        parts,
        steps=steps,
        size=size,
        guidance=guidance,
        device=device,
        dtype=choose_dtype(config),
    )
    own = settings.space or f"text-tokens-{width}"
    return TransformerSampler(
        generator,
        projector=projector,
        width=width,
        spec=SamplerSpec(
            name=family.name,
            space=own if projector is None else projector.config.space,
            size=(size, size),
            steps=steps,
            sha256=hash_files(parts.files if projector is None else parts.files + files_of(place)),
            device=str(device),
        ),
        remarks=_remarks(family, steps, config, is_projected=projector is not None, folder=folder),
    )


def _remarks(
    family: Family, steps: int, config: DecoderConfig, *, is_projected: bool, folder: Path
) -> tuple[str, ...]:
    remarks: list[str] = []
    if steps < family.n_steps:
        remarks.append(
            f"{family.name} draws in {steps} steps, published are {family.n_steps} "
            "(decoder.num_inference_steps)."
        )
    if config.guidance_scale not in {None, 1.0} and family.guidance == 1.0:
        remarks.append(f"{family.name} was distilled without a guidance: --guidance does nothing.")
    if not is_projected:
        remarks.append(
            f"{folder} has no {FOLDER}/: it draws tokens alone, of an encoder that makes them; "
            f"`phosphene train {family.name} projector` makes one."
        )
    return tuple(remarks)
