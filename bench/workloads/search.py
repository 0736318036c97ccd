"""W4, searches by string, date, token, reference and quantity; W5, shape by shape; W6, what a second opinion asks."""

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from bench import vocabulary as v
from bench.client import Connection
from bench.generate import PRACTITIONERS

Pairs = list[tuple[str, str]]
Shape = tuple[str, Callable[[random.Random, int], Pairs]]
"""A resource type, and what gives the parameters from a die and the number of patients loaded."""

PREFIXES = ("", "eq", "lt", "gt", "ge", "le", "sa", "eb")
_patient_page: Pairs = [("_count", "20"), ("_total", "none")]


def _patient(dice: random.Random, patients: int) -> str:
    return f"p{dice.randrange(patients):06d}"


def _owner(dice: random.Random) -> str:
    return f"Practitioner/prac-{dice.randrange(PRACTITIONERS)}"


def _day(dice: random.Random, first: date, last: date) -> str:
    return (first + timedelta(days=dice.randrange((last - first).days))).isoformat()


def _string(kind: str, parameter: str, words: Sequence[str], modifier: str = "") -> Shape:
    def pairs(dice: random.Random, _: int) -> Pairs:
        word = dice.choice(words)
        return [(parameter + modifier, word[1:4].lower() if modifier == ":contains" else word)]

    return kind, pairs


def _dates(kind: str, parameter: str, first: date, last: date) -> list[Shape]:
    def shape(prefix: str) -> Shape:
        return kind, lambda dice, _: [(parameter, prefix + _day(dice, first, last))]

    return [shape(prefix) for prefix in PREFIXES]


def _code(dice: random.Random) -> str:
    _, tests = dice.choice(v.PANELS)
    return f"{v.LOINC}|{dice.choice(tests)[0]}"


_strings = [
    shape
    for kind, parameter, words in (
        ("Patient", "name", v.FAMILIES),
        ("Patient", "address", [city for city, _, _ in v.CITIES]),
        ("Organization", "name", [city for city, _, _ in v.CITIES]),
    )
    for shape in (_string(kind, parameter, words), _string(kind, parameter, words, ":contains"))
]
_decade = date(2016, 6, 1), date(2026, 2, 20)
MIX: list[Shape] = [
    *_strings,
    *_dates("Patient", "birthdate", date(1935, 1, 1), date(2005, 1, 1)),
    *_dates("Observation", "date", *_decade),
    *_dates("Encounter", "date", *_decade),
    *[("Observation", lambda dice, _: [("category", dice.choice(("laboratory", "vital-signs")))])] * 3,
    ("Observation", lambda dice, n: [("patient", _patient(dice, n)), ("category", "laboratory")]),
    ("Encounter", lambda dice, n: [("patient", f"Patient/{_patient(dice, n)}")]),
    ("Observation", lambda dice, n: [("patient", _patient(dice, n)), ("code", _code(dice)), ("_sort", "-date")]),
    ("Observation", lambda dice, _: [("code", f"{v.LOINC}|2160-0"), ("value-quantity",
                                                                     f"gt{dice.uniform(1.2, 1.9):.1f}")]),
]  # fmt: skip

