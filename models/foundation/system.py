"""The descriptions of the published encoders."""

from __future__ import annotations

from models.api import Entry, SystemDescriptor, Weights, installed_weights

MODEL_NAME = "model.safetensors"
_HEAD = (
    "A feature extractor: `phosphene calibrate --methods {name}` offers its features to the choice "
    "among a person's decoders. Comparisons (NeuralBench, arXiv 2601.17883) find such encoders "
    "little or no better than small networks. Looks at 0 to 0.6 s, padded to whole patches."
)


def _describe(
    name: str,
    title: str,
    *,
    shape: str,
    source: str,
    reference: str,
    files: str = "FILE",
    more: str = "",
) -> SystemDescriptor:
    return SystemDescriptor(
        name=name,
        title=title,
        input_shape=shape,
        target_space="mean of its tokens, to fit a head to",
        space=f"{name}-features",
        encoder="models.foundation.encoder:load_encoder",
        weights=(
            Weights(
                "pretrained encoder",
                (MODEL_NAME,),
                f"{source}, then `phosphene import {name} {files} --out FOLDER`",
            ),
        ),
        folder=installed_weights(name),
        importer=Entry(
            f"models.foundation.importing:import_{name}",
            "one published checkpoint" if files == "FILE" else "checkpoint and table of positions",
        ),
        reference=reference,
        notes=_HEAD.format(name=name) + more,
    )


LABRAM = _describe(
    "labram",
    "LaBraM",
    shape="(channels of the 10-20 system, patches of 1 s at 200 Hz)",
    source="labram-base.pth of github.com/935963004/LaBraM, or model.safetensors of "
    "huggingface.co/braindecode/labram-pretrained (Apache-2.0, second-hand: see their pages)",
    reference="Jiang et al., ICLR 2024, arXiv 2405.18765",
)
CBRAMOD = _describe(
    "cbramod",
    "CBraMod",
    shape="(any channels, patches of 1 s at 200 Hz)",
    source="pretrained_weights.pth of huggingface.co/weighting666/CBraMod, or model.safetensors of "
    "huggingface.co/braindecode/cbramod-pretrained (tagged BSD-3: see their pages)",
    reference="Wang et al., ICLR 2025, arXiv 2412.07236",
)
STEEGFORMER = _describe(
    "steegformer",
    "ST-EEGFormer",
    shape="(channels of the 10-05 system, patches of 1/8 s at 128 Hz)",
    source="checkpoint-*.pth (small, base, large) of github.com/LiuyinYang1101/STEEGFormer (MIT), "
    "or model.safetensors of huggingface.co/braindecode/STEEGFormer-small",
    reference="Yang et al., ICLR 2026, openreview.net/forum?id=5Xwm8e6vbh",
)
BIOT = _describe(
    "biot",
    "BIOT",
    shape="(pairs of neighbouring electrodes of the 10-20 system, patches of 1 s at 200 Hz)",
    source="EEG-PREST-16-channels.ckpt or a sibling with 18 of github.com/ycq091044/BIOT (MIT), or "
    "model.safetensors of huggingface.co/braindecode/biot-pretrained-prest-16chs",
    reference="Yang et al., NeurIPS 2023, arXiv 2305.10351",
    more=" It reads differences of neighbours (FP1-F7, P7-O1, ...): of eight electrodes over the "
    "back of the head it has P7-O1 and P8-O2 alone.",
)
EEGPT = _describe(
    "eegpt",
    "EEGPT",
    shape="(62 channels of the 10-10 system, patches of 1/4 s at 256 Hz, half overlapping)",
    source="model.safetensors of huggingface.co/braindecode/eegpt-pretrained, or "
    "eegpt_mcae_58chs_4s_large4E.ckpt as github.com/BINE022/EEGPT links it (no licence was found "
    "for the weights: ask their authors)",
    reference="Wang et al., NeurIPS 2024",
)
REVE = _describe(
    "reve",
    "REVE",
    shape="(any electrodes of its table, patches of 1 s at 200 Hz, 20 samples overlapping)",
    source="model.safetensors of huggingface.co/brain-bzh/reve-base (after agreeing to its terms) "
    "and positions.json of huggingface.co/brain-bzh/reve-positions",
    reference="El Ouahidi et al., NeurIPS 2025, arXiv 2510.21585",
    files="model.safetensors positions.json",
)
