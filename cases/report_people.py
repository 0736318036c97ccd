"""Name people, records and programmes from their resources, as a report shows them.

https://hl7.org/fhir/R4/datatypes.html#HumanName
"""

from collections.abc import Mapping
from typing import Any

from cases import codes
from cases.report_content import Letterhead, Person, ReviewedRecord

_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
_TITLES = {
    "DiagnosticReport": "Diagnostic report",
    "DocumentReference": "Document",
    "ImagingStudy": "Imaging study",
    "Observation": "Observation",
    "QuestionnaireResponse": "Questionnaire",
}


def patient(resource: Mapping[str, Any]) -> Person:
    """Return the patient with the medical record number, the first identifier when none is marked as such."""
    found = _identifier(resource, "MR")
    assigner = str(found.get("assigner", {}).get("display", ""))
    number = f"MRN {found['value']}" if found.get("value") else ""
    return Person(_reference(resource), _name(resource), " · ".join(part for part in (number, assigner) if part))


def practitioner(resource: Mapping[str, Any], role: Mapping[str, Any] | None = None) -> Person:
    """Return the practitioner with specialty and organisation from ``role``, else with the NPI."""
    given = role or {}
    specialty = next((text for value in given.get("specialty", ()) if (text := _text(value))), "")
    organization = str(given.get("organization", {}).get("display", ""))
    npi = next((str(item["value"]) for item in resource.get("identifier", ()) if item.get("system") == codes.NPI), "")
    parts = (specialty, organization) if specialty else (f"NPI {npi}" if npi else "", organization)
    return Person(_reference(resource), _name(resource), " · ".join(part for part in parts if part))


def referrer(request: Mapping[str, Any], resource: Mapping[str, Any] | None) -> Person:
    """Return the physician who asked: from their Practitioner, else as the request itself names them."""
    if resource is not None:
        return practitioner(resource)
    requester = request.get("requester", {})
    return Person(str(requester.get("reference", "")), str(requester.get("display", "")))


def letterhead(
    organization: Mapping[str, Any], *, name: str = "", time_zone: str = "America/New_York", paper: str = "us-letter"
) -> Letterhead:
    """Return the head of the report for ``organization``; ``name`` is the programme's own when it has one."""
    address: Mapping[str, Any] = next(iter(organization.get("address", ())), {})
    place = " ".join(str(address[part]) for part in ("state", "postalCode") if address.get(part))
    town = ", ".join(part for part in (*address.get("line", ()), str(address.get("city", "")), place) if part)
    contact = " · ".join(
        str(item["value"]) for item in organization.get("telecom", ()) if item.get("system") in ("phone", "url")
    )
    own = str(organization.get("name", ""))
    lines = tuple(line for line in (own if name and own != name else "", town, contact) if line)
    return Letterhead(_reference(organization), name or own, lines, time_zone, paper)


def record(resource: Mapping[str, Any], sender: str = "") -> ReviewedRecord:
    """Return a reviewed record: its title, its clinical date, and who sent it, else who performed or keeps it."""
    kind = str(resource["resourceType"])
    title = str(resource.get("description") or "") or next(
        (text for name in ("code", "type") if (text := _text(resource.get(name)))), _TITLES.get(kind, kind)
    )
    if kind == "ImagingStudy":
        title += _counts(resource)
    return ReviewedRecord(_reference(resource), title, _date(resource), sender or _source(resource))


def case_number(request: Mapping[str, Any]) -> str:
    """Return the programme's number of the case: the filler identifier, else the first, else the id."""
    found = _identifier(request, "FILL")
    return str(found.get("value") or request.get("id", ""))


def _identifier(resource: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    given = resource.get("identifier", ())
    marked = (item for item in given if codes.has_code(item.get("type"), (_IDENTIFIER_TYPE, kind)))
    first: Mapping[str, Any] = next(marked, next(iter(given), {}))
    return first


def _reference(resource: Mapping[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _name(resource: Mapping[str, Any]) -> str:
    names = resource.get("name", ())
    usable = [name for name in names if name.get("use") not in ("old", "nickname", "anonymous")] or names
    if not usable:
        return "Name not recorded"
    name = next((item for item in usable if item.get("use") == "official"), usable[0])
    parts = (*name.get("prefix", ()), *name.get("given", ()), name.get("family", ""))
    return str(name.get("text") or " ".join(part for part in parts if part))


def _text(concept: Mapping[str, Any] | None) -> str:
    given = concept or {}
    displays = (str(coding.get("display", "")) for coding in given.get("coding", ()))
    return str(given.get("text", "")) or next((text for text in displays if text), "")


def _date(resource: Mapping[str, Any]) -> str:
    for name in ("effectiveDateTime", "started", "date", "issued", "authored"):
        if resource.get(name):
            return str(resource[name])[:10]
    return str(resource.get("effectivePeriod", {}).get("start", ""))[:10]


def _source(resource: Mapping[str, Any]) -> str:
    for name in ("performer", "custodian", "author"):
        value = resource.get(name, ())
        for reference in [value] if isinstance(value, Mapping) else value:
            if reference.get("display"):
                return str(reference["display"])
    return "Imaging archive" if resource["resourceType"] == "ImagingStudy" else ""


def _counts(study: Mapping[str, Any]) -> str:
    series, instances = study.get("numberOfSeries"), study.get("numberOfInstances")
    return f", {series} series, {instances} images" if series and instances else ""
