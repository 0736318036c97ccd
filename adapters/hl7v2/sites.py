"""What is configured for a hospital's HL7 v2 traffic, and which site a message belongs to.

``sites/<site>/site.yaml``, section ``hl7v2``; sender identity is MSH-3/MSH-4, HL7 v2.9 §2.14.9.3 and §2.14.9.4:
http://www.hl7.eu/HL7v2x/v29/std29/ch02.html#Heading95
"""

import os
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from adapters.hl7v2.convert import mapping_of
from adapters.hl7v2.framing import DEFAULT_LIMIT
from adapters.hl7v2.header import Header
from adapters.hl7v2.peer import Peer, is_loopback
from adapters.hl7v2.site_layers import load_layers
from adapters.hl7v2.site_mapping import Layer, SiteMapping
from adapters.hl7v2.tls import InvalidCertificate, client_context
from mappings.engine.errors import MappingLoadError

ANY = "*"
AFTER_FAILURE = ("hold", "pass")
MODES = ("auto", "original", "enhanced", "aa")
_KEYS = {
    "senders", "certificates", "clients", "message_types", "port", "acknowledge", "frame_limit_mib", "destinations",
    "drop", "after_failure", "application_acknowledgements", "mapping",
}  # fmt: skip
_identity = re.compile(r"sha256:[0-9a-f]{64}|CN=.+|DNS:.+")
_client = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}|system")
_MIB = 1024 * 1024


class InvalidSite(RuntimeError):
    """A site's configuration is unsafe, unknown or contradictory; the text says which key and what to write."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A sending application (MSH-3.1) and facility (MSH-4.1); ``*`` is any."""

    application: str
    facility: str

    def matches(self, header: Header) -> bool:
        """Tell whether the message comes from this sender."""
        return self.application in (ANY, header.application) and self.facility in (ANY, header.facility)


@dataclass(frozen=True, slots=True)
class Destination:
    """A receiver of ours: where it listens, and what MSH-5 and MSH-6 call it.

    ``keep_connection``: most receivers are happiest with a connection per message; a few want one for all.
    A message that was answered AE or CE ``error_limit`` times, or waits for ``age_limit_h`` hours (0 is for ever), is
    given up: ``after_errors`` says whether its queue is held until a person decides, or the next may ``pass``.
    ``tls``: the receiver must show a certificate for ``server_name`` (``host`` if empty) of ``ca`` (the system's CAs if
    empty); ``certificate`` and ``key`` are ours, for a receiver that asks. Files are named from the site's folder.
    """

    name: str
    host: str
    port: int
    application: str = ""
    facility: str = ""
    connect_timeout_s: float = 10.0
    acknowledgement_timeout_s: float = 30.0
    keep_connection: bool = False
    error_limit: int = 20
    age_limit_h: float = 0
    after_errors: str = "hold"
    tls: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""

    def context(self) -> ssl.SSLContext | None:
        """Return how the connection is secured, None when it is plain. Raises InvalidCertificate."""
        if not self.tls:
            return None
        ca, certificate, key = (Path(name) if name else None for name in (self.ca, self.certificate, self.key))
        return client_context(ca, certificate, key)


@dataclass(frozen=True, slots=True)
class DropFolder:
    """A folder that messages come in as files, looked into every ``interval_s``; named from the site's folder."""

    folder: str
    interval_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Site:
    """One hospital: who sends for it, how it is answered, where its reports go, how its messages are mapped.

    ``certificates``: client certificates (fingerprint, ``CN=…`` or ``DNS:…``) without which nobody sends for it over
    MLLP. ``clients``: whom a bearer token must speak for to post for it. ``message_types``: what it may send, any if
    empty. ``after_failure``: whether, in the enhanced modes, a failed message lets later ones of its patient ``pass``.
    """

    name: str
    senders: tuple[Sender, ...]
    mapping: SiteMapping
    certificates: frozenset[str] = frozenset()
    clients: frozenset[str] = frozenset()
    message_types: tuple[str, ...] = ()
    port: int | None = None
    acknowledge: str = "auto"
    frame_limit_bytes: int = DEFAULT_LIMIT
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    application_acknowledgements: str | None = None
    drop: DropFolder | None = None
    after_failure: str = "pass"

    @property
    def zone(self) -> tzinfo:
        """The site's time zone, UTC when none is configured."""
        return ZoneInfo(self.mapping.zone) if self.mapping.zone else UTC

    def takes(self, header: Header) -> bool:
        """Tell whether the site may send this type: ``ADT`` is every ADT, ``ADT^A01`` one event."""
        type = header.message_type
        return not self.message_types or any(type == t or type.startswith(f"{t}^") for t in self.message_types)

    def owns(self, peer: Peer) -> bool:
        """Tell whether the configuration names the peer's certificate, or whom its token speaks for, as this site's."""
        shown = peer.certificate.identities if peer.certificate else frozenset[str]()
        return not self.certificates.isdisjoint(shown) or peer.client in self.clients

    def is_open_to(self, peer: Peer) -> bool:
        """Tell whether a peer that is named nowhere may send for this site."""
        return not (self.clients if peer.client else self.certificates)


