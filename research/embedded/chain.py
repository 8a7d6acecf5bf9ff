"""The whole training of the embedded model, from the packages to the figures, in one command.

    python -m research.embedded.chain --out DIR

Owns the order of the stages, their arguments and the comparison of what came out with what ships.
What a stage does lives in the module that it runs, as a process of its own; its output goes to
`DIR/<stage>/output.log`. A stage that has ended is not run again: an interrupted chain goes on
where it was, and inside the long stages at their last saved state. Nothing in the package is
overwritten: `ship.py` does that, on purpose.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.embedded.generator import WEIGHTS
from models.weights import hash_file

RENDERS = "fluent-emoji-3d-1.1.0.tgz"
NAMES = "emoji-datasource-16.0.0.tgz"
DOCS = Path("docs/models")
Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One process of the chain: a module of this package and its arguments.

    `quick` are arguments that make it short: for a test that the chain holds together, not for
    weights that anybody should use.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    quick: tuple[str, ...] = ()

    def command(self, *, quick: bool) -> list[str]:
        """What is run."""
        module = f"research.embedded.{self.module}"
        return [sys.executable, "-P", "-m", module, *self.arguments, *(self.quick if quick else ())]


def stages(out: Path, renders: Path, names: Path) -> tuple[Stage, ...]:
    """Every stage in order; steps and seeds are fixed here or in the stage's own defaults."""
    made = out / "gallery" / "fluent_emoji"
    extras = out / "gallery" / "extras.safetensors"
    features = out / "gallery" / "features.safetensors"
    every = out / "pictures" / "every_picture.safetensors"
    vae = ("--vae", str(out / "dec" / "vae"))
    package = ("--renders", str(renders))
    canonical = out / "latents" / "canonical.safetensors"
    return (
        Stage(
            name="gallery",
            module="build_gallery",
            arguments=(
                *package, "--names", str(names),
                "--out", str(made), "--extras", str(extras),
                "--features", str(features),
            ),
            quick=("--variants", "0", "--every", "8"),
        ),
        Stage(
            name="pictures",
            module="every_picture",
            arguments=(
                *package, "--names", str(names), "--features", str(features),
                "--extras", str(extras), "--out", str(every),
            ),
            quick=("--every", "64"),
        ),
        Stage(
            name="ae",
            module="train_autoencoder",
            arguments=(*package, "--out", str(out / "ae")),
            quick=("--steps", "2", "--batch", "4"),
        ),
        Stage(
            name="dec",
            module="train_autoencoder",
            arguments=(
                *package, "--init", str(out / "ae" / "vae"), "--fold", "--part", "decoder",
                "--whole", "--batch", "4", "--steps", "8000", "--lr", "1e-3", "--texture", "12",
                "--seed", "2",
                "--out", str(out / "dec"),
            ),
            quick=("--steps", "2", "--batch", "4"),
        ),
        Stage(
            name="latents",
            module="latents",
            arguments=(
                "--canonical", *package, "--pictures", str(every), *vae, "--out", str(canonical),
            ),
            quick=("--every", "8"),
        ),
        Stage(
            name="prior",
            module="train_prior",
            arguments=("--latents", str(canonical), "--out", str(out / "prior")),
            quick=("--steps", "4", "--solve", "2"),
        ),
        Stage(
            name="unet",
            module="train_unet",
            arguments=(
                "--latents", str(canonical), *vae,
                "--prior", str(out / "prior"), "--out", str(out / "unet"),
            ),
            quick=("--steps", "2", "--batch", "4"),
        ),
        Stage(
            name="encoder",
            module="train_encoder",
            arguments=("--out", str(out / "encoder")),
            quick=(
                "--ridge-epochs", "96", "--pretrain-steps", "1", "--steps", "1",
                "--bank-seconds", "16", "--noise-epochs", "16",
            ),
        ),
        Stage(
            name="judge-generator",
            module="evaluate_generator",
            arguments=(
                "--weights", str(out / "unet" / "weights"),
                "--out", str(out / "judge-generator" / "generator.json"),
            ),
            quick=("--every", "32"),
        ),
        Stage(
            name="judge-pictures",
            module="picture_quality",
            arguments=(
                *package, "--pictures", str(every), "--weights", str(out / "unet" / "weights"),
                "--out", str(out / "judge-pictures" / "picture_quality.json"),
            ),
            quick=("--every", "4"),
        ),
        Stage(
            name="judge-encoder",
            module="evaluate_encoder",
            arguments=(
                "--weights", str(out / "encoder" / "weights"),
                "--out", str(out / "judge-encoder"), "--stimuli", "60", "--no-baselines",
            ),
            quick=("--people", "2", "--stimuli", "4", "--boards", "cyton", "--snrs", "1"),
        ),
    )  # fmt: skip


