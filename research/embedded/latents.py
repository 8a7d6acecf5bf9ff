"""What the generator learns from: latents of posed and fogged gallery pictures, cached.

    python -m research.embedded.latents --renders TGZ --pictures FILE --vae DIR --out FILE

Two ideas decide the generator's manners, and both live here.

*Fog by design.* The length s of a condition is its confidence, and a regression that does not know
returns a short vector. So the target of s * c is the picture of c behind fog that thickens as s
falls (`fog_of`), and a condition without content shows fog, not a confident wrong object.

*Poses tied to the noise.* The pose of a training picture (tilt, size, background) is drawn from
four standard normal numbers, and the same four numbers are written into the noise that the picture
is paired with: they are its scaled channel means, so the noise stays exactly N(0, I). This is a
coupling in the sense of rectified flow (Liu et al. 2023, arXiv 2209.03003): the picture is then a
function of (condition, noise), the paths are nearly straight, and a single step draws a sharp
picture where an independent coupling would draw the average over poses.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderDC
from PIL import Image
from safetensors.torch import save_file

from models.embedded.fog import BLIND, CLEAR, veiled
from pipeline.gallery import Gallery, Stimulus, load_gallery
from research.embedded import every_picture
from research.embedded import renders as pictures

FOG_LEVELS = (0.0, 0.12, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
N_POSE = 4
SCALING = 1.08
"""Makes the gallery's latents unit variance; the encoder's own are so over all renders."""
N_CLEAR = 5
N_FOGGED = 1
N_EXTRA = 1


def length_of(fog: float | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Longest condition that has this fog: the inverse of `fog_of` on its slope."""
    return CLEAR - np.asarray(fog) * (CLEAR - BLIND)


def pose_of(numbers: npt.NDArray[np.float64], *, angle: float) -> tuple[pictures.Pose, int]:
    """Pose and shade of the background from four standard normal numbers."""
    tilt, size, shade, lift = np.clip(numbers, -2.5, 2.5)
    pose = pictures.Pose(
        angle=angle + 2.5 * float(tilt),
        scale=float(np.exp(0.02 * size)),
        shift=(0.0, 0.012 * float(lift)),
    )
    return pose, round(9.0 * float(shade))


def shaded(shade: int) -> tuple[int, int, int]:
    """The gallery's background, lighter or darker."""
    red, green, blue = (min(255, max(0, value + shade)) for value in pictures.BACKGROUND)
    return red, green, blue


def draw(
    stimulus: Stimulus,
    renders: Mapping[str, Image.Image],
    numbers: npt.NDArray[np.float64],
) -> Image.Image:
    """Picture of a stimulus in the pose that four numbers ask for, 128 px."""
    if stimulus.kind == "checkerboard":
        return pictures.checkerboard(128, stimulus.label.removeprefix("checkerboard-"))
    angle = 180.0 if stimulus.kind == "inverted" else 0.0
    pose, shade = pose_of(numbers, angle=angle)
    background = pictures.flat_background(128, shaded(shade))
    return pictures.compose(renders[str(stimulus.code_point)], pose, background)


@torch.no_grad()
def encode(vae: AutoencoderDC, batch: list[pictures.Uint8]) -> torch.Tensor:
    """Unscaled latents (n, 16, 16, 16) of 128 px pictures."""
    stacked = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    latents: torch.Tensor = vae.encoder(stacked.contiguous(memory_format=torch.channels_last))
    return latents


def outside(known: every_picture.Pictures, gallery: Gallery) -> every_picture.Pictures:
    """The renders that show no concept of the gallery."""
    inside = {each.code_point for each in gallery.stimuli}
    rows = [row for row, stem in enumerate(known.stems) if stem not in inside]
    return every_picture.Pictures(
        tuple(known.stems[row] for row in rows), known.vectors[rows], known.apart[rows]
    )


def main() -> None:
    """Encode every stimulus in several poses and fogs, and the renders outside the gallery."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True, help="of every_picture")
    parser.add_argument("--vae", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--canonical", action="store_true", help="the gallery's own pose only")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one in N: a test")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    renders = pictures.read_renders(options.renders)
    vae = AutoencoderDC.from_pretrained(options.vae, local_files_only=True).float().eval()
    vae.to(memory_format=torch.channels_last)
    gallery = load_gallery()
    others = outside(every_picture.read(options.pictures), gallery)
    conditions = torch.cat(
        [torch.from_numpy(gallery.embeddings.copy()), torch.from_numpy(others.vectors)]
    )
    shown = list(gallery.stimuli) + [
        Stimulus(stem, stem, "extra", "upright", stem, stem) for stem in others.stems
    ]
    unseen = set((len(gallery) + np.flatnonzero(others.apart)).tolist())
    latents, numbers, owners, levels = [], [], [], []
    batch: list[pictures.Uint8] = []
    for owner, stimulus in enumerate(shown):
        if owner in unseen or owner % options.every:
            continue
        inside = owner < len(gallery)
        for level, fog in enumerate(FOG_LEVELS[: None if inside else 1]):
            n_poses = (N_CLEAR if level == 0 else N_FOGGED) if inside else N_EXTRA
            for _ in range(1 if options.canonical else n_poses):
                four = rng.standard_normal(N_POSE) * (0.0 if options.canonical else 1.0)
                picture = veiled(draw(stimulus, renders, four), fog)
                batch.append(pictures.to_array(picture))
                numbers.append(four)
                owners.append(owner)
                levels.append(level)
        if len(batch) >= 32:
            latents.append(encode(vae, batch).half())
            batch = []
    if batch:
        latents.append(encode(vae, batch).half())
    packed = {
        "latents": torch.cat(latents).contiguous(),
        "numbers": torch.tensor(np.stack(numbers), dtype=torch.float32),
        "owners": torch.tensor(owners),
        "levels": torch.tensor(levels),
        "conditions": conditions,
    }
    spread = float(packed["latents"][packed["levels"] == 0].float().std())
    notes = {"spread": str(spread), "n_gallery": str(len(gallery))}
    save_file(packed, options.out, metadata=notes)
    print(json.dumps({"n": len(owners), **notes, "gallery": gallery.sha256}))


if __name__ == "__main__":
    main()
