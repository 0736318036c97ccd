"""Synthetic patients, the same on every run: about 330 resources each, in an order that keeps references true.

``python -m bench.generate --patients 1000`` prints the counts by type; ``--out FILE`` writes one transaction Bundle
a line. Patient ``n`` depends on ``n`` alone, so a small set is the beginning of a large one. No person is real.
"""

import argparse
import json
import math
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import vocabulary as v

BUNDLE_ENTRIES = 200
ORGANIZATIONS, PRACTITIONERS = 12, 80
Resource = dict[str, Any]
_last_day = datetime(2026, 3, 1, 8, tzinfo=UTC)


def directory() -> list[Resource]:
    """Return the organizations and practitioners every patient refers to."""
    organizations = [
        {
            "resourceType": "Organization",
            "id": f"org-{n}",
            "identifier": [{"system": "https://lakeside.example/organization", "value": f"{n:04d}"}],
            "active": True,
            "type": [v.concept("http://terminology.hl7.org/CodeSystem/organization-type", "prov", "Provider")],
            "name": f"{v.CITIES[n % len(v.CITIES)][0]} {v.SITES[n % len(v.SITES)]}",
            "address": [v.address(n, random.Random(f"org {n}"))],
        }
        for n in range(ORGANIZATIONS)
    ]
    return organizations + [_practitioner(n) for n in range(PRACTITIONERS)]


def _practitioner(n: int) -> Resource:
    dice = random.Random(f"practitioner {n}")
    return {
        "resourceType": "Practitioner",
        "id": f"prac-{n}",
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": f"{1_000_000_000 + n * 7919}"}],
        "active": True,
        "name": [{"family": dice.choice(v.FAMILIES), "given": [dice.choice(v.GIVEN)], "prefix": ["Dr"]}],
        "gender": dice.choice(("female", "male")),
    }