class Sites:
    """All configured sites."""

    def __init__(self, sites: Iterable[Site]) -> None:
        self.by_name: dict[str, Site] = {}
        for site in sites:
            if site.name in self.by_name:
                raise InvalidSite(f"Two sites are named '{site.name}'. Give each its own name.")
            self.by_name[site.name] = site

    def find(self, peer: Peer, header: Header) -> Site | None:
        """Return the site a message belongs to: by where it came in, then by MSH-3 and MSH-4.

        A site with a port of its own is found on that port only. A certificate or client that a site names is bound
        to that site: whatever MSH says, it cannot send for another. A file belongs to the site of its folder.
        """
        return next((site for site in self._candidates(peer) if any(s.matches(header) for s in site.senders)), None)

    def _candidates(self, peer: Peer) -> list[Site]:
        everyone = list(self.by_name.values())
        if peer.site:
            return [site for site in everyone if site.name == peer.site]
        own = [site for site in everyone if site.port == peer.port]
        near = own or [site for site in everyone if site.port is None or peer.client in site.clients]
        if any(site.owns(peer) for site in everyone):
            return [site for site in near if site.owns(peer)]
        return [site for site in near if site.is_open_to(peer)]

    def problems(self, *, client_certificates: bool, allow_plain: bool) -> list[str]:
        """Return what contradicts the server's settings or would send patient data in the clear, as sentences."""
        found = [
            f"Site {site.name} names certificates, but MLLP asks for none: set KONSIL_MLLP_TLS_CLIENT_CA."
            for site in self.by_name.values()
            if site.certificates and not client_certificates
        ]
        found += [
            f"Site {site.name} gets files in {site.drop.folder}, which is no folder that can be written to: make it."
            for site in self.by_name.values()
            if site.drop and not os.access(site.drop.folder, os.W_OK | os.X_OK)
        ]
        return found if allow_plain else [*found, *self._plain()]

    def _plain(self) -> list[str]:
        return [
            f"Destination {name} would get patient data in the clear: set its tls to true, or"
            " KONSIL_ALLOW_PLAIN_MLLP for a network of its own."
            for name, destination in self.destinations.items()
            if not destination.tls and not is_loopback(destination.host)
        ]

    def destination(self, name: str) -> Destination:
        """Return the destination called ``site/name``. Raises KeyError when there is none."""
        site, _, local = name.partition("/")
        return self.by_name[site].destinations[local]

    @property
    def destinations(self) -> dict[str, Destination]:
        """Every destination, by ``site/name``."""
        return {
            f"{site.name}/{name}": destination
            for site in self.by_name.values()
            for name, destination in site.destinations.items()
        }

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports that sites have for themselves."""
        return tuple(sorted({site.port for site in self.by_name.values() if site.port is not None}))

    @property
    def frame_limit_bytes(self) -> int:
        """The largest frame any site may send: the site of a frame is known only once it is complete."""
        return max((site.frame_limit_bytes for site in self.by_name.values()), default=DEFAULT_LIMIT)


def load_sites(folder: Path) -> Sites:
    """Return the sites whose ``<folder>/<site>/site.yaml`` has an ``hl7v2`` section. Raises InvalidSite."""
    found = []
    for path in sorted(folder.glob("*/site.yaml")):
        config = yaml.safe_load(path.read_text())
        if not isinstance(config, dict):
            raise InvalidSite(f"{path}: a mapping with the keys site, name and hl7v2 is needed.")
        if "hl7v2" in config:
            try:
                name = config.get("site", path.parent.name)
                found.append(site_from(name, config["hl7v2"], load_layers(path.parent, name), folder=path.parent))
            except (InvalidSite, InvalidCertificate, MappingLoadError) as error:
                raise InvalidSite(f"{path}: {error}") from error
    return Sites(found)


def site_from(
    name: str, config: Mapping[str, Any], layers: tuple[Layer, ...] = (), *, folder: Path | None = None
) -> Site:
    """Return the site described by an ``hl7v2`` section, its mapping compiled; ``folder`` is where its files are.

    Raises InvalidSite for what is unknown or missing, InvalidCertificate for a file of a destination that cannot be
    used, MappingLoadError for a patch that fits nothing.
    """
    unknown = set(config) - _KEYS
    if unknown:
        raise InvalidSite(f"hl7v2.{min(unknown)} is not a setting; known are {', '.join(sorted(_KEYS))}.")
    senders = tuple(_record(Sender, entry, "hl7v2.senders") for entry in config.get("senders", ()))
    if not senders:
        raise InvalidSite("hl7v2.senders is empty: list application (MSH-3) and facility (MSH-4) of each sender.")
    destinations = {
        key: _destination(f"{name}/{key}", entry, f"hl7v2.destinations.{key}", folder or Path())
        for key, entry in config.get("destinations", {}).items()
    }
    answers = config.get("application_acknowledgements")
    if answers is not None and answers not in destinations:
        raise InvalidSite(f"hl7v2.application_acknowledgements names '{answers}', which is no destination.")
    mapping = SiteMapping.from_config(name, config.get("mapping", {}), layers)
    _check_zone(mapping.zone)
    mapping_of(mapping).check()
    return Site(
        name=name,
        senders=senders,
        mapping=mapping,
        certificates=_named(config, "certificates", _identity, "'sha256:' and 64 hex digits, 'CN=…' or 'DNS:…'"),
        clients=_named(config, "clients", _client, "whom a token speaks for, such as Device/lakeside-engine"),
        message_types=tuple(config.get("message_types", ())),
        port=config.get("port"),
        acknowledge=_one_of(config, "acknowledge", MODES, "auto"),
        frame_limit_bytes=int(config.get("frame_limit_mib", DEFAULT_LIMIT // _MIB)) * _MIB,
        destinations=destinations,
        application_acknowledgements=answers,
        drop=_drop(config["drop"], folder or Path()) if "drop" in config else None,
        after_failure=_one_of(config, "after_failure", AFTER_FAILURE, "pass"),
    )


def _one_of(config: Mapping[str, Any], key: str, known: tuple[str, ...], default: str) -> str:
    value = config.get(key, default)
    if value not in known:
        raise InvalidSite(f"hl7v2.{key} is '{value}'; it must be one of {', '.join(known)}.")
    return str(value)


def _named(config: Mapping[str, Any], key: str, form: re.Pattern[str], words: str) -> frozenset[str]:
    entries = config.get(key, ())
    wrong = [entry for entry in entries if not isinstance(entry, str) or not form.fullmatch(entry)]
    if wrong or isinstance(entries, str):
        raise InvalidSite(f"hl7v2.{key} is a list; each entry must be {words}.")
    return frozenset(entries)


def _destination(name: str, entry: Mapping[str, Any], where: str, folder: Path) -> Destination:
    made: Destination = _record(Destination, {"name": name, **entry}, where)
    files: dict[str, Any] = {
        key: str(folder / value) for key in ("ca", "certificate", "key") if (value := getattr(made, key))
    }
    if made.after_errors not in AFTER_FAILURE:
        raise InvalidSite(f"{where}.after_errors is '{made.after_errors}'; it must be hold or pass.")
    if files and not made.tls:
        raise InvalidSite(f"{where}.{min(files)} means nothing without tls: true.")
    found = replace(made, **files)
    found.context()
    return found


def _drop(entry: Mapping[str, Any], folder: Path) -> DropFolder:
    made: DropFolder = _record(DropFolder, entry, "hl7v2.drop")
    return replace(made, folder=str(folder / made.folder))


def _record(cls: type[Any], entry: Mapping[str, Any], where: str) -> Any:
    known = {setting.name for setting in fields(cls)}
    unknown = set(entry) - known
    if unknown:
        raise InvalidSite(f"{where}.{min(unknown)} is not a setting; known are {', '.join(sorted(known))}.")
    try:
        return cls(**entry)
    except TypeError as error:
        raise InvalidSite(f"{where} lacks a setting: {error}.") from error


def _check_zone(zone: str | None) -> None:
    try:
        ZoneInfo(zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidSite(f"hl7v2.mapping.zone '{zone}' is no IANA time zone such as America/New_York.") from error
