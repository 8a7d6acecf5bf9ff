"""How good the drawn pictures look: every figure that decides whether new weights ship.

    python -m research.embedded.picture_quality --renders TGZ --pictures FILE --out JSON

Measures what is drawn in one step, as the app draws: identification by two networks (EfficientNet
-Lite0, of which the embeddings hold a projection, and Lite1, of which they hold nothing), pictures
kept apart, the autoencoder's fine detail, grain on plain background, the objects of least contrast,
midpoints between concepts, and what a seed changes. Prints a line for each goal; knows nothing of
training. `evaluate_generator` judges steps, fog and speed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderDC
from scipy.ndimage import gaussian_filter, minimum_filter
from sklearn.linear_model import LogisticRegression

from models.embedded.generator import PARTS, WEIGHTS, load_generator
from models.embedded.sampler import EmbeddedSampler
from pipeline.gallery import Gallery, load_gallery
from pipeline.values import Float32, Float64, Uint8
from research.embedded import every_picture
from research.embedded import renders as pictures
from research.embedded.autoencoding import FINE, round_trip
from research.embedded.evaluate_generator import Judge, draw, shown_pictures
from research.embedded.features import Looks
from research.embedded.train_autoencoder import canonical, held_out_pictures

N_PAIRS = 50
PAIRS_SEED = 50
N_LOW = 20
"""Pictures of the gallery with the least contrast, of which the five worst count."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, what it has to be, and whether it is."""

    what: str
    value: float
    least: float = -np.inf
    most: float = np.inf

    def __str__(self) -> str:
        bound = f">= {self.least:g}" if np.isfinite(self.least) else f"<= {self.most:g}"
        holds = "holds" if self.least <= self.value <= self.most else "DOES NOT HOLD"
        return f"{self.what}: {self.value:.3g} ({bound}): {holds}"


def fine_power(shown: Uint8) -> Float64:
    """Power above `FINE` cycles a pixel of each picture's grey, mean square of 8-bit levels."""
    grey = shown.astype(np.float64).mean(3)
    # Without a window the jump from one rim to the other would count as detail.
    window = np.hanning(grey.shape[1])[:, None] * np.hanning(grey.shape[2])
    spectrum = np.abs(np.fft.fft2((grey - grey.mean((1, 2), keepdims=True)) * window)) ** 2
    down, across = np.fft.fftfreq(grey.shape[1]), np.fft.fftfreq(grey.shape[2])
    fine = np.hypot(down[:, None], across[None]) >= FINE
    return np.asarray((spectrum * fine).sum((1, 2)) / grey[0].size ** 2)


def whole_power(shown: Uint8) -> Float64:
    """Power at every frequency but zero, as `fine_power`."""
    grey = shown.astype(np.float64).mean(3)
    window = np.hanning(grey.shape[1])[:, None] * np.hanning(grey.shape[2])
    part = (grey - grey.mean((1, 2), keepdims=True)) * window
    return np.asarray((part**2).mean((1, 2)))


def decibels(made: Uint8, wanted: Uint8) -> Float64:
    """Peak signal-to-noise ratio of each picture, dB, peak 255."""
    error = (made.astype(np.float64) - wanted.astype(np.float64)) ** 2
    return np.asarray(10 * np.log10(255**2 / np.maximum(error.mean((1, 2, 3)), 1e-3)))


