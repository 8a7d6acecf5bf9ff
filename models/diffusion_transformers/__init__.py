"""Few-step diffusion transformers as people have them: SANA-Sprint, Z-Image-Turbo, FLUX.2-klein.

They read the tokens of a language model. A small trained `projector` makes such tokens of a brain's
vector; `parts` reads a folder, `sana_sprint`, `z_image` and `flux2` say what each model is told and
how its latents lie, `generation` draws by `models.sampling`, `live` stands behind the ports. See
docs/models/diffusion_transformers.md.
"""
