"""The generator's two small networks as diffusers models, so that `from_pretrained` reads each.

Owns nothing but their configuration: the layers are diffusers' own.
"""

from __future__ import annotations

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.embeddings import ImageProjection, PixArtAlphaTextProjection
from diffusers.models.modeling_utils import ModelMixin


class Projection(ImageProjection, ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Embedding (n, n_features) to tokens (n, n_tokens, cross_attention_dim)."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        image_embed_dim: int = 64,
        cross_attention_dim: int = 128,
        num_image_text_embeds: int = 4,
    ) -> None:
        super().__init__(image_embed_dim, cross_attention_dim, num_image_text_embeds)


class Prior(PixArtAlphaTextProjection, ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Embedding (n, n_features) to a guess of its latents, flat: what it may mean, averaged."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, in_features: int = 64, hidden_size: int = 1024, out_features: int = 4096
    ) -> None:
        super().__init__(in_features, hidden_size, out_features)