def plain(shown: Uint8) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Pixels (n, height, width) that have nothing but background within four pixels."""
    near = (np.abs(shown.astype(int) - np.array(pictures.BACKGROUND)).max(3) <= 6).astype(np.uint8)
    return np.stack([minimum_filter(each, 9) for each in near]).astype(bool)


def grain(made: Uint8, where: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """Mean over pictures of the standard deviation on plain background, 8-bit levels."""
    values = made.astype(np.float64).mean(3)
    spread = [values[i][where[i]].std() for i in range(len(made)) if where[i].sum() > 64]
    return float(np.mean(spread))


def from_tensor(tensor: torch.Tensor) -> Uint8:
    """Pixels (n, height, width, 3) uint8 of pictures in [-1, 1]."""
    levels = ((tensor.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
    return levels.contiguous().numpy()


def low_contrast(
    shown: Uint8, through: Uint8, made: Uint8, labels: tuple[str, ...]
) -> dict[str, Any]:
    """The objects of least contrast: dB of the autoencoder alone, and of what is drawn."""
    faint = np.argsort(shown.astype(np.float64).std(axis=(1, 2)).mean(1))[:N_LOW]
    alone, drawn = decibels(through, shown), decibels(made, shown)
    worst = faint[np.argsort((drawn - alone)[faint])[:5]]
    return {
        "objects": {labels[i]: [round(alone[i], 2), round(drawn[i], 2)] for i in worst},
        "autoencoder_db": round(float(alone[worst].mean()), 2),
        "drawn_db": round(float(drawn[worst].mean()), 2),
        "largest_loss_db": round(float((alone - drawn)[worst].max()), 2),
        "faint_mean_loss_db": round(float((alone - drawn)[faint].mean()), 2),
        "gallery_mean_db": round(float(drawn.mean()), 2),
        "gallery_autoencoder_db": round(float(alone.mean()), 2),
    }


def pairs_of(gallery: Gallery) -> list[tuple[int, int]]:
    """Fifty pairs of different stimuli, drawn with `PAIRS_SEED`."""
    rng = np.random.default_rng(PAIRS_SEED)
    return [tuple(rng.choice(len(gallery), 2, replace=False).tolist()) for _ in range(N_PAIRS)]


def midpoints(gallery: Gallery) -> Float32:
    """Half way between the ends of each pair, on the sphere: (n_pairs, 64)."""
    first, second = np.array(pairs_of(gallery)).T
    half = gallery.embeddings[first] + gallery.embeddings[second]
    unit: Float32 = half / np.linalg.norm(half, axis=1, keepdims=True)
    return unit


class Dissolves:
    """Tells one thing from two that lie over each other: logistic regression on Lite0's features.

    Learnt from pictures through the autoencoder, so that softness says nothing, half of them laid
    over another at 35 to 65 %. One pair in four is kept to measure how often it is right.
    """

    def __init__(self, known: Uint8, looks: Looks) -> None:
        rng = np.random.default_rng(9)
        other = rng.permutation(len(known))
        share = rng.uniform(0.35, 0.65, len(known))[:, None, None, None]
        laid = (share * known + (1 - share) * known[other]).round().astype(np.uint8)
        x = np.concatenate([looks(known), looks(laid)]).astype(np.float64)
        self._mean, self._spread, self._looks = x.mean(0), x.std(0) + 1e-6, looks
        y = np.repeat([0, 1], len(known))
        test = np.tile(np.arange(len(known)) % 4 == 3, 2)
        self._model = LogisticRegression(C=1e-3, max_iter=2000)
        self._model.fit(self._scaled(x[~test]), y[~test])
        self.accuracy = float(self._model.score(self._scaled(x[test]), y[test]))

    def _scaled(self, x: Float64) -> Float64:
        scaled: Float64 = (x - self._mean) / self._spread
        return scaled

    def __call__(self, shown: Uint8) -> Float64:
        """Probability that each shows two things."""
        x = self._scaled(self._looks(shown).astype(np.float64))
        return np.asarray(self._model.predict_proba(x)[:, 1])


def blends(
    gallery: Gallery, sampler: EmbeddedSampler, made: Uint8, looks: Looks, known: Uint8
) -> dict[str, float]:
    """Midpoints: fine power against that of the ends, and how many are one thing."""
    ends = np.array(pairs_of(gallery))
    middle = draw(sampler, midpoints(gallery))
    power = fine_power(made)
    kept = fine_power(middle) / power[ends].mean(1)
    judge = Dissolves(known, looks)
    return {
        "pairs": N_PAIRS,
        "fine_power_kept": round(float(kept.mean()), 3),
        "pairs_above_0.8": round(float((kept >= 0.8).mean()), 3),
        "judged_one_thing": round(float((judge(middle) < 0.5).mean()), 3),
        "ends_judged_one_thing": round(float((judge(made[ends[:, 0]]) < 0.5).mean()), 3),
        "classifier_accuracy": round(judge.accuracy, 3),
    }


def seeds(gallery: Gallery, sampler: EmbeddedSampler) -> dict[str, float]:
    """What eight seeds change in twelve concepts: spread over seeds, coarse and fine."""
    part = gallery.embeddings[:: max(1, len(gallery) // 12)][:12]
    shown = np.stack([draw(sampler, np.repeat(row[None], 8, 0)) for row in part])
    values = shown.astype(np.float64).mean(-1)
    coarse = gaussian_filter(values, (0, 0, 2, 2))
    return {
        "spread": round(float(values.std(1).mean()), 3),
        "coarse_spread": round(float(coarse.std(1).mean()), 3),
    }


def megabytes(weights: Path) -> float:
    """All weight files of the generator."""
    files = (path for part in PARTS for path in (weights / part).glob("*.safetensors"))
    return round(sum(path.stat().st_size for path in files) / 1e6, 2)


def measure(
    *, weights: Path, package: Path, known: every_picture.Pictures, every: int,
    say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Every figure, by name."""
    sampler = EmbeddedSampler(load_generator(weights))
    vae = AutoencoderDC.from_pretrained(weights / "vae", local_files_only=True).float().eval()
    gallery = load_gallery().subset(kind="upright")
    gallery = gallery.subset(labels=gallery.labels[::every])
    shown, made = shown_pictures(gallery), draw(sampler, gallery.embeddings)
    tensor = torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 127.5 - 1
    through = from_tensor(round_trip(vae, tensor))
    found: dict[str, Any] = {"weights_mb": megabytes(weights)}
    where = plain(shown)
    found["grain"] = {"gallery": grain(shown, where), "drawn": grain(made, where)}
    found["grain"]["autoencoder"] = grain(through, where)
    found["low_contrast"] = low_contrast(shown, through, made, gallery.labels)
    found["fine_power_of_drawn"] = float(fine_power(made).sum() / fine_power(shown).sum())
    say(json.dumps(found))
    renders = pictures.read_renders(package)
    apart = [stem for stem, kept in zip(known.stems, known.apart, strict=True) if kept][::every]
    found["autoencoder"] = _autoencoder(vae, held_out_pictures(renders, apart))
    found["seeds"] = seeds(gallery, sampler)
    say(json.dumps(found["autoencoder"]))
    real = from_tensor(canonical(renders, apart))
    rows = {stem: row for row, stem in enumerate(known.stems)}
    unknown = draw(sampler, known.vectors[[rows[stem] for stem in apart]])
    for name, version in (("lite0", 0), ("lite1", 1)):
        looks = Looks(version)
        judge = Judge(looks, shown)
        found[f"identified_{name}"] = judge.identify(judge(made), gallery.categories)
        strange = Judge(looks, real)
        top1 = strange.identify(strange(unknown), apart)["top1"]
        found[f"kept_apart_{name}"] = {
            "n": len(apart), "top1": top1, "times_chance": round(top1 * len(apart), 1)
        }  # fmt: skip
        say(json.dumps({k: v for k, v in found.items() if name in k}))
    found["blends"] = blends(gallery, sampler, made, Looks(), through)
    return found


