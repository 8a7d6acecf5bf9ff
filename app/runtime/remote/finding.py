"""Servers that announce themselves on the local network; looked for when a person asks, never else.

Owns the question and what is made of the answers, which come from anybody: an address and a few
short words, never a way in (that is a ticket's). Knows nothing of sessions.
"""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import AppError
from configs.plain import plain
from pipeline.extras import extras_named

if TYPE_CHECKING:
    from zeroconf import ServiceInfo

SERVICE = "_phosphene._tcp.local."
SECONDS = 3.0
"""How long answers are waited for."""
MOST = 32
"""Servers that are looked at; a network of one exhibit has one."""
NONE_FOUND = "No server announces itself on this network (phosphene serve --announce)."
_LONGEST = 60


@dataclass(frozen=True, slots=True, order=True)
class FoundServer:
    """A server that says that it is there: its words, not to be trusted further than a name."""

    name: str
    url: str
    system: str


def find_servers(
    seconds: float = SECONDS, *, interfaces: Sequence[str] | None = None
) -> list[FoundServer]:
    """Ask the local network once; `interfaces` are addresses of ours, None: all.

    Raises
    ------
    AppError
        The network cannot be asked.
    MissingExtraError
        zeroconf is not installed.
    """
    with extras_named("finding a server"):
        import zeroconf
    names: list[str] = []

    def on_change(**change: object) -> None:
        name = str(change["name"])
        if change["state_change"] is zeroconf.ServiceStateChange.Added and name not in names:
            names.append(name)

    asked = zeroconf.InterfaceChoice.All if interfaces is None else list(interfaces)
    try:
        with contextlib.closing(zeroconf.Zeroconf(interfaces=asked)) as network:
            browser = zeroconf.ServiceBrowser(network, SERVICE, handlers=[on_change])
            time.sleep(seconds)
            browser.cancel()
            infos = [network.get_service_info(SERVICE, name, 500) for name in names[:MOST]]
    except (OSError, zeroconf.Error) as error:
        raise AppError(
            f"the local network cannot be asked ({error or type(error).__name__}): give the "
            "server's address, decoder.remote."
        ) from None
    return sorted({found for each in infos if each is not None for found in _server(each)})


def _server(info: ServiceInfo) -> list[FoundServer]:
    words = {
        key.decode("utf-8", "replace"): (value or b"").decode("utf-8", "replace")
        for key, value in info.properties.items()
    }
    scheme = "https" if words.get("tls") == "1" else "http"
    name = plain(info.name.removesuffix(f".{SERVICE}"), limit=_LONGEST)
    system = plain(words.get("system", ""), limit=_LONGEST)
    found = []
    for text in info.parsed_addresses():
        address = ipaddress.ip_address(text.partition("%")[0])
        # A session speaks without TLS to this machine only, and an interface's own address
        # (fe80::) means nothing without the interface.
        if not info.port or (scheme == "http" and not address.is_loopback):
            continue
        if address.is_link_local and address.version == 6:
            continue
        host = f"[{address}]" if address.version == 6 else str(address)
        found.append(FoundServer(name, f"{scheme}://{host}:{info.port}", system))
    return found
