"""One decoding system, ready to run: an encoder and a sampler behind the ports.

Owns the choice by name and the settings of torch that make a picture repeatable. Knows nothing
of streams, processes or windows.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from configs import DecoderConfig
from configs.guard import UnfitFileError, check_tree
from models.extras import extras_named
from pipeline.errors import PhospheneError
from pipeline.ports import Encoder, ImageSampler, StatesOptions
from pipeline.values import Epoch, Info

LOADERS = {
    "atm": "models.atm.live:load",
    "atm-multimodal": "models.multimodal.live:load",
    "atm-multimodal-toy": "models.multimodal.live:load_toy",
    "atm-toy": "models.atm.live:load_toy",
    "dreamdiffusion": "models.dreamdiffusion.live:load",
    "dreamdiffusion-toy": "models.dreamdiffusion.live:load_toy",
}
"""Published systems by name: `module:function`, which takes a `DecoderConfig` and returns an
`Encoder` and an `ImageSampler`."""


class UnknownSystemError(PhospheneError):
    """A system is unknown, or its weights are missing or damaged."""


@dataclass(frozen=True, slots=True)
class System:
    """An encoder and a sampler that belong together."""

    name: str
    encoder: Encoder
    sampler: ImageSampler
    device: str
    versions: Mapping[str, str]
    idle: tuple[str, ...] = ()
    """Sentences on settings of the session that this system has no use for."""

    @property
    def options(self) -> Mapping[str, str | int | float]:
        """Which settings act on its pictures, as far as its sampler says so."""
        return self.sampler.options if isinstance(self.sampler, StatesOptions) else {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on settings that do not act as one would think."""
        own = self.sampler.remarks if isinstance(self.sampler, StatesOptions) else ()
        return (*self.idle, *own)

    def warm_up(self) -> None:
        """Decode one epoch of noise, so that the first real one meets warm code."""
        spec = self.encoder.spec
        # A person's adapter takes the montage that it was calibrated on, or one much like it.
        person = getattr(getattr(self.encoder, "inner", self.encoder), "manifest", None)
        own: tuple[str, ...] = spec.ch_names or getattr(person, "ch_names", ())
        ch_names = own or ("O1", "Oz", "O2", "P7", "P8")
        n_times = round((spec.tmax - spec.tmin) * spec.sfreq) + 1
        noise = np.random.default_rng(0).normal(0, 10, (len(ch_names), n_times))
        epoch = Epoch(
            data=noise.astype(np.float32),
            tmin=spec.tmin,
            tmax=spec.tmax,
            t_onset=0.0,
            event="",
            info=Info(ch_names, spec.sfreq),
            index=0,
        )
        for _ in range(2):
            self.sampler.sample(self.encoder.encode(epoch), seed=0)


def load_system(config: DecoderConfig) -> System:
    """Load the system that `config` names, from its installed weights or `config.weights`.

    Raises
    ------
    PhospheneError
        The name is unknown, or a weight file is missing or damaged; the sentence says which.
    """
    _make_repeatable(config.threads)
    _check_folders(config)
    if config.system in LOADERS:
        if config.adapter is not None:
            load_encoder(config)  # refuses it
        return _load_published(config)
    if config.system != "embedded":
        raise UnknownSystemError(
            f"system {config.system!r} cannot run live, expected 'embedded' or one of "
            f"{', '.join(sorted(LOADERS))}: see `phosphene systems` for what each one needs."
        )
    import diffusers

    from models.embedded.sampler import load_sampler

    folder = None if config.weights is None else Path(config.weights)
    return System(
        name="embedded",
        encoder=load_encoder(config),
        sampler=load_sampler(
            folder,
            num_inference_steps=config.num_inference_steps,
            guidance_scale=1.0 if config.guidance_scale is None else config.guidance_scale,
        ),
        device="cpu",
        versions={"torch": str(torch.__version__), "diffusers": diffusers.__version__},
    )


def _check_folders(config: DecoderConfig) -> None:
    """Refuse folders of a stranger's settings that hold what would hang whoever opens it."""
    for folder in (config.weights, config.adapter):
        try:
            if folder is not None:
                check_tree(folder)
        except UnfitFileError as error:
            raise UnknownSystemError(
                f"{error.filename} cannot be read ({error}): give a folder of weights on the disk."
            ) from None
        except OSError:
            continue  # what is missing, and what it takes, its loader says better


def import_system(config: DecoderConfig) -> None:
    """Import the modules of the system that `config` names, and load nothing."""
    if config.system in LOADERS:
        importlib.import_module(LOADERS[config.system].partition(":")[0])
        return
    for name in ("models.embedded.encoder", "models.embedded.sampler", "models.adapters"):
        importlib.import_module(name)


def load_encoder(config: DecoderConfig) -> Encoder:
    """Load the encoder alone, the adapter's where `config` names one; from any thread.

    It stands behind online alignment, which begins frozen and then changes nothing.

    Raises
    ------
    PhospheneError
        A file is missing or damaged, or the system takes no adapter.
    """
    # Torch keeps this setting by thread.
    torch.set_grad_enabled(False)
    if config.system != "embedded":
        raise UnknownSystemError(
            f"system {config.system!r} takes no adapter, expected 'embedded': leave out "
            "decoder.adapter, or choose that system."
        )
    from models.embedded.encoder import load_encoder as load_embedded

    embedded = load_embedded(None if config.weights is None else Path(config.weights) / "encoder")
    if config.adapter is not None:
        from models.adapters import load_live

        return load_live(Path(config.adapter), encoder=embedded)
    from models.adapters import OnlineAligned
    from models.adapters.parts.plain import pool_covariance

    # Frozen: nothing changes unless the user lets alignment follow.
    return OnlineAligned(embedded, reference=pool_covariance)


def _load_published(config: DecoderConfig) -> System:
    import diffusers

    module, _, function = LOADERS[config.system].partition(":")
    with extras_named(f"The system {config.system}"):
        encoder, sampler = getattr(importlib.import_module(module), function)(config)
    idle = f"{config.system} follows nobody: --align (decoder.align) changes nothing with it."
    return System(
        name=config.system,
        encoder=encoder,
        sampler=sampler,
        device="cpu",
        versions={"torch": str(torch.__version__), "diffusers": diffusers.__version__},
        idle=(idle,) if config.align else (),
    )


def _make_repeatable(threads: int) -> None:
    # The order of a sum depends on how many threads share it: one count, one picture.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_grad_enabled(False)
