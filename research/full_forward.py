"""One scan or epoch through a full-size system: how long each part takes, and the peak memory.

    python -m research.full_forward FOLDER --system mindeye --dtype bfloat16 --steps 20

FOLDER is of `python -m research.full_size`, or of real weights. Prints JSON: seconds of loading,
encoding (the first, which reads mapped weights, and a second one) and drawing, and the largest
resident memory of the process, GiB.
"""

from __future__ import annotations

import argparse
import json
import resource
from pathlib import Path
from time import perf_counter
from typing import Any

from configs import DecoderConfig
from models.repeatable import make_repeatable
from models.stable_diffusion.libraries import quiet_libraries
from models.systems import load_encoder, load_sampler, noise_epoch


def measure(config: DecoderConfig) -> dict[str, Any]:
    """Load, encode twice, draw once."""
    make_repeatable(config.threads)
    began = perf_counter()
    encoder = load_encoder(config)
    found: dict[str, Any] = {"load_encoder_s": perf_counter() - began}
    epoch = noise_epoch(encoder.spec)
    for name in ("first_encode_s", "encode_s"):
        began = perf_counter()
        embedding = encoder.encode(epoch)
        found[name] = perf_counter() - began
    found["peak_gib_encoder"] = peak_gib()
    began = perf_counter()
    sampler = load_sampler(config)
    found["load_sampler_s"] = perf_counter() - began
    began = perf_counter()
    image = sampler.sample(embedding, seed=0)
    found["draw_s"] = perf_counter() - began
    return found | {
        "peak_gib": peak_gib(),
        "embedding": list(embedding.vector.shape),
        "picture": list(image.pixels.shape),
        "threads": config.threads,
        "dtype": config.dtype,
        "steps": config.num_inference_steps,
    }


def peak_gib() -> float:
    """Largest resident memory of this process so far, GiB (Linux counts KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def main() -> None:
    """Measure one folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--system", required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    quiet_libraries()
    config = DecoderConfig(
        system=args.system,
        weights=str(args.folder),
        num_inference_steps=args.steps,
        threads=args.threads,
        dtype=args.dtype,
    )
    found = measure(config)
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}
    print(json.dumps(rounded, indent=2))


if __name__ == "__main__":
    main()
