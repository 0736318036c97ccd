"""Match arriving resources against the rows of a record manifest. Pure.

A row is satisfied by a final resource that passes every filter of one of its requirements, carries one of its words,
and is not older than its look-back, counted from the day of the request.
https://hl7.org/fhir/R4/metadatatypes.html#DataRequirement
"""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Final

from cases import codes
from cases.snapshot import Resource, Snapshot, reference, targets
from programmes.model import Programme, Requirement, Row

_final: Final = {
    "DiagnosticReport": ("status", frozenset({"final", "amended", "corrected", "appended"})),
    "DocumentReference": ("status", frozenset({"current"})),
    "ImagingStudy": ("status", frozenset({"available"})),
    "Specimen": ("status", frozenset({"available"})),
}
EVIDENCE_TYPES: Final = tuple(_final)
_dates: Final = {
    "DiagnosticReport": ("effectiveDateTime", "effectivePeriod", "issued"),
    "DocumentReference": ("date",),
    "ImagingStudy": ("started",),
    "Specimen": ("receivedTime",),
}
_full_date = 10


def satisfying(row: Row, snapshot: Snapshot, programme: Programme) -> Resource | None:
    """Return the newest resource that satisfies the row, None when nothing does yet."""
    since = _asked_on(snapshot)
    found = [
        resource
        for resource in snapshot.evidence
        if not _is_ours(resource, snapshot, programme)
        and any(_matches(resource, requirement, since) for requirement in row.requirements)
    ]
    return max(found, key=lambda item: (_date_of(item) or date.min, str(item.get("id"))), default=None)


def row_of(task: Resource) -> str:
    """Return the id of the manifest row a record-request Task stands for."""
    found = (item for item in task.get("extension", ()) if item.get("url") == codes.SO_REQUIREMENT)
    return next((str(item.get("valueCode")) for item in found), "")


def is_mandatory(task: Resource) -> bool:
    """Tell whether the case cannot go on without this record."""
    return any(item.get("url") == codes.SO_MANDATORY and item.get("valueBoolean") for item in task.get("extension", ()))


def is_settled(task: Resource) -> bool:
    """Tell whether the row is satisfied, or waived with a reason."""
    return task.get("status") == "completed" or (task.get("status") == "cancelled" and "statusReason" in task)


def _matches(resource: Resource, requirement: Requirement, since: date | None) -> bool:
    return (
        resource.get("resourceType") == requirement.resource_type
        and _is_final(resource)
        and all(_codes_at(resource, item.path) & item.codes for item in requirement.filters)
        and (not requirement.words or any(word in _words(resource) for word in requirement.words))
        and _is_recent(resource, requirement.look_back_days, since)
    )


def _is_final(resource: Resource) -> bool:
    element, allowed = _final[resource["resourceType"]]
    unfinished = resource.get("docStatus") in ("preliminary", "entered-in-error")
    return resource.get(element) in allowed and not unfinished


def _is_ours(resource: Resource, snapshot: Snapshot, programme: Programme) -> bool:
    """A report this programme wrote is no record of the case it answers."""
    authored = {*targets(resource.get("performer")), *targets([resource.get("custodian", {})])}
    return programme.organization in authored or reference(snapshot.request) in targets(resource.get("basedOn"))


def _is_recent(resource: Resource, look_back_days: int | None, since: date | None) -> bool:
    made = _date_of(resource)
    if look_back_days is None or since is None or made is None:
        return True
    return made >= since - timedelta(days=look_back_days)


def _asked_on(snapshot: Snapshot) -> date | None:
    return _parse(str(snapshot.request.get("authoredOn") or snapshot.case.get("authoredOn") or ""))


def _date_of(resource: Resource) -> date | None:
    for element in _dates.get(resource["resourceType"], ()):
        value = resource.get(element)
        text = str(value.get("end") or value.get("start") or "") if isinstance(value, dict) else str(value or "")
        if found := _parse(text):
            return found
    return None


def _parse(text: str) -> date | None:
    """Return the day of a FHIR date or dateTime of any precision, the first one it can mean."""
    if not text:
        return None
    return date.fromisoformat((text + "-01-01")[:_full_date] if len(text) < _full_date else text[:_full_date])


def _codes_at(resource: Resource, path: str) -> frozenset[tuple[str | None, str]]:
    """Return (system, code) of every coding at a dotted path; a filter's coding without system never matches one."""
    elements: list[Any] = [resource]
    for name in path.split("."):
        found = [element[name] for element in elements if isinstance(element, dict) and name in element]
        elements = [item for value in found for item in (value if isinstance(value, list) else [value])]
    return frozenset(coding for element in elements for coding in _codings(element))


def _codings(element: Any) -> Iterator[tuple[str | None, str]]:
    if not isinstance(element, dict):
        return
    for coding in element.get("coding", (element,)):
        if coding.get("code"):
            yield coding.get("system"), str(coding["code"])


def _words(resource: Resource) -> str:
    """Everything a study says of the body part, in lower case."""
    parts: list[str] = [str(resource.get("description", ""))]
    for concept in (*resource.get("procedureCode", ()), resource.get("code", {})):
        parts.extend((str(concept.get("text", "")), *(str(c.get("display", "")) for c in concept.get("coding", ()))))
    for series in resource.get("series", ()):
        site = series.get("bodySite", {})
        parts.extend((str(series.get("description", "")), str(site.get("display", "")), str(site.get("code", ""))))
    return " ".join(parts).lower()
