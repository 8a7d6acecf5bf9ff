"""A server's announcement on the local network, for as long as it is wanted.

Owns what is announced (DNS-SD over multicast, RFC 6763): address, port, system, whether there is
TLS. No token and no fingerprint: who finds a server has no way in. Knows nothing of the server.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator

from app.errors import AppError
from app.runtime.remote.finding import SERVICE
from pipeline.extras import extras_named


@contextlib.contextmanager
def announced(host: str, port: int, *, system: str, tls: bool) -> Iterator[None]:
    """Within, the server at `host:port` can be found; on the networks that it listens at only.

    Raises
    ------
    AppError
        The network takes no announcement.
    MissingExtraError
        zeroconf is not installed.
    """
    with extras_named("--announce"):
        import zeroconf
    everywhere = host in ("0.0.0.0", "::")  # noqa: S104 - looked for, not listened at
    addresses = _addresses() if everywhere else [_address(host)]
    asked = zeroconf.InterfaceChoice.All if everywhere else addresses
    name = socket.gethostname().split(".")[0][:50] or "server"
    service = zeroconf.ServiceInfo(
        SERVICE,
        f"{name}-{port}.{SERVICE}",
        port=port,
        parsed_addresses=addresses,
        properties={"system": system, "tls": "1" if tls else "0"},
    )
    with contextlib.ExitStack() as ending:
        try:
            network = ending.enter_context(contextlib.closing(zeroconf.Zeroconf(interfaces=asked)))
            network.register_service(service, allow_name_change=True)
        except (OSError, zeroconf.Error) as error:
            raise AppError(
                f"the server cannot be announced ({error or type(error).__name__}): leave "
                "--announce out, and tell clients its address."
            ) from None
        yield  # closing it takes the announcement back; what the server raises is its own


def _address(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return socket.gethostbyname(host)


def _addresses() -> list[str]:
    """Find the addresses of this machine, without loopback."""
    import ifaddr

    found = [str(ip.ip) for adapter in ifaddr.get_adapters() for ip in adapter.ips if ip.is_IPv4]
    return [each for each in found if not ipaddress.ip_address(each).is_loopback] or ["127.0.0.1"]
