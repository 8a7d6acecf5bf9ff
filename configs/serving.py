"""Settings of a decoding server: where it listens, how many replicas, what is drawn together.

Owns them and their file. What is decoded, and how, are a session's settings (`configs.models`).
"""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from configs.guard import read_text
from configs.loading import ConfigError


class ServingConfig(BaseModel):
    """One server."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    host: str = Field(default="127.0.0.1", min_length=1, max_length=255)
    """Address to listen at. Any but this machine's own (127.0.0.1) needs `tls` and tickets."""
    port: int = Field(default=7447, ge=0, le=65535)
    """Port; 0: any free one."""
    tls: bool = False
    """Encrypt. The certificate is made here unless one is given; tickets carry its fingerprint."""
    certificate: str | None = None
    """PEM file of a certificate of one's own; None: one is made and kept beside the tokens."""
    key: str | None = None
    """PEM file of its key."""
    min_replicas: int = Field(default=1, ge=1, le=1024)
    """Replicas that are always there."""
    max_replicas: int = Field(default=1, ge=1, le=1024)
    """Replicas that there may be; above `min_replicas`, Ray adds and removes them by load."""
    cpus: float = Field(default=1.0, ge=0, le=1024)
    """CPUs that each takes of Ray's."""
    gpus: float = Field(default=0.0, ge=0, le=16)
    """GPUs that each takes: 1, or 0.5 where two share one."""
    max_batch: int = Field(default=8, ge=1, le=256)
    """Most epochs that are drawn together."""
    max_wait_ms: float = Field(default=5.0, ge=0, le=1000)
    """Longest that an idle replica waits for a second epoch, ms; a session in a hurry waits a
    tenth of what it has."""
    max_open: int = Field(default=512, ge=1, le=100_000)
    """Epochs under way beyond which every further one is refused as `overload`."""
    address: str | None = None
    """Ray's cluster (`auto` on one of its machines); None: Ray is started here, for this alone."""
    drain: float = Field(default=10.0, ge=0, le=600)
    """How long epochs under way are waited for at the end, s."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _fits(self) -> ServingConfig:
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas is {self.max_replicas}, expected at least min_replicas, "
                f"{self.min_replicas}"
            )
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both, or neither")
        return self


def load_serving(path: Path | None, **given: object) -> ServingConfig:
    """Read the file of a server's settings (None: the defaults); what is `given` goes first.

    Raises
    ------
    ConfigError
        The file is missing, is not TOML, or a setting breaks its rule.
    """
    table: dict[str, object] = {}
    try:
        if path is not None:
            table = tomllib.loads(read_text(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error}), expected TOML text.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error}); mend that line.") from None
    table |= {key: value for key, value in given.items() if value is not None}
    try:
        return ServingConfig.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        where = "" if path is None else f"{path}: "
        shown = repr(first.get("input"))[:80]
        raise ConfigError(f"{where}{key} = {shown}: {first['msg']}") from None
