"""What is configured for a hospital's HL7 v2 traffic, and which site a message belongs to.

``sites/<site>/site.yaml``, section ``hl7v2``; sender identity is MSH-3/MSH-4, HL7 v2.9 §2.14.9.3 and §2.14.9.4:
http://www.hl7.eu/HL7v2x/v29/std29/ch02.html#Heading95
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from adapters.hl7v2.convert import mapping_of
from adapters.hl7v2.framing import DEFAULT_LIMIT
from adapters.hl7v2.header import Header
from adapters.hl7v2.site_layers import load_layers
from adapters.hl7v2.site_mapping import Layer, SiteMapping
from mappings.engine.errors import MappingLoadError

ANY = "*"
MODES = ("auto", "original", "enhanced", "aa")
_KEYS = {"senders", "port", "acknowledge", "frame_limit_mib", "destinations", "application_acknowledgements", "mapping"}
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
    """

    name: str
    host: str
    port: int
    application: str = ""
    facility: str = ""
    connect_timeout_s: float = 10.0
    acknowledgement_timeout_s: float = 30.0
    tls: bool = False
    keep_connection: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """One hospital: who sends for it, how it is answered, where its reports go, how its messages are mapped."""

    name: str
    senders: tuple[Sender, ...]
    mapping: SiteMapping
    port: int | None = None
    acknowledge: str = "auto"
    frame_limit_bytes: int = DEFAULT_LIMIT
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    application_acknowledgements: str | None = None

    @property
    def zone(self) -> tzinfo:
        """The site's time zone, UTC when none is configured."""
        return ZoneInfo(self.mapping.zone) if self.mapping.zone else UTC


class Sites:
    """All configured sites."""

    def __init__(self, sites: Iterable[Site]) -> None:
        self.by_name: dict[str, Site] = {}
        for site in sites:
            if site.name in self.by_name:
                raise InvalidSite(f"Two sites are named '{site.name}'. Give each its own name.")
            self.by_name[site.name] = site

    def find(self, port: int, header: Header) -> Site | None:
        """Return the site a message belongs to: by the port it came in on, then by MSH-3 and MSH-4.

        A site with a port of its own is found on that port only, and its senders must match there too.
        """
        own = [site for site in self.by_name.values() if site.port == port]
        for site in own or [site for site in self.by_name.values() if site.port is None]:
            if any(sender.matches(header) for sender in site.senders):
                return site
        return None

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
                found.append(site_from(name, config["hl7v2"], load_layers(path.parent, name)))
            except (InvalidSite, MappingLoadError) as error:
                raise InvalidSite(f"{path}: {error}") from error
    return Sites(found)


def site_from(name: str, config: Mapping[str, Any], layers: tuple[Layer, ...] = ()) -> Site:
    """Return the site described by an ``hl7v2`` section, its mapping compiled.

    Raises InvalidSite for what is unknown or missing, MappingLoadError for a patch that fits nothing.
    """
    unknown = set(config) - _KEYS
    if unknown:
        raise InvalidSite(f"hl7v2.{min(unknown)} is not a setting; known are {', '.join(sorted(_KEYS))}.")
    senders = tuple(_record(Sender, entry, "hl7v2.senders") for entry in config.get("senders", ()))
    if not senders:
        raise InvalidSite("hl7v2.senders is empty: list application (MSH-3) and facility (MSH-4) of each sender.")
    acknowledge = config.get("acknowledge", "auto")
    if acknowledge not in MODES:
        raise InvalidSite(f"hl7v2.acknowledge is '{acknowledge}'; it must be one of {', '.join(MODES)}.")
    destinations = {
        key: _record(Destination, {"name": f"{name}/{key}", **entry}, f"hl7v2.destinations.{key}")
        for key, entry in config.get("destinations", {}).items()
    }
    answers = config.get("application_acknowledgements")
    if answers is not None and answers not in destinations:
        raise InvalidSite(f"hl7v2.application_acknowledgements names '{answers}', which is no destination.")
    mapping = SiteMapping.from_config(name, config.get("mapping", {}), layers)
    _check_zone(mapping.zone)
    mapping_of(mapping).check()
    limit = int(config.get("frame_limit_mib", DEFAULT_LIMIT // _MIB)) * _MIB
    return Site(name, senders, mapping, config.get("port"), acknowledge, limit, destinations, answers)


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
