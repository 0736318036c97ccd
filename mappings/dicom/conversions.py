"""The functions the mapping rows name: DICOM values in, a FHIR element out, None when there is nothing to say.

PS3.3 §8 (coding schemes) and FHIR R4 datatypes: https://hl7.org/fhir/R4/datatypes.html
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from functools import cache
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

DCM = "http://dicom.nema.org/resources/ontology/DCM"
_schemes = {
    "DCM": DCM,
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "SRT": "http://snomed.info/srt",
    "UCUM": "http://unitsofmeasure.org",
    "RADLEX": "http://radlex.org",
    "C4": "http://www.ama-assn.org/go/cpt",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "ICD10CM": "http://hl7.org/fhir/sid/icd-10-cm",
}


@dataclass(frozen=True, slots=True)
class Context:
    """What the header cannot say: the site's identifier system for accession numbers, and its time zone."""

    accession_system: str
    zone: str = "UTC"


Conversion = Callable[[list[list[Any]], Context], Any]


@cache
def table(name: str) -> dict[str, dict[str, str]]:
    """Return a code table of this folder by its first column."""
    lines = files(__package__).joinpath(f"{name}.csv").read_text(encoding="utf-8").splitlines()
    return {next(iter(row.values())): row for row in csv.DictReader(lines)}


def _first(values: list[Any]) -> str:
    return "" if not values or values[0] is None else str(values[0]).strip()


def text(values: list[list[Any]], _: Context) -> str | None:
    """Return the value as a string."""
    return _first(values[0]) or None


def unsigned(values: list[list[Any]], _: Context) -> int | None:
    """Return the value as an unsignedInt; a negative or fractional number has no place there."""
    found = _first(values[0])
    return int(found) if found.isascii() and found.isdigit() else None


def study_uid(values: list[list[Any]], _: Context) -> dict[str, Any] | None:
    """Return the StudyInstanceUID the way FHIR R4 wants it."""
    found = _first(values[0])
    return {"use": "official", "system": "urn:dicom:uid", "value": f"urn:oid:{found}"} if found else None


def accession(values: list[list[Any]], context: Context) -> dict[str, Any] | None:
    """Return the accession number with its type, so that a filler order finds its study."""
    found = _first(values[0])
    if not found:
        return None
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN", "display": "Accession ID"}
    return {"type": {"coding": [coding]}, "system": context.accession_system, "value": found}


def study_id(values: list[list[Any]], _: Context) -> dict[str, Any] | None:
    """Return StudyID, which means something inside the hospital only."""
    found = _first(values[0])
    return {"use": "secondary", "value": found} if found else None


def date_time(values: list[list[Any]], context: Context) -> str | None:
    """Return DA and TM as a dateTime: with the header's UTC offset, else in the site's zone; a date alone stays one."""
    day, time, offset = (_first(part) for part in values)
    day = day.replace(".", "").replace("-", "")
    try:
        date = datetime.strptime(day, "%Y%m%d")  # noqa: DTZ007 - DA has no zone; it is added below
    except ValueError:
        return None
    digits = time.replace(":", "").partition(".")[0]
    try:
        moment = datetime.strptime(day + digits.ljust(6, "0"), "%Y%m%d%H%M%S")  # noqa: DTZ007 - as above
    except ValueError:
        digits = ""
    if len(digits) < len("hhmm"):
        return date.date().isoformat()
    return moment.replace(tzinfo=_zone(offset) or ZoneInfo(context.zone)).isoformat()


def _zone(offset: str) -> tzinfo | None:
    if len(offset) != len("+hhmm") or offset[0] not in "+-" or not offset[1:].isdigit():
        return None
    away = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:]))
    return timezone(-away if offset[0] == "-" else away) if away < timedelta(hours=24) else None


def named_person(values: list[list[Any]], _: Context) -> dict[str, str] | None:
    """Return a person we know by name only."""
    found = values[0][0] if values[0] else None
    name = found.get("Alphabetic", "") if isinstance(found, dict) else ""
    family, given, middle, prefix, suffix = (name.split("^") + [""] * 5)[:5]
    display = " ".join(part.strip() for part in (prefix, given, middle, family, suffix) if part.strip())
    return {"display": display} if display else None


def concepts(values: list[list[Any]], _: Context) -> list[dict[str, Any]]:
    """Return a code sequence as CodeableConcepts."""
    return [found for item in values[0] if isinstance(item, dict) and (found := _concept(item))]


def _concept(item: dict[str, Any]) -> dict[str, Any] | None:
    def part(tag: str) -> str:
        return _first(item.get(tag, {}).get("Value") or [])

    code, scheme, meaning = part("00080100") or part("00080119"), part("00080102"), part("00080104")
    if not code:
        return {"text": meaning} if meaning else None
    coding = {"system": _schemes.get(scheme), "code": code, "display": meaning}
    concept: dict[str, Any] = {"coding": [{name: value for name, value in coding.items() if value}]}
    return {**concept, "text": meaning} if meaning else concept


def modality(values: list[list[Any]], _: Context) -> dict[str, str]:
    """Return the modality; one that is not said is ``OT``, since FHIR requires one."""
    code = _first(values[0]) or "OT"
    known = table("modalities").get(code)
    return {"system": DCM, "code": code, **({"display": known["display"]} if known else {})}


def body_part(values: list[list[Any]], _: Context) -> dict[str, str] | None:
    """Return BodyPartExamined as SNOMED CT where PS3.16 Annex L says which, else as text."""
    term = _first(values[0])
    known = table("body_parts").get(term.upper().replace(" ", "").replace("_", ""))
    if known:
        return {"system": "http://snomed.info/sct", "code": known["code"], "display": known["display"]}
    return {"display": term} if term else None


def laterality(values: list[list[Any]], _: Context) -> dict[str, str] | None:
    """Return L or R."""
    codes = {"L": ("7771000", "Left"), "R": ("24028007", "Right")}
    found = codes.get(_first(values[0]))
    return {"system": "http://snomed.info/sct", "code": found[0], "display": found[1]} if found else None


def sop_class(values: list[list[Any]], _: Context) -> dict[str, str] | None:
    """Return the SOP class as FHIR R4 codes it."""
    found = _first(values[0])
    return {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{found}"} if found else None


CONVERSIONS: dict[str, Conversion] = {
    function.__name__: function
    for function in (
        *(text, unsigned, study_uid, accession, study_id, date_time, named_person),
        *(concepts, modality, body_part, laterality, sop_class),
    )
}
