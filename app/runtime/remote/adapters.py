"""A person's adapter as bytes, for its way to a server.

Owns reading it and its hash, by which both sides know it. Knows nothing of the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.adapters.archive import read_adapter_files
from models.adapters.files import hash_of
from models.adapters.manifest import AdapterManifest, parse_manifest


@dataclass(frozen=True, slots=True, eq=False)
class AdapterFiles:
    """The two files of an adapter, and the hash over both."""

    sha256: str
    manifest: bytes
    weights: bytes

    @property
    def described(self) -> AdapterManifest:
        """What it says of itself; raises `AdapterError` where that cannot be read."""
        return parse_manifest(self.manifest, Path("adapter.json"))


def adapter_of(manifest: bytes, weights: bytes) -> AdapterFiles:
    """An adapter of bytes that came, with a hash that nobody claimed."""
    return AdapterFiles(hash_of(manifest, weights), manifest, weights)


def read_adapter(folder: Path) -> AdapterFiles:
    """Read an adapter's folder.

    Raises
    ------
    AdapterError
        It is none.
    """
    weights, manifest = (content for _, content in read_adapter_files(folder))
    return adapter_of(manifest, weights)
