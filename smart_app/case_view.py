"""What the case page shows, as plain values made of resources: no I/O, no markup.

docs/case-page.md
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from smart_app import vocabulary as words
from smart_app.case_sources import CaseSources
from smart_app.wording import (
    age,
    case_number,
    code_in,
    concept_text,
    npi,
    person_name,
    record_number,
    residence,
    show_day,
    show_time,
    target,
)

Resource = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Banner:
    """Who the page is about."""

    name: str
    born: str
    age: str
    sex: str
    record_number: str
    residence: str


@dataclass(frozen=True, slots=True)
class Station:
    """One station of the stepper; ``state`` is done, current, todo or stopped."""

    label: str
    state: str
    reached: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the facts beside the case."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class QuestionAndAnswer:
    """One question of the intake and, once the report is there, its answer."""

    number: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Report:
    """The signed report; ``pdf`` is a path of this app, empty when there is no PDF."""

    outcome: str
    tone: str
    conclusion: tuple[str, ...]
    signed_by: str
    signed_at: str
    pdf: str
    is_signed: bool
    version: str


def banner(patient: Resource, now: datetime, zone: ZoneInfo) -> Banner:
    """Return the patient's banner."""
    born = str(patient.get("birthDate", ""))
    return Banner(
        name=person_name(patient) or "Name not recorded",
        born=show_day(born, zone),
        age=age(born, now.astimezone(zone).date()),
        sex=str(patient.get("gender", "")),
        record_number=record_number(patient),
        residence=residence(patient),
    )


def status_code(case: Resource) -> str:
    """Return the code the status line speaks of: the businessStatus, or an end that has none."""
    status = str(case.get("status", ""))
    if status in ("cancelled", "failed", "entered-in-error"):
        return status
    return code_in(case.get("businessStatus"), words.SO_STATUS) or ("submitted" if case else "intake")


def status_words(case: Resource) -> str:
    """Return the status as a sentence fragment."""
    code = status_code(case)
    return words.STATUS_WORDS.get(code, code)


def status_tone(case: Resource) -> str:
    """Return done, active, waiting or stopped: the colour of the status."""
    code = status_code(case)
    if code == "delivered":
        return "done"
    if code in ("ineligible", "cancelled", "failed", "entered-in-error"):
        return "stopped"
    return "waiting" if code == "awaiting-information" else "active"


def stations(sources: CaseSources, zone: ZoneInfo) -> tuple[Station, ...]:
    """Return the stepper: where the case is, and when it reached each station."""
    reached = _reached(sources)
    code = status_code(sources.case)
    here = max(reached, default=0)
    ended = status_tone(sources.case) == "stopped"
    if not ended:
        here = _station_of(sources.case, here)
    last = len(words.STATIONS) - 1
    found = []
    for index, (label, _) in enumerate(words.STATIONS):
        state = "done" if index < here or code == "delivered" else "current" if index == here else "todo"
        if ended and index == here:
            state = "stopped"
        when = reached.get(index, "") if index <= here else ""
        if index == last and code == "delivered":
            when = str(sources.case.get("lastModified", when))
        found.append(Station(label, state, show_day(when, zone)))
    return tuple(found)


def reason(case: Resource) -> str:
    """Return why the case waits or ended, in words; empty when nobody said."""
    return concept_text(case.get("statusReason"))


def facts(sources: CaseSources, zone: ZoneInfo) -> tuple[Fact, ...]:
    """Return the facts beside the case: who asked, who answers, until when."""
    request, case = sources.request, sources.case
    requester = person(sources, target(request.get("requester")))
    specialist = _specialist(sources)
    restriction = case.get("restriction", {})
    limit = _value(restriction, words.SO_LIMIT)
    number = npi(sources.known.get(target(request.get("requester"))))
    found = (
        Fact(
            "Referring physician",
            requester or str(request.get("requester", {}).get("display", "")),
            number and f"NPI {number}",
        ),
        Fact("Specialist", specialist),
        Fact("Requested", show_time(str(request.get("authoredOn", "")), zone)),
        Fact(
            "Due",
            show_day(str(restriction.get("period", {}).get("end", "")), zone),
            limit and f"Latest {show_day(limit, zone)}",
        ),
        Fact("Priority", str(request.get("priority", "routine")).capitalize()),
        Fact("Reason", ", ".join(text for item in request.get("reasonCode", ()) if (text := concept_text(item)))),
    )
    return tuple(fact for fact in found if fact.value)


