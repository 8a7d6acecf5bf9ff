"""A server's certificate: made here for its owner only, known by its fingerprint.

Owns making it (ECDSA P-256, two years) and reading its SHA-256. There is no authority behind it: a
client trusts the one certificate that its ticket names, and no other.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import socket
import ssl
from pathlib import Path

from app.errors import AppError
from configs.private import make_private, open_private

CERTIFICATE, KEY = "certificate.pem", "key.pem"
_DAYS = 730


class CertificateError(AppError):
    """A certificate cannot be read."""


def own_certificate(folder: Path) -> tuple[Path, Path]:
    """Return the server's certificate and key, made where neither is there yet.

    Raises
    ------
    CertificateError
        One is there without the other.
    """
    certificate, key = folder / CERTIFICATE, folder / KEY
    there = [path for path in (certificate, key) if path.exists()]
    if len(there) == 1:
        missing = key.name if there == [certificate] else certificate.name
        raise CertificateError(
            f"{there[0]} is there without its {missing}: put that back, or delete {there[0].name}, "
            "too, to have both made anew; every ticket has to be made anew then."
        )
    if not there:
        _make(certificate, key)
    return certificate, key


def fingerprint(certificate: Path) -> str:
    """SHA-256 of the first certificate in a PEM file.

    Raises
    ------
    CertificateError
        There is none.
    """
    try:
        text = certificate.read_text(encoding="ascii")
        end = text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
        der = ssl.PEM_cert_to_DER_cert(text[text.index(ssl.PEM_HEADER) : end])
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"{certificate} cannot be read ({error}), expected a certificate in PEM."
        ) from None
    return hashlib.sha256(der).hexdigest()


def out_of_date(certificate: Path, *, now: datetime.datetime | None = None) -> str:
    """Say that a certificate has expired or does not hold yet, and what that means; else empty.

    Raises
    ------
    CertificateError
        It cannot be read.
    """
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateError(
            f"{certificate} cannot be read ({error}), expected a certificate in PEM."
        ) from None
    begins, until = found.not_valid_before_utc, found.not_valid_after_utc
    now = datetime.datetime.now(datetime.UTC) if now is None else now
    goes_on = (
        "clients with a ticket go on, since theirs names this very certificate; what checks dates "
        "(Prometheus) does not."
    )
    if now < begins:
        return (
            f"{certificate} does not hold before {begins:%Y-%m-%d %H:%M} UTC, and here it is "
            f"{now:%Y-%m-%d %H:%M}: {goes_on} Set this machine's clock."
        )
    if now < until:
        return ""
    return (
        f"{certificate} has expired on {until:%Y-%m-%d}: {goes_on} Delete it and its key to have a "
        "new one made, and make new tickets."
    )


def _make(certificate: Path, key: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "phosphene")])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.DNSName(socket.gethostname()),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(secret, hashes.SHA256())
    )
    make_private(certificate.parent)
    for path, content in (
        (
            key,
            secret.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        ),
        (certificate, made.public_bytes(serialization.Encoding.PEM)),
    ):
        with open_private(path, "xb") as stream:
            stream.write(content)
