"""Who is at the other end of a transport: what a site's configuration recognises its senders by.

IHE ITI Audit Trail and Node Authentication, ITI-19: https://profiles.ihe.net/ITI/TF/Volume2/ITI-19.html
"""

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client certificate that was verified: ``names`` are ``CN=…`` of its subject and ``DNS:…`` of its SAN."""

    fingerprint: str
    names: tuple[str, ...] = ()

    @property
    def identities(self) -> frozenset[str]:
        """Everything a site may name it by; the fingerprint is ``sha256:`` and 64 hexadecimal digits."""
        return frozenset((self.fingerprint, *self.names))


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a message came from: ``port`` is the one of ours it came in on, 0 when it came another way.

    ``client`` is whom the bearer token of an HTTP request speaks for; ``site`` is the owner of the folder of a file.
    """

    address: str
    port: int = 0
    certificate: Certificate | None = None
    client: str = ""
    site: str = ""

    @property
    def transport(self) -> str:
        """``mllp``, ``http`` or ``file``."""
        return "file" if self.site else "http" if self.client else "mllp"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can connect to ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
