"""Assigning authorities → identifier systems. A bare value never stands for anybody.

Order: the site's table (namespace, then universal id) → ``urn:oid:``/``urn:uuid:`` → a URI under the site's namespace,
with a warning. https://hl7.org/fhir/R4/datatypes.html#Identifier
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from mappings.engine.context import Context
from mappings.engine.source import split

NPI = "http://hl7.org/fhir/sid/us-npi"
SSN = "http://hl7.org/fhir/sid/us-ssn"

_universal = {"NPI": NPI, "SS": SSN, "SSA": SSN}
_oid = re.compile(r"[0-2](\.(0|[1-9]\d*))+")
_uuid = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_word = re.compile(r"[^A-Za-z0-9._-]+")
_names = {
    "PLAC": "placer", "FILL": "filler", "VN": "visit", "AN": "account", "ACSN": "accession", "PRN": "practitioner",
}  # fmt: skip


def system_of(authority: list[str], identifier_type: str, context: Context) -> str | None:
    """Return the system of an HD (namespace id, universal id, its type); None when no authority is known at all."""
    namespace, universal, kind = ([context.plain(part) for part in authority] + ["", "", ""])[:3]
    site = context.site
    known = (namespace and site.system(namespace, identifier_type)) or (
        universal and site.system(universal, identifier_type)
    )
    if known:
        return known
    if namespace in _universal or identifier_type in _universal:
        return _universal.get(namespace) or _universal[identifier_type]
    if universal:
        return _urn(universal, kind, context)
    if namespace:
        context.warn(f"an assigning authority of {identifier_type or 'an identifier'} is not in the site's table")
        return f"{site.namespace}/{_word.sub('-', namespace)}"
    return site.system("", identifier_type)


def _urn(universal: str, kind: str, context: Context) -> str:
    if _oid.fullmatch(universal):
        return f"urn:oid:{universal}"
    if _uuid.fullmatch(universal):
        return f"urn:uuid:{universal.lower()}"
    if kind.upper() == "URI" or universal.startswith(("http://", "https://", "urn:")):
        return universal.replace(" ", "%20")
    return f"{context.site.namespace}/{_word.sub('-', universal)}"


def _part(frame: list[str], number: int) -> str:
    return frame[number - 1] if number <= len(frame) else ""


def cx_system(frame: list[str], context: Context, *, assumed: str = "", required: bool = False) -> str | None:
    """CX-4 (and CX-5) → system; ``required`` falls back on the site's namespace, with a warning."""
    identifier_type = context.plain(_part(frame, 5)) or assumed
    found = system_of(split(_part(frame, 4), context.subcomponent), identifier_type, context)
    return found or (_own(assumed, context) if required else None)


def ei_system(frame: list[str], context: Context, *, assumed: str) -> str:
    """EI-2..4 → system."""
    return system_of(frame[1:4], assumed, context) or _own(assumed, context)


def xcn_system(frame: list[str], context: Context) -> str:
    """XCN-9 (and XCN-13) → system."""
    identifier_type = context.plain(_part(frame, 13)) or "PRN"
    authority = split(_part(frame, 9), context.subcomponent)
    return system_of(authority, identifier_type, context) or _own("PRN", context)


def xon_system(frame: list[str], context: Context) -> str:
    """XON-6 → system."""
    identifier_type = context.plain(_part(frame, 7)) or "XX"
    authority = split(_part(frame, 6), context.subcomponent)
    return system_of(authority, identifier_type, context) or _own("organization", context)


def cnn_system(frame: list[str], context: Context) -> str:
    """CNN-9..11 → system."""
    return system_of(frame[8:11], "PRN", context) or _own("PRN", context)


def eip_system(frame: list[str], context: Context) -> str:
    """EIP-2 (filler) or EIP-1 (placer) → system."""
    entity = split(_part(frame, 2) or _part(frame, 1), context.subcomponent)
    return ei_system(entity, context, assumed="specimen")


def pln_system(frame: list[str], context: Context) -> str:
    """PLN-2, the kind of number (table 0338) → system."""
    kind = context.plain(_part(frame, 2))
    return context.site.system(kind, "PRN") or _universal.get(kind) or _own(kind or "PRN", context)


def location_name(frame: list[str], context: Context) -> str | None:
    """PL → a readable name: unit, room, bed; else building, floor or facility."""
    parts = [context.plain(split(part, context.subcomponent)[0]) for part in frame] + [""] * 9
    return " ".join(part for part in parts[:3] if part) or parts[6] or parts[7] or parts[3] or parts[8] or None


def hd_uri(frame: list[str], context: Context) -> str | None:
    """HD → the URI of what it names."""
    return system_of(frame, "", context)


def _own(kind: str, context: Context) -> str:
    name = _names.get(kind, kind.lower())
    context.warn(f"no assigning authority for {name}; the site's own namespace stands in")
    return f"{context.site.namespace}/{name}"


FRAMES: dict[str, Callable[[Any, Context], Any]] = {
    "cx_system": cx_system,
    "cx_system.MR": partial(cx_system, assumed="MR"),
    "cx_system.VN": partial(cx_system, assumed="VN", required=True),
    "cx_system.AN": partial(cx_system, assumed="AN", required=True),
    "cx_system.PLAC": partial(cx_system, assumed="PLAC", required=True),
    "ei_system.PLAC": partial(ei_system, assumed="PLAC"),
    "ei_system.FILL": partial(ei_system, assumed="FILL"),
    "ei_system.ACSN": partial(ei_system, assumed="ACSN"),
    "ei_system.specimen": partial(ei_system, assumed="specimen"),
    "ei_system.document": partial(ei_system, assumed="document"),
    "ei_system.observation": partial(ei_system, assumed="observation"),
    "ei_system.condition": partial(ei_system, assumed="condition"),
    "cx_system.NIIP": partial(cx_system, assumed="NIIP", required=True),
    "ei_system.allergy": partial(ei_system, assumed="allergy"),
    "ei_system.procedure": partial(ei_system, assumed="procedure"),
    "ei_system.group": partial(ei_system, assumed="group"),
    "ei_system.prescription": partial(ei_system, assumed="prescription"),
    "ei_system.device": partial(ei_system, assumed="device"),
    "pln_system": pln_system,
    "cnn_system": cnn_system,
    "eip_system": eip_system,
    "location_name": location_name,
    "xcn_system": xcn_system,
    "xon_system": xon_system,
    "hd_uri": hd_uri,
}