def _autoencoder(vae: AutoencoderDC, wanted: torch.Tensor) -> dict[str, float]:
    shown, through = from_tensor(wanted), from_tensor(round_trip(vae, wanted))
    values = decibels(through, shown)
    fine = fine_power(shown)
    return {
        "pictures": len(shown),
        "psnr_db_mean": round(float(values.mean()), 2),
        "psnr_db_p5": round(float(np.quantile(values, 0.05)), 2),
        "fine_power_kept": round(float(fine_power(through).sum() / fine.sum()), 4),
        "originals_fine_share_of_all_power": round(float(fine.sum() / whole_power(shown).sum()), 5),
        "autoencoders_fine_share_of_all_power": round(
            float(fine_power(through).sum() / whole_power(through).sum()), 5
        ),
    }


def goals(found: dict[str, Any]) -> list[Goal]:
    """What the figures have to be."""
    grains, faint, ae = found["grain"], found["low_contrast"], found["autoencoder"]
    both = ("lite0", "lite1")
    return [
        Goal("identified by Lite0, %", 100 * found["identified_lite0"]["top1"], 99),
        Goal("identified by Lite1, %", 100 * found["identified_lite1"]["top1"], 97),
        *(Goal(f"kept apart, times chance, {n}", found[f"kept_apart_{n}"]["times_chance"], 30)
          for n in both),
        Goal("autoencoder, dB", ae["psnr_db_mean"], 33),
        Goal("autoencoder, fine power kept, %", 100 * ae["fine_power_kept"], 12),
        Goal("grain", grains["drawn"], most=1.1 * grains["gallery"]),
        Goal("five faintest, loss in dB", faint["largest_loss_db"], most=2),
        Goal("midpoints, fine power kept, %", 100 * found["blends"]["fine_power_kept"], 80),
        Goal("midpoints, one thing, %", 100 * found["blends"]["judged_one_thing"], 80),
        Goal("weights, MB", found["weights_mb"], most=40),
    ]  # fmt: skip


def main() -> None:
    """Print and write every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True, help="of every_picture")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--out", type=Path, default=Path("docs/models/picture_quality.json"))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one in N: a test")
    options = parser.parse_args()
    found = measure(
        weights=options.weights, package=options.renders,
        known=every_picture.read(options.pictures), every=options.every,
        say=lambda text: print(text, flush=True),
    )  # fmt: skip
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))
    for goal in goals(found):
        print(goal)


if __name__ == "__main__":
    main()
