"""What the mapping must know about a site: its time zone, charset, assigning authorities and mapping patches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ANY_TYPE = "*"


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class SiteMapping:
    """The ``hl7v2`` part of ``sites/<site>/site.yaml`` that mapping reads; build it with :meth:`from_config`.

    ``authorities``: assigning authority (namespace id, universal id, or ``""`` for "none sent") → identifier type of
    table 0203 (``MR``, ``PLAC``, ``FILL``, ``VN``, ``ACSN`` …, ``*`` for any) → identifier system. ``mrn`` lists the
    authorities whose MR number is *the* patient number, best first. ``zone`` is an IANA name; without one, times lose
    their clock part. ``layers`` are the site's own over the base mapping. ``store_only`` lists message types without a
    mapping (``DFT``, ``BAR^P01``, ``*``) that are kept and answered AA all the same; others get AR.
    """

    site: str
    zone: str | None = None
    charset: str | None = None
    namespace: str = ""
    authorities: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    mrn: tuple[str, ...] = ()
    code_systems: Mapping[str, str] = field(default_factory=dict)
    layers: tuple["Layer", ...] = ()
    invalid_dates: str = "reject"
    store_only: frozenset[str] = frozenset()

    @classmethod
    def from_config(cls, site: str, config: Mapping[str, Any], layers: tuple["Layer", ...] = ()) -> "SiteMapping":
        """Return the settings in ``config`` (keys: zone, charset, namespace, authorities, mrn, code_systems)."""
        authorities = {
            name: {ANY_TYPE: systems} if isinstance(systems, str) else dict(systems)
            for name, systems in config.get("authorities", {}).items()
        }
        return cls(
            site=site,
            zone=config.get("zone"),
            charset=config.get("charset"),
            namespace=config.get("namespace") or f"https://konsil.example/sites/{site.lower()}",
            authorities=authorities,
            mrn=tuple(config.get("mrn", ())),
            code_systems=dict(config.get("code_systems", {})),
            layers=layers,
            invalid_dates=config.get("invalid_dates", "reject"),
            store_only=frozenset(config.get("store_only", ())),
        )

    def only_stores(self, code: str, event: str) -> bool:
        """Tell whether messages of this type are kept and answered AA although nothing is made of them."""
        return not self.store_only.isdisjoint((code, f"{code}^{event}", ANY_TYPE))

    def system(self, authority: str, identifier_type: str) -> str | None:
        """Return the identifier system configured for an authority and a table 0203 type, or None."""
        systems = self.authorities.get(authority)
        if systems is None:
            return None
        return systems.get(identifier_type) or systems.get(ANY_TYPE)


@dataclass(frozen=True, slots=True)
class Layer:
    """One overriding layer (country, site, or site+message): patches by row id, and code table rows.

    ``patches``: ``{op: add|replace|drop, …}`` as in ``sites/<site>/patches/*.yaml``. ``tables``: table name → source
    code → target (``code`` or ``code|display|system``). ``message`` limits the layer to one message file (``ORU_R01``).
    """

    name: str
    patches: tuple[Mapping[str, Any], ...] = ()
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    message: str | None = None
