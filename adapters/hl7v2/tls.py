"""MLLP over TLS: our certificate, whose clients' certificates are taken, and how we know a receiver is who it says.

HL7 v2 transport specification, MLLP over TLS; RFC 8446. TLS 1.2 is the oldest version taken (RFC 9325 §3.1.1).
"""

import hashlib
import ssl
from asyncio import StreamWriter
from pathlib import Path

from adapters.hl7v2.peer import Certificate


class InvalidCertificate(RuntimeError):
    """A certificate, key or CA file cannot be used; the text says which and why."""


def server_context(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """Return what an MLLP server answers TLS with; ``client_ca`` makes a certificate of that CA a must for clients.

    Raises InvalidCertificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_own(context, certificate, key)
    if client_ca is not None:
        _load_ca(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:  # fmt: skip
    """Return what a receiver is checked with, and shown if it asks: its CA (the system's if None), our certificate.

    Raises InvalidCertificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is None:
        context.load_default_certs()
    else:
        _load_ca(context, ca)
    if certificate is not None:
        _load_own(context, certificate, key or certificate)
    return context


def peer_certificate(writer: StreamWriter) -> Certificate | None:
    """Return the verified certificate of the other end, None when it showed none."""
    channel = writer.get_extra_info("ssl_object")
    encoded = channel.getpeercert(binary_form=True) if channel else None
    if not encoded:
        return None
    shown = channel.getpeercert() or {}
    subject = [pair for group in shown.get("subject", ()) for pair in group]
    names = [f"CN={value}" for name, value in subject if name == "commonName"]
    names += [f"DNS:{value}" for kind, value in shown.get("subjectAltName", ()) if kind == "DNS"]
    return Certificate(f"sha256:{hashlib.sha256(encoded).hexdigest()}", tuple(names))


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidCertificate(
            f"The certificate {certificate} cannot be used with the key {key}: {_reason(error)}. Both must be readable"
            " PEM files, the key without a passphrase, and belong together."
        ) from error


def _load_ca(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except (OSError, ssl.SSLError) as error:
        raise InvalidCertificate(f"The CA file {ca} cannot be used: {_reason(error)}.") from error


def _reason(error: OSError) -> str:
    return (error.strerror or getattr(error, "reason", "") or type(error).__name__).replace("_", " ").lower()
