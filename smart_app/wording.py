"""Resources as a person reads them: names, dates in the programme's time zone, codes as words.

https://hl7.org/fhir/R4/datatypes.html
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from smart_app import vocabulary as words

Resource = Mapping[str, Any]
_RECORD_NUMBER = ("http://terminology.hl7.org/CodeSystem/v2-0203", "MR")
_FILLER = ("http://terminology.hl7.org/CodeSystem/v2-0203", "FILL")
_instant = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)")
_NPI = "http://hl7.org/fhir/sid/us-npi"


def code_in(concept: Resource | None, system: str) -> str:
    """Return the first code of ``system`` in a CodeableConcept; empty when there is none."""
    codings = (concept or {}).get("coding", ())
    return next((str(coding.get("code", "")) for coding in codings if coding.get("system") == system), "")


def concept_text(concept: Resource | None) -> str:
    """Return the words of a CodeableConcept: its text, else the first display, else the first code."""
    given = concept or {}
    codings = given.get("coding", ())
    displays = [str(coding[name]) for name in ("display", "code") for coding in codings if coding.get(name)]
    return str(given.get("text", "")) or next(iter(displays), "")


def person_name(resource: Resource | None) -> str:
    """Return the name of a Patient or Practitioner, or an Organization's; empty when it has none."""
    names = (resource or {}).get("name", ())
    if isinstance(names, str):
        return names
    if not names:
        return ""
    name = next((item for item in names if item.get("use") == "official"), names[0])
    parts = (*name.get("prefix", ()), *name.get("given", ()), name.get("family", ""))
    return str(name.get("text") or " ".join(part for part in parts if part))


def record_number(patient: Resource) -> str:
    """Return the patient's medical record number, else the first identifier."""
    return _identifier(patient, _RECORD_NUMBER)


def case_number(request: Resource) -> str:
    """Return the programme's number of the case, else the first identifier."""
    return _identifier(request, _FILLER)


def npi(practitioner: Resource | None) -> str:
    """Return the practitioner's NPI; empty when there is none."""
    given = (practitioner or {}).get("identifier", ())
    return next((str(item.get("value", "")) for item in given if item.get("system") == _NPI), "")


def residence(patient: Resource) -> str:
    """Return town and state of the patient's address."""
    addresses = patient.get("address", ())
    home: Resource = next((item for item in addresses if item.get("use") == "home"), next(iter(addresses), {}))
    return ", ".join(str(home[part]) for part in ("city", "state") if home.get(part))


def target(reference: Resource | None) -> str:
    """Return ``Type/id`` of a Reference element, without version; empty when it has none."""
    return str((reference or {}).get("reference", "")).partition("/_history/")[0]


def kind(task: Resource) -> str:
    """Return the so-task code of a Task."""
    return code_in(task.get("code"), words.SO_TASK)


def extension(element: Resource | None, url: str) -> Resource:
    """Return the extension with this URL, an empty one when it is absent."""
    found: Resource = next((item for item in (element or {}).get("extension", ()) if item.get("url") == url), {})
    return found


def moment(text: str) -> datetime | None:
    """Return a FHIR dateTime with time of day as an aware datetime; None for a bare date or nothing."""
    if "T" not in text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:  # data of others: shown as it is rather than refused
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def show_day(text: str, zone: ZoneInfo) -> str:
    """Return a date or dateTime as ``10 Mar 2026``; a year or month alone stays as it is."""
    found = moment(text)
    if found:
        day: date = found.astimezone(zone).date()
    else:
        try:
            day = date.fromisoformat(text)
        except ValueError:
            return text
    return f"{day.day} {day:%b %Y}"


def show_time(text: str, zone: ZoneInfo) -> str:
    """Return a dateTime as ``10 Mar 2026, 16:00 EDT``; a bare date without time."""
    found = moment(text)
    return f"{show_day(text, zone)}, {found.astimezone(zone):%H:%M %Z}" if found else show_day(text, zone)


def show_times_in(text: str, zone: ZoneInfo) -> str:
    """Return ``text`` with the instants a machine wrote into it as a person reads them."""
    return _instant.sub(lambda found: show_time(found[0], zone), text)


def age(birth_date: str, today: date) -> str:
    """Return the age in years; empty when the day of birth is not fully known."""
    try:
        born = date.fromisoformat(birth_date)
    except ValueError:
        return ""
    return str(today.year - born.year - ((today.month, today.day) < (born.month, born.day)))


def _identifier(resource: Resource, wanted: tuple[str, str]) -> str:
    given = resource.get("identifier", ())
    marked = (item for item in given if code_in(item.get("type"), wanted[0]) == wanted[1])
    found: Resource = next(marked, next(iter(given), {}))
    return str(found.get("value", ""))
