"""Business keys: what makes a resource the same one when it comes again, and which identifiers match a stored one."""

from collections.abc import Iterable
from typing import Any

from mappings.engine.context import Context, Key, business_id
from mappings.engine.errors import ValueFault
from mappings.engine.protocol import Resource
from mappings.engine.source import split
from mappings.hl7v2.identifiers import cx_system

PATIENT_TYPES = ("MR", "PI", "PT", "")


def token(identifier: dict[str, Any]) -> str | None:
    """Return ``system|value``, None unless both are there: a bare value is nobody."""
    system, value = identifier.get("system"), identifier.get("value")
    return f"{system}|{value}" if system and value else None


def tokens(identifiers: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the distinct tokens, in order."""
    return tuple(dict.fromkeys(text for text in map(token, identifiers) if text))


def identifier_type(identifier: dict[str, Any]) -> str:
    """Return the table 0203 code of an identifier, ``""`` when it has none."""
    codings = identifier.get("type", {}).get("coding", ())
    return str(codings[0].get("code", "")) if codings else ""


def patient(resource: Resource, _: Any, context: Context) -> Key:
    """The patient number: an MR of the best configured authority, else MR, PI. Raises ValueFault (101) for none."""
    numbers = [i for i in resource.get("identifier", ()) if identifier_type(i) in PATIENT_TYPES and token(i)]
    if not numbers:
        raise ValueFault(
            "PID-3 holds no patient identifier with an assigning authority", code="101", location="PID^1^3"
        )
    preferred = [context.site.system(authority, "MR") for authority in context.site.mrn]
    best = min(numbers, key=lambda i: _rank(i, preferred))
    match = tokens([best, *(i for i in numbers if identifier_type(i) in ("MR", "PI"))])
    return Key(match[0], match)


def prior_patient(resource: Resource, _: Any, context: Context) -> Key:
    """MRG-1: who ends in a merge. Raises ValueFault (101) when no repetition names an authority."""
    preferred = [context.site.system(authority, "MR") for authority in context.site.mrn]
    known = [i for i in resource.get("identifier", ()) if identifier_type(i) in PATIENT_TYPES and token(i)]
    numbers = tokens(sorted(known, key=lambda i: _rank(i, preferred)))
    if not numbers:
        raise ValueFault(
            "MRG-1 holds no patient identifier with an assigning authority", code="101", location="MRG^1^1"
        )
    return Key(numbers[0], numbers)


def renumbered_patient(resource: Resource, frame: Any, context: Context) -> Key:
    """The patient of PID-3, known until now by MRG-1: whoever has either number is meant."""
    prior = [i for i in resource.get("identifier", ()) if i.get("use") == "old"]
    now = {**resource, "identifier": [i for i in resource.get("identifier", ()) if i.get("use") != "old"]}
    found = patient(now, frame, context)
    return Key(found.text, tuple(dict.fromkeys((*found.match, *tokens(prior)))))


def moved_visit(resource: Resource, frame: Any, context: Context) -> Key | None:
    """PV1-19, else the number the visit had before (MRG-5): the same visit by either."""
    own = visit_number(resource, frame, context)
    old = context.field("MRG", 5)
    if own is None or not old:
        return own
    before = split(old, context.component)
    system = cx_system(before, context, assumed="VN")
    value = context.plain(before[0])
    return Key(own.text, tuple(dict.fromkeys((*own.match, f"{system}|{value}")))) if system and value else own


def _rank(identifier: dict[str, Any], preferred: list[str | None]) -> tuple[int, int]:
    system = identifier["system"]
    place = preferred.index(system) if system in preferred else len(preferred)
    return place, PATIENT_TYPES.index(identifier_type(identifier))


def encounter(resource: Resource, _: Any, context: Context) -> Key | None:
    """The visit number, else the patient's account number, else admission time, else the patient's unnamed visit."""
    visits = tokens(resource.get("identifier", ()))
    if visits:
        return Key(visits[0], visits)
    who = _patient_id(context)
    account = context.field("PID", 18)
    if account:
        return Key(f"{who}|account|{split(account, context.component)[0]}")
    admitted = context.field("PV1", 44)
    context.warn("PV1-19 is empty; the encounter is known by patient and admission only")
    return Key(f"{who}|visit|{admitted}")


def visit_number(resource: Resource, _: Any, __: Context) -> Key | None:
    """The visit number only: results and documents make no encounter without one."""
    visits = tokens(resource.get("identifier", ()))
    return Key(visits[0], visits) if visits else None


def identified(resource: Resource, _: Any, __: Context) -> Key | None:
    """Any identifier of the resource's own: practitioners, accounts, organizations with one."""
    own = tokens(resource.get("identifier", ()))
    return Key(own[0], own) if own else None


def organization(resource: Resource, frame: Any, context: Context) -> Key | None:
    """An identifier, else the name within the site."""
    found = identified(resource, frame, context)
    name = resource.get("name")
    return found or (Key(f"{context.site.site}|{name}") if name else None)


def location(resource: Resource, frame: Any, context: Context) -> Key | None:
    """The whole person location within the site: facility, building, floor, unit, room, bed."""
    parts = [context.plain(part) for part in frame] if isinstance(frame, list) else []
    return Key("|".join([context.site.site, *parts])) if any(parts) and resource.get("name") else None


def order(resource: Resource, _: Any, context: Context) -> Key:
    """Filler number, else placer number, else the message: an order matches on any of its numbers."""
    own = tokens(resource.get("identifier", ()))
    return Key(own[0], own) if own else Key(f"{_message(context)}|{context.group.name}|{_ordinal(context)}")


def report(_: Resource, __: Any, context: Context) -> Key:
    """The order's number with OBR-4: panels that share a filler number stay apart."""
    code = "^".join(split(context.field("OBR", 4), context.component)[:3])
    return Key(f"{_order_number(context)}|{code}")


def observation(resource: Resource, frame: Any, context: Context) -> Key:
    """OBX-21, else report, code, sub-id and which of several equal ones it is."""
    own = tokens(resource.get("identifier", ()))
    if own and f"Observation/{business_id('Observation', own[0])}" not in context.drafts:
        return Key(own[0], own)
    around = context.built("report") or context.built("encounter") or context.built("patient")
    parent = around[0].reference if around else _message(context)
    code = "^".join(split(frame.field(3), context.component)[:3])
    text = f"{parent}|{code}|{frame.field(4)}"
    numbered, taken = text, 0
    while f"Observation/{business_id('Observation', numbered)}" in context.drafts:
        taken += 1
        numbered = f"{text}|{taken}"
    return Key(numbered)


def attachment(_: Resource, frame: Any, context: Context) -> Key:
    """The report, document or order an embedded file belongs to, with OBX-3 and its place there."""
    around = context.built("document") or context.built("report") or context.built("order")
    parent = around[0].reference if around else _message(context)
    return Key(f"{parent}|{frame.field(3)}|{frame.field(1) or frame.position}")


def document(resource: Resource, _: Any, context: Context) -> Key:
    """TXA-12, else the message."""
    master = resource.get("masterIdentifier", {})
    own = tokens([master])
    return Key(own[0], own) if own else Key(_message(context))


def specimen(resource: Resource, frame: Any, context: Context) -> Key:
    """SPM-2, else the order's number with SPM-1."""
    own = tokens(resource.get("identifier", ()))
    number = frame.field(1) if frame is not None and frame.name == "SPM" else ""
    return Key(own[0], own) if own else Key(f"{_order_number(context)}|{number or 1}")


def of_patient(number: int) -> Any:
    """Return the key of what a patient has once for each value of field ``number``: allergies, relatives."""

    def key(_: Resource, frame: Any, context: Context) -> Key | None:
        text = "^".join(split(frame.field(number), context.component)[:3])
        return Key(f"{_patient_id(context)}|{text}") if text.strip("^") else None

    return key


def condition(_: Resource, frame: Any, context: Context) -> Key:
    """Encounter (or patient) with DG1-3, DG1-4 and DG1-6."""
    around = context.built("encounter")
    parent = around[0].reference if around else _patient_id(context)
    code = "^".join(split(frame.field(3), context.component)[:3])
    return Key(f"{parent}|{code}|{frame.field(4)}|{frame.field(6)}")


def procedure(resource: Resource, frame: Any, context: Context) -> Key:
    """PR1-19, else encounter (or patient) with PR1-3 and PR1-5."""
    own = tokens(resource.get("identifier", ()))
    around = context.built("encounter")
    parent = around[0].reference if around else _patient_id(context)
    code = "^".join(split(frame.field(3), context.component)[:3])
    return Key(own[0], own) if own else Key(f"{parent}|{code}|{frame.field(5)}")


def immunization(resource: Resource, frame: Any, context: Context) -> Key:
    """ORC-3 or ORC-2, else patient with RXA-5 and RXA-3. Every refusal may come as order 9999: no number at all."""
    own = [text for text in tokens(resource.get("identifier", ())) if not text.endswith("|9999")]
    code = "^".join(split(frame.field(5), context.component)[:3])
    return Key(own[0], tuple(own)) if own else Key(f"{_patient_id(context)}|{code}|{frame.field(3)}")


def appointment(resource: Resource, _: Any, context: Context) -> Key:
    """SCH-2 or SCH-1, else the message."""
    own = tokens(resource.get("identifier", ()))
    return Key(own[0], own) if own else Key(_message(context))


def provider(resource: Resource, frame: Any, context: Context) -> Key | None:
    """PRD-7, else the name within the site: referrals often give no number."""
    name = "|".join(frame.field(2).split(context.component)[:2]) if context.component else frame.field(2)
    found = identified(resource, frame, context)
    return found or (Key(f"{context.site.site}|{name}") if name.strip("|") else None)


def consultant(_: Resource, frame: Any, context: Context) -> Key:
    """The patient's team that this consultant is of."""
    return Key(f"{_patient_id(context)}|{frame.field(1)}|{frame.field(7) or frame.field(2)}")


def of_order(purpose: str) -> Any:
    """Return the key of the Task that an order has once for each purpose."""

    def key(_: Resource, __: Any, context: Context) -> Key:
        found = context.built("order") or context.built("medication")
        return Key(f"{found[0].reference if found else _message(context)}|{purpose}")

    return key


def the_patient(_: Any, context: Context) -> dict[str, Any] | None:
    """A Reference to the patient of the message."""
    found = context.built("patient")
    return {"reference": found[0].reference} if found else None


def coverage(_: Resource, frame: Any, context: Context) -> Key:
    """Patient with plan (IN1-2), company (IN1-3) and policy number (IN1-36)."""
    parts = [split(frame.field(number), context.component)[0] for number in (2, 3, 36)]
    return Key("|".join([_patient_id(context), *parts]))


def _patient_id(context: Context) -> str:
    found = context.built("patient")
    return str(found[0].resource["id"]) if found else _message(context)


def _order_number(context: Context) -> str:
    found = context.built("order")
    return found[0].reference if found else f"{_message(context)}|{_ordinal(context)}"


def _ordinal(context: Context) -> str:
    segment = context.nearest("OBR")
    return str(segment.position) if segment else ""


def _message(context: Context) -> str:
    return f"{context.site.site}|{context.field('MSH', 4)}|{context.field('MSH', 10)}"


KEYS: dict[str, Any] = {
    "patient": patient,
    "prior_patient": prior_patient,
    "renumbered_patient": renumbered_patient,
    "moved_visit": moved_visit,
    "encounter": encounter,
    "visit_number": visit_number,
    "identified": identified,
    "organization": organization,
    "location": location,
    "order": order,
    "report": report,
    "observation": observation,
    "attachment": attachment,
    "document": document,
    "specimen": specimen,
    "allergy": of_patient(3),
    "relative": of_patient(2),
    "condition": condition,
    "coverage": coverage,
    "procedure": procedure,
    "guarantor": of_patient(3),
    "immunization": immunization,
    "appointment": appointment,
    "provider": provider,
    "consultant": consultant,
    "fulfilment": of_order("fulfill"),
    "cancellation": of_order("abort"),
}
FRAMES: dict[str, Any] = {"the_patient": the_patient}
