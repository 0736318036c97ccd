"""Every case the user may see, with its status, its due date and the records still missing.

docs/case-page.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from smart_app import vocabulary as words
from smart_app.case_view import status_tone, status_words
from smart_app.fhir_client import FhirClient
from smart_app.wording import case_number, kind, moment, person_name, show_day, target

Resource = Mapping[str, Any]
_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class CaseLine:
    """One line of the list; ``missing`` names the records asked for and not yet received."""

    id: str
    number: str
    patient: str
    born: str
    status: str
    tone: str
    due: str
    is_late: bool
    missing: tuple[str, ...]


async def gather_list(client: FhirClient, now: datetime, zone: ZoneInfo) -> tuple[CaseLine, ...]:
    """Return the open cases by due date, then the closed ones."""
    cases = await client.search("Task", ("code", f"{words.SO_TASK}|{words.CASE}"))
    requests = await _by_id(client, "ServiceRequest", [target(case.get("focus")) for case in cases])
    patients = await _by_id(client, "Patient", [target(case.get("for")) for case in cases])
    parts: list[Resource] = []
    for chunk in _chunks([f"Task/{case['id']}" for case in cases]):
        parts += await client.search("Task", ("part-of", ",".join(chunk)))
    known = requests | patients
    return tuple(_line(case, known, parts, now, zone) for case in sorted(cases, key=_order))


def _line(
    case: Resource, known: Mapping[str, Resource], parts: Sequence[Resource], now: datetime, zone: ZoneInfo
) -> CaseLine:
    patient = known.get(target(case.get("for")), {})
    due = str(case.get("restriction", {}).get("period", {}).get("end", ""))
    tone = status_tone(case)
    by = moment(due)
    return CaseLine(
        id=str(case["id"]),
        number=case_number(known.get(target(case.get("focus")), {})) or str(case["id"]),
        patient=person_name(patient) or "Name not recorded",
        born=show_day(str(patient.get("birthDate", "")), zone),
        status=status_words(case),
        tone=tone,
        due=show_day(due, zone),
        is_late=bool(by and by < now and tone in ("active", "waiting")),
        missing=tuple(_missing(case, parts)) if tone in ("active", "waiting") else (),
    )


def _missing(case: Resource, parts: Sequence[Resource]) -> list[str]:
    address = f"Task/{case['id']}"
    return sorted(
        str(task.get("code", {}).get("text") or task.get("description", "Record"))
        for task in parts
        if kind(task) == words.RECORD_REQUEST
        and task.get("status") in ("requested", "received", "in-progress", "on-hold")
        and address in (target(item) for item in task.get("partOf", ()))
    )


def _order(case: Resource) -> tuple[bool, str, str]:
    closed = status_tone(case) in ("done", "stopped")
    due = str(case.get("restriction", {}).get("period", {}).get("end", ""))
    return closed, due or "9999", str(case.get("authoredOn", ""))


async def _by_id(client: FhirClient, resource_type: str, references: Sequence[str]) -> dict[str, Resource]:
    ids = list(dict.fromkeys(item.removeprefix(f"{resource_type}/") for item in references if item))
    found: list[Resource] = []
    for chunk in _chunks(ids):
        found += await client.search(resource_type, ("_id", ",".join(chunk)))
    return {f"{resource_type}/{item['id']}": item for item in found}


def _chunks(items: Sequence[str]) -> list[Sequence[str]]:
    return [items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE)]
