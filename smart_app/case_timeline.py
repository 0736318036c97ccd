"""The story of a case in order of time, told by the history of its Tasks: no I/O, no markup.

docs/case-page.md
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from smart_app import vocabulary as words
from smart_app.case_records import arrival, is_left_open
from smart_app.case_sources import CaseSources
from smart_app.case_view import person, status_code, status_words
from smart_app.wording import concept_text, moment, show_day, show_time, show_times_in, target

Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened at ``time`` of its day; ``kind`` (case, record, person, report) picks its mark."""

    time: str
    what: str
    detail: str
    kind: str


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on one day."""

    day: str
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class _Dated:
    at: str
    what: str
    detail: str
    kind: str


def timeline(sources: CaseSources, zone: ZoneInfo) -> tuple[Day, ...]:
    """Return what happened, day by day, oldest first."""
    dated = [*_requested(sources), *_states(sources), *_records(sources), *_reviews(sources), *_deliveries(sources)]
    dated = [event for event in dated if moment(event.at)]
    dated.sort(key=lambda event: (moment(event.at), event.kind != "record"))
    days = groupby(dated, key=lambda event: show_day(event.at, zone))
    return tuple(Day(day, tuple(_event(event, zone) for event in events)) for day, events in days)


def _event(event: _Dated, zone: ZoneInfo) -> Event:
    time = show_time(event.at, zone).rpartition(", ")[2]
    return Event(time, event.what, show_times_in(event.detail, zone), event.kind)


def _requested(sources: CaseSources) -> Iterator[_Dated]:
    who = person(sources, target(sources.request.get("requester")))
    at = str(sources.request.get("authoredOn", ""))
    yield _Dated(at, "Second opinion requested", f"by {who}" if who else "", "person")


def _states(sources: CaseSources) -> Iterator[_Dated]:
    """The case's own states. An offer is told with the specialist's name; falling back after a decline is not news."""
    before, told = "", {"offered"}
    for version in sources.history:
        now = status_code(version)
        if now != before and now not in told:
            at = str(version.get("lastModified") or version.get("meta", {}).get("lastUpdated", ""))
            yield _Dated(at, status_words(version), concept_text(version.get("statusReason")), "case")
        before = now
        told |= {now} & {"records-complete"}


def _records(sources: CaseSources) -> Iterator[_Dated]:
    for task in sources.of_kind(words.RECORD_REQUEST):
        if task.get("status") not in ("completed", "cancelled"):
            continue
        title = str(task.get("code", {}).get("text") or task.get("description", "Record"))
        output = next(
            (target(item["valueReference"]) for item in task.get("output", ()) if "valueReference" in item), ""
        )
        at, source = arrival(sources, output) if output else ("", "")
        if task["status"] == "completed":
            yield _Dated(at or str(task.get("lastModified", "")), f"{title}: arrived", source, "record")
        else:
            why = concept_text(task.get("statusReason"))
            yield _Dated(
                str(task.get("lastModified", "")),
                f"{title}: {'closed' if is_left_open(task) else 'waived'}",
                why,
                "record",
            )


def _reviews(sources: CaseSources) -> Iterator[_Dated]:
    for task in sources.of_kind(words.SPECIALIST_REVIEW):
        who = person(sources, target(task.get("owner"))) or "a specialist"
        yield _Dated(str(task.get("authoredOn", "")), f"Case offered to {who}", "", "person")
        at = str(task.get("lastModified", ""))
        if task.get("status") == "rejected":
            yield _Dated(at, f"{who} declined", concept_text(task.get("statusReason")), "person")
        elif task.get("status") == "completed":
            yield _Dated(at, f"{who} completed the review", "", "person")


def _deliveries(sources: CaseSources) -> Iterator[_Dated]:
    for task in sources.of_kind(words.REPORT_DELIVERY):
        if task.get("status") != "completed":
            continue
        to = [person(sources, target(item)) for item in task.get("restriction", {}).get("recipient", ())]
        proof = next((str(item["valueString"]) for item in task.get("output", ()) if item.get("valueString")), "")
        named = ", ".join(name for name in to if name) or "the recipient"
        yield _Dated(str(task.get("lastModified", "")), f"Report received by {named}", proof, "report")
