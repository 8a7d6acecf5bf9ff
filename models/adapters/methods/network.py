"""What methods have in common that reach into the shipped encoder's network."""

from __future__ import annotations

from typing import Any

from models.adapters.bases import PictureBase
from models.adapters.methods.base import Method
from models.adapters.network_base import NetworkBase, NetworkBatch


class NetworkMethod(Method[NetworkBatch, NetworkBase]):
    """A method that needs the network's linear path, its input or its layers."""

    @classmethod
    def unfit_for(cls, base: PictureBase[Any]) -> str:
        """Other encoders have no such network."""
        if isinstance(base, NetworkBase):
            return ""
        return "reaches into the network of Phosphene's own encoder"