def run(stage: Stage, out: Path, *, quick: bool) -> None:
    """Run a stage unless it has ended before; its failure ends the chain."""
    folder = out / stage.name
    ended = folder / "ended.json"
    if ended.exists():
        print(f"{stage.name}: ended before", flush=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{stage.name}: running; its output is in {folder / 'output.log'}", flush=True)
    command = stage.command(quick=quick)
    started = time.monotonic()
    with (folder / "output.log").open("a", encoding="utf-8") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if code != 0:
        raise SystemExit(
            f"Stage {stage.name!r} failed with exit code {code}: the reason is at the end of "
            f"{folder / 'output.log'}; run the same command again to go on from there."
        )
    minutes = round((time.monotonic() - started) / 60, 2)
    facts = {"command": command[1:], "minutes": minutes, "quick": quick}
    ended.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"{stage.name}: {minutes} minutes", flush=True)


def generator_figures(path: Path) -> Figures:
    """What `evaluate_generator` found, by name."""
    found = json.loads(path.read_text(encoding="utf-8"))
    seen = found["identification"]
    return {
        "identified in 1 step, %": 100 * seen["upright, 1 steps"]["top1"],
        "identified in 4 steps, %": 100 * seen["upright, 4 steps"]["top1"],
        "feature distance, 4 steps": found["feature_distance_by_steps"]["4 steps"],
        "feature distance, 50 steps": found["feature_distance_by_steps"]["50 steps"],
    }


def picture_figures(path: Path) -> Figures:
    """What `picture_quality` found, by name."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        "autoencoder, PSNR, dB": found["autoencoder"]["psnr_db_mean"],
        "autoencoder, fine power kept, %": 100 * found["autoencoder"]["fine_power_kept"],
        "grain on plain background": found["grain"]["drawn"],
        "kept apart, times chance, by Lite1": found["kept_apart_lite1"]["times_chance"],
        "midpoints judged one thing, %": 100 * found["blends"]["judged_one_thing"],
    }


def encoder_figures(path: Path) -> Figures:
    """Zero-shot top-1 of `evaluate_encoder` by board and SNR."""
    lines = json.loads(path.read_text(encoding="utf-8"))
    return {
        f"encoder, {line['board']}, SNR {line['snr']:g}, top-1 %": _mean(line["top1"])
        for line in lines
        if line["system"] == "encoder, zero-shot"
    }


def _mean(text: str | float) -> float:
    """The mean of `mean ±half-width`."""
    return float(str(text).split(" ")[0])


def compared(made: Figures, shipped: Figures) -> str:
    """A Markdown table of what this run made beside what ships."""
    rows = ["| figure | shipped | this run |", "| --- | --- | --- |"]
    for name, value in made.items():
        known = f"{shipped[name]:.2f}" if name in shipped else "-"
        rows.append(f"| {name} | {known} | {value:.2f} |")
    return "\n".join(rows)


def report(out: Path) -> str:
    """The comparison, and whether the gallery came out as the one that ships."""
    made = generator_figures(out / "judge-generator" / "generator.json")
    made |= picture_figures(out / "judge-pictures" / "picture_quality.json")
    made |= encoder_figures(out / "judge-encoder" / "encoder.json")
    shipped: Figures = {}
    if (DOCS / "generator.json").exists():
        shipped |= generator_figures(DOCS / "generator.json")
    if (DOCS / "picture_quality.json").exists():
        shipped |= picture_figures(DOCS / "picture_quality.json")
    if (DOCS / "encoder.json").exists():
        shipped |= encoder_figures(DOCS / "encoder.json")
    ours = Path("pipeline/gallery/fluent_emoji/phosphene-gallery-64.safetensors")
    theirs = out / "gallery" / "fluent_emoji" / "phosphene-gallery-64.safetensors"
    same = ours.exists() and hash_file(ours) == hash_file(theirs)
    # Another kind of processor rounds otherwise: equal bytes are expected on the same one only.
    sentence = "equal, byte for byte" if same else "NOT the one that ships"
    return f"{compared(made, shipped)}\n\nGallery table built by this run: {sentence}.\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run every stage, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/embedded"))
    parser.add_argument("--packages", type=Path, help="folder of the npm tarballs; OUT/packages")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a few steps each: tests the chain")
    options = parser.parse_args(argv)
    packages: Path = options.packages or options.out / "packages"
    for name in (RENDERS, NAMES):
        if not (packages / name).is_file():
            parser.error(
                f"{packages / name} is not there: `python scripts/fetch_packages.py {packages}` "
                "fetches it."
            )
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    for stage in stages(options.out, packages / RENDERS, packages / NAMES):
        run(stage, options.out, quick=options.quick)
    text = report(options.out)
    (options.out / "report.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\nTo ship these weights: python -m research.embedded.ship --help")
    print(f"Weights that ship now are in {WEIGHTS}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