class _Record:
    """One patient's record while it is being made."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.dice = random.Random(f"patient {number}")
        self.id = f"p{number:06d}"
        self.resources: list[Resource] = [self._patient()]
        self.counts: Counter[str] = Counter()

    @property
    def subject(self) -> dict[str, str]:
        return {"reference": f"Patient/{self.id}"}

    def practitioner(self) -> dict[str, str]:
        return {"reference": f"Practitioner/prac-{self.dice.randrange(PRACTITIONERS)}"}

    def add(self, kind: str, short: str, **elements: Any) -> dict[str, str]:
        """Add a resource and return a reference to it."""
        id = f"{self.id}-{short}{self.counts[kind]}"
        self.counts[kind] += 1
        self.resources.append({"resourceType": kind, "id": id} | elements)
        return {"reference": f"{kind}/{id}"}

    def _patient(self) -> Resource:
        dice, number = self.dice, self.number
        age_days = int(min(max(dice.gauss(58, 18), 1), 99) * 365.25)
        return {
            "resourceType": "Patient",
            "id": self.id,
            "identifier": [{"system": "https://lakeside.example/mrn", "value": f"7{number:07d}"}],
            "active": True,
            "name": [{"use": "official", "family": dice.choice(v.FAMILIES), "given": dice.sample(v.GIVEN, 2)}],
            "telecom": [{"system": "phone", "value": f"555-{number % 10_000:04d}", "use": "home"}],
            "gender": dice.choices(("female", "male", "other"), (51, 48, 1))[0],
            "birthDate": (_last_day - timedelta(days=age_days)).date().isoformat(),
            "address": [v.address(number, dice)],
            "generalPractitioner": [self.practitioner()],
            "managingOrganization": {"reference": f"Organization/org-{number % ORGANIZATIONS}"},
        }


def patient_record(number: int) -> list[Resource]:
    """Return everything about one patient, each resource after those it refers to."""
    record = _Record(number)
    dice = record.dice
    conditions: list[dict[str, str]] = []
    # A few patients carry most of the record, as in any hospital.
    visits = min(130, max(3, int(dice.lognormvariate(math.log(28), 0.55))))
    for _ in range(dice.choices((0, 1, 2, 3), (55, 25, 13, 7))[0]):
        _allergy(record)
    days = sorted(dice.randrange(1, 3650) for _ in range(visits))
    for before in reversed(days):
        start = _last_day - timedelta(days=before, minutes=dice.randrange(600))
        _visit(record, start, conditions)
    for _ in range(dice.choices((0, 1, 2), (40, 45, 15))[0]):
        _second_opinion(record, conditions)
    return record.resources


def _visit(record: _Record, start: datetime, conditions: list[dict[str, str]]) -> None:
    dice = record.dice
    kind, display, minutes = dice.choices(v.VISITS, (82, 7, 11))[0]
    end = start + timedelta(minutes=minutes * dice.uniform(0.5, 2))
    encounter = record.add(
        "Encounter", "e", status="finished",
        identifier=[{"system": "https://lakeside.example/visit", "value": f"V{record.number}-{start:%Y%m%d%H%M}"}],
        **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": kind, "display": display}},
        subject=record.subject, participant=[{"individual": record.practitioner()}],
        period={"start": v.instant(start), "end": v.instant(end)},
        serviceProvider={"reference": f"Organization/org-{record.number % ORGANIZATIONS}"},
    )  # fmt: skip
    if dice.random() < 0.4:
        conditions.append(_condition(record, encounter, start))
    for code in dice.sample(v.VITALS, dice.randrange(3, len(v.VITALS) + 1)):
        _observation(record, encounter, start, code, "vital-signs")
    if dice.random() < 0.55:
        _laboratory(record, encounter, start)
    for _ in range(dice.choices((0, 1, 2, 3), (35, 35, 20, 10))[0]):
        _prescription(record, encounter, start)
    if dice.random() < 0.35:
        _procedure(record, encounter, start, end)
    if dice.random() < 0.4:
        _document(record, encounter, end)


def _allergy(record: _Record) -> None:
    base = "http://terminology.hl7.org/CodeSystem/allergyintolerance-"
    record.add(
        "AllergyIntolerance", "a",
        clinicalStatus=v.concept(base + "clinical", "active"),
        verificationStatus=v.concept(base + "verification", "confirmed"),
        type="allergy", category=["medication"], criticality=record.dice.choice(("low", "high")),
        code=v.concept(v.SNOMED, *record.dice.choice(v.ALLERGIES)), patient=record.subject,
    )  # fmt: skip


def _condition(record: _Record, encounter: dict[str, str], at: datetime) -> dict[str, str]:
    base, dice = "http://terminology.hl7.org/CodeSystem/condition-", record.dice
    return record.add(
        "Condition", "c",
        clinicalStatus=v.concept(base + "clinical", dice.choices(("active", "inactive"), (7, 3))[0]),
        verificationStatus=v.concept(base + "ver-status", "confirmed"),
        category=[v.concept(base + "category", "encounter-diagnosis")],
        code=v.concept(v.SNOMED, *dice.choices(v.CONDITIONS, v.skewed(v.CONDITIONS))[0]),
        subject=record.subject, encounter=encounter, onsetDateTime=at.date().isoformat(),
        recordedDate=v.instant(at),
    )  # fmt: skip


def _observation(
    record: _Record, encounter: dict[str, str], at: datetime, kind: v.Measure, category: str
) -> dict[str, str]:
    code, display, unit, mean, spread, digits = kind
    value = round(max(record.dice.gauss(mean, spread), mean / 10), digits)
    base = "http://terminology.hl7.org/CodeSystem/observation-category"
    return record.add(
        "Observation", "o", status="final", category=[v.concept(base, category)],
        code=v.concept(v.LOINC, code, display), subject=record.subject, encounter=encounter,
        effectiveDateTime=v.instant(at), issued=v.instant(at + timedelta(hours=1)),
        performer=[record.practitioner()],
        valueQuantity={"value": value, "unit": unit, "system": v.UCUM, "code": unit},
    )  # fmt: skip


def _laboratory(record: _Record, encounter: dict[str, str], at: datetime) -> None:
    (code, display), tests = record.dice.choice(v.PANELS)
    results = [_observation(record, encounter, at, test, "laboratory") for test in tests]
    base = "http://terminology.hl7.org/CodeSystem/v2-0074"
    record.add(
        "DiagnosticReport", "r", status="final", category=[v.concept(base, "LAB")],
        identifier=[{"system": "https://lakeside.example/filler", "value": f"F{record.number}-{at:%Y%m%d%H%M}"}],
        code=v.concept(v.LOINC, code, display), subject=record.subject, encounter=encounter,
        effectiveDateTime=v.instant(at), issued=v.instant(at + timedelta(hours=2)),
        performer=[record.practitioner()], result=results,
    )  # fmt: skip


def _prescription(record: _Record, encounter: dict[str, str], at: datetime) -> None:
    dice = record.dice
    code, display = dice.choices(v.DRUGS, v.skewed(v.DRUGS))[0]
    record.add(
        "MedicationRequest", "m", status=dice.choices(("active", "completed", "stopped"), (30, 60, 10))[0],
        intent="order", medicationCodeableConcept=v.concept(v.RXNORM, code, display), subject=record.subject,
        encounter=encounter, authoredOn=v.instant(at), requester=record.practitioner(),
        dosageInstruction=[{"text": "1 tablet daily", "timing": {"repeat": {"frequency": 1, "period": 1,
                                                                            "periodUnit": "d"}}}],
    )  # fmt: skip


def _procedure(record: _Record, encounter: dict[str, str], start: datetime, end: datetime) -> None:
    record.add(
        "Procedure", "x", status="completed", code=v.concept(v.SNOMED, *record.dice.choice(v.PROCEDURES)),
        subject=record.subject, encounter=encounter, performer=[{"actor": record.practitioner()}],
        performedPeriod={"start": v.instant(start), "end": v.instant(end)},
    )  # fmt: skip


def _document(record: _Record, encounter: dict[str, str], at: datetime) -> None:
    code, display = record.dice.choice(v.DOCUMENTS)
    record.add(
        "DocumentReference", "d", status="current", type=v.concept(v.LOINC, code, display), subject=record.subject,
        date=v.instant(at), author=[record.practitioner()], context={"encounter": [encounter]},
        content=[{"attachment": {"contentType": "text/plain", "data": "U3ludGhldGljIG5vdGUu" * 20, "title": display}}],
    )  # fmt: skip


def _second_opinion(record: _Record, conditions: list[dict[str, str]]) -> None:
    dice = record.dice
    at = _last_day - timedelta(minutes=dice.randrange(400 * 24 * 60))
    requester = record.practitioner()
    status = dice.choices(("active", "completed", "revoked"), (30, 60, 10))[0]
    number = f"{record.number}-{record.counts['ServiceRequest']}"
    request = record.add(
        "ServiceRequest", "s", status=status, intent="order", priority=dice.choice(("routine", "urgent")),
        identifier=[{"system": "https://lakeside.example/placer", "value": f"P{number}"}],
        code=v.concept(v.SNOMED, *v.SECOND_OPINION), subject=record.subject, authoredOn=v.instant(at),
        requester=requester, **({"reasonReference": conditions[-1:]} if conditions else {}),
    )  # fmt: skip
    states = {"active": ("requested", "accepted", "in-progress", "on-hold"), "completed": ("completed",),
              "revoked": ("cancelled", "rejected")}[status]  # fmt: skip
    record.add(
        "Task", "t", status=dice.choice(states), intent="order", priority="routine", focus=request,
        identifier=[{"system": "https://harbor.example/task", "value": f"T{number}"}],
        code={"text": "Give a second opinion"}, authoredOn=v.instant(at),
        lastModified=v.instant(at + timedelta(days=1)), requester=requester, owner=record.practitioner(),
        **{"for": record.subject},
    )  # fmt: skip


def bundle(resources: list[Resource]) -> bytes:
    """Return a transaction Bundle that puts every resource at its own id."""
    entry = [
        {
            "fullUrl": f"https://bench.example/fhir/{r['resourceType']}/{r['id']}",
            "resource": r,
            "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"},
        }
        for r in resources
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entry}).encode()


def batches(resources: list[Resource]) -> list[list[Resource]]:
    """Cut a record into bundles, in order: a later one may refer to an earlier one."""
    return [resources[at : at + BUNDLE_ENTRIES] for at in range(0, len(resources), BUNDLE_ENTRIES)]


def records(patients: int, first: int = 0) -> Iterator[list[Resource]]:
    """Yield the record of each patient, one at a time."""
    return (patient_record(number) for number in range(first, first + patients))


def main() -> None:
    """Count the resources, and write the bundles when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="a file for the bundles, one a line")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    with (options.out or Path("/dev/null")).open("wb") as out:
        for resources in (directory(), *records(options.patients)):
            counts.update(resource["resourceType"] for resource in resources)
            if options.out:
                out.writelines(bundle(part) + b"\n" for part in batches(resources))
    for kind, number in counts.most_common():
        print(f"{kind:<20} {number:10,}")
    print(f"{'all':<20} {counts.total():10,}")


if __name__ == "__main__":
    main()
