"""The descriptions of the few-step transformers: generators alone, of folders that people have."""

from __future__ import annotations

from models.api import Entry, SystemDescriptor, Weights, installed_weights


def _describe(
    name: str, title: str, *, weights: Weights, opens: str, stage: str, reference: str
) -> SystemDescriptor:
    projector = Weights(
        "projector",
        (),
        f"projector/ in that folder: `phosphene train {name} projector --data GALLERY`; published "
        "are none. Without one it draws tokens of its language model's width",
    )
    return SystemDescriptor(
        name=name,
        title=title,
        target_space="the space of its projector, whichever that was trained for",
        generator=f"{title}, 512 to 1024 px",
        sampler="models.diffusion_transformers.live:load_sampler",
        weights=(weights, projector),
        folder=installed_weights(name),
        opens=(opens,),
        stages={
            "projector": Entry(
                f"models.diffusion_transformers.stage:{stage}",
                "a gallery's vectors to the tokens that the frozen transformer reads",
            )
        },
        reference=reference,
    )


SANA_SPRINT = _describe(
    "sana-sprint",
    "SANA-Sprint 0.6B and 1.6B",
    weights=Weights(
        "diffusion model",
        ("model_index.json",),
        "transformer/, vae/ and scheduler/ of Efficient-Large-Model/"
        "Sana_Sprint_0.6B_1024px_diffusers on Hugging Face (NVIDIA's licence NSCL v2-custom)",
    ),
    opens="SanaSprintPipeline",
    stage="run_sana_sprint",
    reference="Chen et al., arXiv 2503.09641",
)
Z_IMAGE = _describe(
    "z-image-turbo",
    "Z-Image-Turbo 6B",
    weights=Weights(
        "diffusion model",
        ("model_index.json",),
        "transformer/, vae/ and scheduler/ of Tongyi-MAI/Z-Image-Turbo on Hugging Face "
        "(Apache-2.0, 12 GB in bfloat16)",
    ),
    opens="ZImagePipeline",
    stage="run_z_image",
    reference="arXiv 2511.22699",
)
FLUX2 = _describe(
    "flux2-klein",
    "FLUX.2-klein 4B",
    weights=Weights(
        "diffusion model",
        ("model_index.json",),
        "transformer/, vae/ and scheduler/ of black-forest-labs/FLUX.2-klein-4B on Hugging Face "
        "(Apache-2.0, 8 GB in bfloat16)",
    ),
    opens="Flux2KleinPipeline",
    stage="run_flux2",
    reference="Black Forest Labs, FLUX.2-klein",
)