SHAPES: dict[str, Shape] = {
    "id": ("Patient", lambda dice, n: [("_id", _patient(dice, n))]),
    "identifier": ("Patient", lambda dice, n: [
        ("identifier", f"https://lakeside.example/mrn|7{dice.randrange(n):07d}")]),
    "string": _string("Patient", "family", v.FAMILIES),
    "string:exact": _string("Patient", "family", v.FAMILIES, ":exact"),
    "string:contains": _string("Patient", "family", v.FAMILIES, ":contains"),
    "two strings": ("Patient", lambda dice, _: [("family", dice.choice(v.FAMILIES)), ("given", dice.choice(v.GIVEN))]),
    "common token": ("Observation", lambda *_: [("category", "vital-signs")]),
    "rare token": ("Condition", lambda *_: [("code", f"{v.SNOMED}|{v.CONDITIONS[-1][0]}")]),
    "token or token": ("Condition", lambda *_: [("code", "109838007,399068003")]),
    "token:not": ("Encounter", lambda *_: [("class:not", "AMB")]),
    ":missing": ("ServiceRequest", lambda *_: [("performer:missing", "true")]),
    "patient, category, newest": ("Observation", lambda dice, n: [
        ("patient", _patient(dice, n)), ("category", "laboratory"), ("_sort", "-date")]),
    "code and date": ("Observation", lambda dice, _: [("code", _code(dice)), ("date", f"ge{_day(dice, *_decade)}")]),
    "date range": ("Encounter", lambda *_: [("date", "ge2024-03-01"), ("date", "lt2024-03-08")]),
    "quantity": ("Observation", lambda *_: [("code", f"{v.LOINC}|2160-0"), ("value-quantity", "gt1.8")]),
    "composite": ("Observation", lambda *_: [("code-value-quantity", f"{v.LOINC}|4548-4$gt8")]),
    "sorted, all": ("Patient", lambda *_: [("_sort", "-birthdate")]),
    "chained": ("Observation", lambda dice, n: [
        ("patient.identifier", f"https://lakeside.example/mrn|7{dice.randrange(n):07d}"), ("code", _code(dice))]),
    "_has": ("Patient", lambda *_: [("_has:Condition:patient:code", "109838007")]),
    "_include": ("MedicationRequest", lambda dice, n: [
        ("patient", _patient(dice, n)), ("_include", "MedicationRequest:requester")]),
    "_revinclude": ("Encounter", lambda dice, n: [
        ("patient", _patient(dice, n)), ("_revinclude", "Procedure:encounter")]),
    "count": ("Observation", lambda *_: [("code", f"{v.LOINC}|2160-0"), ("_summary", "count")]),
    "accurate total": ("Encounter", lambda *_: [("class", "EMER"), ("_total", "accurate")]),
}  # fmt: skip

OPEN = "requested,accepted,in-progress"
SECOND_OPINION: dict[str, Shape] = {
    "my open tasks": ("Task", lambda dice, _: [("owner", _owner(dice)), ("status", OPEN), ("_sort", "-authored-on")]),
    "tasks with their requests": ("Task", lambda dice, _: [
        ("owner", _owner(dice)), ("status", OPEN), ("_include", "Task:focus"), ("_include", "Task:patient")]),
    "requests of a patient by MRN": ("ServiceRequest", lambda dice, n: [
        ("patient.identifier", f"https://lakeside.example/mrn|7{dice.randrange(n):07d}"), ("status", "active")]),
    "requests with a task of mine": ("ServiceRequest", lambda dice, _: [
        ("_has:Task:focus:owner", _owner(dice)), ("status", "active")]),
    "reports with their results": ("DiagnosticReport", lambda dice, n: [
        ("patient", _patient(dice, n)), ("_include", "DiagnosticReport:result"), ("_sort", "-date")]),
    "newest laboratory values": ("Observation", lambda dice, n: [
        ("patient", _patient(dice, n)), ("category", "laboratory"), ("_sort", "-date")]),
    "documents of a patient": ("DocumentReference", lambda dice, n: [
        ("patient", _patient(dice, n)), ("_sort", "-date")]),
}  # fmt: skip


async def ask(connection: Connection, name: str, shape: Shape, dice: random.Random, patients: int) -> dict[str, Any]:
    """Send one search of a shape and return its Bundle."""
    kind, pairs = shape
    chosen = pairs(dice, patients)
    extra = [pair for pair in _patient_page if pair[0] not in dict(chosen) and "_summary" not in dict(chosen)]
    path = f"/{kind}?{urlencode(chosen + extra)}"
    bundle: dict[str, Any] = await connection.send(name, "GET", path)
    return bundle


def matches(bundle: dict[str, Any]) -> int:
    """Return how many resources of the page matched; for a count or an accurate total, that number."""
    if "entry" not in bundle:
        return int(bundle.get("total", 0))
    return sum(entry.get("search", {}).get("mode", "match") == "match" for entry in bundle["entry"])
