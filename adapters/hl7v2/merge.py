"""How a mapped resource meets the stored one: null semantics, lists that grow, and states that never go backwards.

Pure. Rules: ``||`` keeps, ``""`` clears; a late preliminary result never replaces a final one; a late admission never
reopens a finished encounter.
"""

from typing import Any

from adapters.hl7v2.conversion import MappedResource

_unions = {
    "identifier": "value",
    "result": "reference",
    "specimen": "reference",
    "media": "link",
    "relatesTo": "target",
    "diagnosis": "condition",
    "extension": "url",
    "link": "other",
}
_open = {
    "Appointment": frozenset({"proposed", "pending", "booked", "arrived", "checked-in", "waitlist"}),
    "Encounter": frozenset({"planned", "arrived", "triaged", "in-progress", "onleave", "unknown"}),
    "DiagnosticReport": frozenset({"registered", "partial", "preliminary"}),
    "MedicationRequest": frozenset({"active", "on-hold", "draft", "unknown"}),
    "Observation": frozenset({"registered", "preliminary"}),
    "ServiceRequest": frozenset({"draft", "active", "on-hold", "unknown"}),
}
_server_owned = ("id", "meta")
_choices = ("value", "deceased", "multipleBirth", "onset", "effective", "occurrence")
"""Elements of which only one of several types may stand (``deceasedBoolean``, ``deceasedDateTime``)."""


def merged(stored: dict[str, Any] | None, mapped: MappedResource) -> dict[str, Any]:
    """Return the resource to write; ``stored`` itself when nothing may change.

    The stored resource's id and meta win. ``clear`` removes only what the same message does not fill again.
    """
    incoming = mapped.resource
    if stored is None:
        return {**mapped.defaults, **incoming}
    if mapped.mode == "ensure" or (mapped.mode == "replace" and _goes_backwards(stored, incoming)):
        return stored
    kept = {name: stored[name] for name in _server_owned if name in stored}
    if mapped.mode == "replace":
        return {**mapped.defaults, **incoming, **kept}
    result = _combined(stored, incoming)
    if mapped.reopens:
        _take_end_back(result, incoming)
    elif _goes_backwards(stored, incoming):
        result["status"] = stored["status"]
    for name in mapped.clear:
        if name not in incoming:
            result.pop(name, None)
    return {**mapped.defaults, **result, **kept}


def _goes_backwards(stored: dict[str, Any], incoming: dict[str, Any]) -> bool:
    still_open = _open.get(str(incoming.get("resourceType")), frozenset())
    return incoming.get("status") in still_open and "status" in stored and stored["status"] not in still_open


def _take_end_back(result: dict[str, Any], incoming: dict[str, Any]) -> None:
    """A cancelled discharge (A13): the end of the stay and where the patient went are no more, unless sent again."""
    for name, part in (("period", "end"), ("hospitalization", "dischargeDisposition")):
        if part in result.get(name, {}) and part not in incoming.get(name, {}):
            kept = {key: value for key, value in result[name].items() if key != part}
            result.pop(name)
            if kept:
                result[name] = kept


def _combined(stored: dict[str, Any], incoming: dict[str, Any]) -> dict[str, Any]:
    result = dict(stored)
    for name, value in incoming.items():
        before = stored.get(name)
        if isinstance(before, dict) and isinstance(value, dict) and "coding" not in value and "reference" not in value:
            result[name] = _combined(before, value)
        elif isinstance(before, list) and isinstance(value, list) and name in _unions:
            result[name] = _union(before, value, _unions[name])
        elif name not in stored and (choice := next((c for c in _choices if name.startswith(c)), None)):
            result = {key: item for key, item in result.items() if not key.startswith(choice)} | {name: value}
        else:
            result[name] = value
    return result


def _union(before: list[Any], after: list[Any], key: str) -> list[Any]:
    """Return both lists; an entry of ``after`` takes the place of the one with the same system and key."""
    fresh = {_identity(entry, key): entry for entry in after}
    kept = [fresh.pop(_identity(entry, key), entry) for entry in before]
    return kept + list(fresh.values())


def _identity(entry: dict[str, Any], key: str) -> tuple[str, str]:
    return str(entry.get("system")), str(entry.get(key))
