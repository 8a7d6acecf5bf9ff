"""The descriptions of Stable Diffusion's family: generators alone, of folders that people have."""

from __future__ import annotations

from models.api import CLIP_H_IMAGE, SystemDescriptor, Weights, installed_weights

_ADAPTER = "Hugging Face h94/IP-Adapter (Apache-2.0), as .safetensors, in the folder or in "

SYSTEM = SystemDescriptor(
    name="stable-diffusion",
    title="Stable Diffusion 1.x and 2.x, SD-Turbo, LCM",
    target_space="OpenCLIP ViT-H-14 (1024) through an IP-Adapter; without one, text contexts",
    space=CLIP_H_IMAGE,
    generator="Stable Diffusion 1.x/2.x (with IP-Adapter, LCM-LoRA, taesd), 512 px",
    sampler="models.stable_diffusion.live:load_sampler",
    weights=(
        Weights(
            "diffusion model",
            ("model_index.json",),
            "a folder in diffusers' layout or one .safetensors file, `--generator FOLDER`: "
            "stable-diffusion-v1-5/stable-diffusion-v1-5 (CreativeML OpenRAIL-M, 2.8 GB in half "
            "precision), stabilityai/sd-turbo (non-commercial community licence, 2.6 GB), "
            "SimianLuo/LCM_Dreamshaper_v7 (MIT, 3.4 GB), all on Hugging Face",
        ),
        Weights(
            "image conditioning",
            (),
            f"ip-adapter_sd15.safetensors (45 MB): {_ADAPTER}{installed_weights('ip-adapter')}",
        ),
        Weights(
            "few steps (optional)",
            (),
            "latent-consistency/lcm-lora-sdv1-5 (OpenRAIL++, 135 MB) as "
            "lcm-lora/pytorch_lora_weights.safetensors; other LoRAs in lora/",
        ),
        Weights("fast decoding (optional)", (), "madebyollin/taesd (MIT, 10 MB) as vae_tiny/"),
    ),
    folder=installed_weights("stable-diffusion"),
    opens=("StableDiffusionPipeline", "LatentConsistencyModelPipeline", ".safetensors", ".ckpt"),
)

XL = SystemDescriptor(
    name="sdxl",
    title="Stable Diffusion XL and SDXL-Turbo",
    target_space="OpenCLIP ViT-H-14 (1024) through an IP-Adapter; without one, pooled text (1280)",
    space=CLIP_H_IMAGE,
    generator="Stable Diffusion XL (with IP-Adapter, LCM-LoRA, taesdxl), 512 to 1024 px",
    sampler="models.stable_diffusion.live:load_sampler",
    weights=(
        Weights(
            "diffusion model",
            ("model_index.json",),
            "a folder in diffusers' layout or one .safetensors file, `--generator FOLDER`: "
            "stabilityai/sdxl-turbo (non-commercial community licence, 7 GB in half precision), "
            "stabilityai/stable-diffusion-xl-base-1.0 (OpenRAIL++, 7 GB), both on Hugging Face",
        ),
        Weights(
            "image conditioning",
            (),
            "ip-adapter_sdxl_vit-h.safetensors (700 MB): "
            f"{_ADAPTER}{installed_weights('ip-adapter')}",
        ),
        Weights(
            "few steps (optional)",
            (),
            "latent-consistency/lcm-lora-sdxl (OpenRAIL++, 394 MB) as "
            "lcm-lora/pytorch_lora_weights.safetensors; other LoRAs in lora/",
        ),
        Weights("fast decoding (optional)", (), "madebyollin/taesdxl (MIT, 10 MB) as vae_tiny/"),
    ),
    folder=installed_weights("sdxl"),
    opens=("StableDiffusionXLPipeline",),
)