def questions(responses: Sequence[Resource]) -> tuple[QuestionAndAnswer, ...]:
    """Return the intake's questions, each with the specialist's answer as far as there is one."""
    texts = {link: text for response in responses for link, text in _texts(response)}
    numbers = sorted(link.removeprefix("question-") for link in texts if link.startswith("question-"))
    return tuple(
        QuestionAndAnswer(number, texts[f"question-{number}"], texts.get(f"answer-{number}", "")) for number in numbers
    )


def report(sources: CaseSources, zone: ZoneInfo) -> Report | None:
    """Return the newest signed report of the case, None while there is none."""
    signed = [item for item in sources.reports if item.get("status") in ("final", "amended", "corrected", "appended")]
    if not signed:
        return None
    newest = max(signed, key=lambda item: (str(item.get("issued", "")), str(item["id"])))
    outcome = next((code for item in newest.get("conclusionCode", ()) if (code := code_in(item, words.SO_OUTCOME))), "")
    readers = newest.get("resultsInterpreter", ())
    who: Resource = next(iter(readers), {})
    reference = f"DiagnosticReport/{newest['id']}"
    return Report(
        outcome=words.OUTCOME_WORDS.get(outcome, outcome),
        tone={"agree": "agree", "different-plan": "plan", "different-diagnosis": "diagnosis"}.get(outcome, "plan"),
        conclusion=_conclusion(newest),
        signed_by=str(who.get("display", "")) or person(sources, target(who)),
        signed_at=show_time(str(newest.get("issued", "")), zone),
        pdf=f"/app/reports/{newest['id']}.pdf" if newest.get("presentedForm") else "",
        is_signed=any(item.get("signature") for item in _about(sources.provenances, reference)),
        version=str(newest["status"]),
    )


def title(sources: CaseSources) -> str:
    """Return the number of the case."""
    return case_number(sources.request) or str(sources.request["id"])


def _reached(sources: CaseSources) -> dict[int, str]:
    """When the case first came to each station, by its index."""
    found: dict[int, str] = {0: str(sources.request.get("authoredOn", ""))}
    for version in sources.history:
        index = _station_of(version, -1)
        if index >= 0:
            found.setdefault(index, str(version.get("lastModified") or version.get("meta", {}).get("lastUpdated", "")))
    return found


def _station_of(task: Resource, default: int) -> int:
    code = code_in(task.get("businessStatus"), words.SO_STATUS)
    if code == "awaiting-information" and task.get("status") == "received":
        code = "eligibility"  # information is missing to decide, not a record
    return next((index for index, (_, codes) in enumerate(words.STATIONS) if code in codes), default)


def _specialist(sources: CaseSources) -> str:
    working = [
        task
        for task in sources.of_kind(words.SPECIALIST_REVIEW)
        if task["status"] not in ("rejected", "cancelled", "failed")
    ]
    return person(sources, target(working[-1].get("owner"))) if working else ""


def person(sources: CaseSources, reference: str) -> str:
    """Return the name behind a reference to a person, a role or an organisation; empty when it cannot be read."""
    resource = sources.known.get(reference, {})
    if resource.get("resourceType") == "PractitionerRole":
        resource = sources.known.get(target(resource.get("practitioner")), {})
    return person_name(resource)


def _value(element: Resource, url: str) -> str:
    for item in element.get("extension", ()):
        if item.get("url") == url:
            return next((str(value) for name, value in item.items() if name.startswith("value")), "")
    return ""


def _texts(parent: Resource) -> Iterator[tuple[str, str]]:
    for item in parent.get("item", ()):
        text = "\n\n".join(str(answer["valueString"]) for answer in item.get("answer", ()) if answer.get("valueString"))
        if text.strip():
            yield str(item.get("linkId", "")), text
        yield from _texts(item)


def _conclusion(resource: Resource) -> tuple[str, ...]:
    """The paragraphs of the conclusion, without the outcome sentence that the page shows above them."""
    paragraphs = [part.strip() for part in str(resource.get("conclusion", "")).split("\n\n") if part.strip()]
    outcomes = {concept_text(item) for item in resource.get("conclusionCode", ())}
    return tuple(part for part in paragraphs if part.rstrip(".") not in outcomes)


def _about(provenances: Sequence[Resource], reference: str) -> list[Resource]:
    return [item for item in provenances if reference in (target(found) for found in item.get("target", ()))]
