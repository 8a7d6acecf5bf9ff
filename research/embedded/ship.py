"""Copy trained weights into the package, with their hashes and where they come from.

    python -m research.embedded.ship --weights DIR --keep-as N --logs DIR...

Knows the layout of `models/embedded/weights`; the encoder's folder there is left as it is. What
changes is kept as `revision_N`, for the sessions that were recorded with it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import shutil
from pathlib import Path

import diffusers
import torch

from models.embedded.generator import FILE, PARTS, WEIGHTS
from models.weights import hash_file, write_hashes
from pipeline.gallery import load_gallery


def main() -> None:
    """Copy, hash, describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="folder with vae, unet, ...")
    parser.add_argument("--keep-as", type=int, metavar="N", help="keep what changes as revision N")
    parser.add_argument("--logs", type=Path, nargs="*", default=[], help="log.jsonl files to keep")
    parser.add_argument(
        "--correction-scale", type=float, default=1.0, help="part of the UNet's correction taken"
    )
    parser.add_argument("--machine", default=platform.processor() or platform.machine())
    options = parser.parse_args()
    for part in PARTS:
        if options.keep_as is not None and changes(options.weights / part, WEIGHTS / part):
            kept = WEIGHTS / f"revision_{options.keep_as}" / part
            # A graph holds no weights: one is good for every revision.
            shutil.copytree(WEIGHTS / part, kept, ignore=shutil.ignore_patterns("graph*.onnx"))
        shutil.copytree(
            options.weights / part,
            WEIGHTS / part,
            ignore=shutil.ignore_patterns("*.jsonl", "*.log", "ended.json"),
            dirs_exist_ok=True,
        )
    index = WEIGHTS / "model_index.json"
    table = json.loads(index.read_text(encoding="utf-8"))
    table["correction_scale"] = options.correction_scale
    index.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    logs = Path(__file__).with_name("logs")
    logs.mkdir(exist_ok=True)
    for log in options.logs:
        shutil.copyfile(log, logs / f"{log.parent.name}.jsonl")
    for path in WEIGHTS.rglob("*"):
        # safetensors writes files that only their owner may read.
        path.chmod(0o755 if path.is_dir() else 0o644)
    files = [path for part in PARTS for path in sorted((WEIGHTS / part).iterdir())]
    facts = {
        "what": "generator of the embedded model: autoencoder, UNet, projection, prior (float16)",
        "trained_on": options.machine,
        "shipped": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "gallery_sha256": load_gallery().sha256,
        "steps": {log.parent.name: last_step(log) for log in options.logs},
        "data": "renders of @lobehub/fluent-emoji-3d 1.1.0 (MIT)",
        "licence": "MIT",
        "sha256": {path.relative_to(WEIGHTS).as_posix(): hash_file(path) for path in files},
    }
    (WEIGHTS / "weights.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    write_hashes(WEIGHTS)


def changes(new: Path, old: Path) -> bool:
    """Whether a part's weights are other ones than those that ship."""
    return hash_file(new / FILE) != hash_file(old / FILE)


def last_step(log: Path) -> int:
    """Steps that a log says were made."""
    return max(int(json.loads(line)["step"]) for line in log.read_text().strip("\n").split("\n"))


if __name__ == "__main__":
    main()
