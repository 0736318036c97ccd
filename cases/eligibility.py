"""Decide eligibility from data: the programme's rows over facts taken from the patient's own resources. Pure.

A row whose fact is unknown waits, whatever its effect would be: nobody is refused for what we do not know.
https://hl7.org/fhir/R4/guidanceresponse.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from cases import codes
from cases.report_answers import questions
from cases.snapshot import Resource, Snapshot, canonical, reference, target, targets, values
from fhir_server.kernel import json
from programmes.model import Programme, Rule
from programmes.regions import region

Outcome = Literal["eligible", "waiting", "ineligible"]
_namespace = UUID("5ad6c6b5-5a0e-5c9c-8f6b-6b1f0f7b5a01")
_inpatient = frozenset({"IMP", "ACUTE", "NONAC"})  # v3-ActCode: inpatient and its two kinds
_full_date = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One row and what it came to; ``known`` is False when the data do not say."""

    rule: Rule
    passed: bool
    known: bool


@dataclass(frozen=True, slots=True)
class Assessment:
    """All rows, in the programme's order."""

    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The rows that did not pass, those that reject first."""
        failed = [finding for finding in self.findings if not finding.passed]
        return tuple(sorted(failed, key=lambda finding: not _rejects(finding)))

    @property
    def outcome(self) -> Outcome:
        """Ineligible if a known row rejects, waiting if any row fails or is unknown, else eligible."""
        if any(_rejects(finding) for finding in self.failures):
            return "ineligible"
        return "waiting" if self.failures else "eligible"

    @property
    def reason(self) -> tuple[str, str] | None:
        """Code and words for Task.statusReason, with the alternatives offered."""
        if not self.failures:
            return None
        parts = []
        for finding in self.failures:
            words = (finding.rule.message, finding.rule.alternatives)
            known = words if finding.known else (f"Not known yet: {finding.rule.fact}.",)
            parts.append(" ".join(part for part in known if part))
        return self.failures[0].rule.id, " ".join(parts)


def assess(snapshot: Snapshot, programme: Programme, now: datetime) -> Assessment:
    """Return what the programme's rows come to for this case at ``now``."""
    facts = gather_facts(snapshot, programme, now)
    return Assessment(tuple(_judge(rule, facts.get(rule.fact)) for rule in programme.rules))


def gather_facts(snapshot: Snapshot, programme: Programme, now: datetime) -> Mapping[str, str | None]:
    """Return every fact a row may speak of, as text; None where the data do not say."""
    intake = find_intake(snapshot, programme)
    return {
        "age": _age(snapshot.patient, now.astimezone(programme.clock.zone).date()),
        "residence": _residence(snapshot.patient, programme.country),
        "hospitalised": str(any(_in_hospital(item) for item in snapshot.encounters)).lower(),
        "priority": str(snapshot.request.get("priority") or snapshot.case.get("priority") or "routine"),
        "consent": "active" if any(_permits(item, now) for item in snapshot.consents) else "none",
        "questions": str(len(questions(intake))) if intake else "0",
    }


def find_intake(snapshot: Snapshot, programme: Programme) -> Resource | None:
    """Return the physician's completed QuestionnaireResponse of this case.

    It is named by Task.input or ServiceRequest.supportingInfo, or it is based on the ServiceRequest itself; failing
    that, it is the newest of the programme's intakes that is based on no request at all.
    """
    request = reference(snapshot.request)
    named = set(targets(snapshot.request.get("supportingInfo")))
    named |= {target(item.get("valueReference")) for item in snapshot.case.get("input", ())}
    finished = [
        response
        for response in snapshot.responses
        if canonical(response) != programme.opinion and response.get("status") in ("completed", "amended")
    ]
    for response in finished:
        if reference(response) in named or request in targets(response.get("basedOn")):
            return response
    unbound = [item for item in finished if canonical(item) == programme.intake and not item.get("basedOn")]
    return max(unbound, key=lambda item: (str(item.get("authored", "")), str(item["id"])), default=None)


def guidance(assessment: Assessment, snapshot: Snapshot, programme: Programme, now: str) -> dict[str, Any]:
    """Return the GuidanceResponse of an assessment; the same findings in a row give the same id."""
    rows = [
        {
            "name": finding.rule.id,
            "part": [
                {"name": "passed", "valueBoolean": finding.passed},
                {"name": "known", "valueBoolean": finding.known},
                {"name": "effect", "valueCode": finding.rule.effect},
            ],
        }
        for finding in assessment.findings
    ]
    count = sum(1 for _ in values(snapshot.case, "output", codes.OUTPUT_ELIGIBILITY))
    key = f"{reference(snapshot.case)}#{count}#{json.encode_text(rows)}"
    reason = assessment.reason
    result: dict[str, Any] = {
        "resourceType": "GuidanceResponse",
        "id": str(uuid5(_namespace, key)),
        "contained": [{"resourceType": "Parameters", "id": "rows", "parameter": rows}],
        "extension": [{"url": codes.SO_ELIGIBILITY, "valueCode": assessment.outcome}],
        "moduleCanonical": programme.url,
        "status": "data-required" if any(not finding.known for finding in assessment.findings) else "success",
        "subject": {"reference": reference(snapshot.patient)},
        "occurrenceDateTime": now,
        "outputParameters": {"reference": "#rows"},
    }
    if reason:
        result["reasonCode"] = [
            codes.concept(codes.SO_REASON, finding.rule.id, finding.rule.title) for finding in assessment.failures
        ]
        result["note"] = [{"text": reason[1]}]
    return result


def outcome_of(response: Resource) -> str | None:
    """Return the outcome a GuidanceResponse of ours carries."""
    found = (item for item in response.get("extension", ()) if item.get("url") == codes.SO_ELIGIBILITY)
    return next((str(item.get("valueCode")) for item in found), None)


def _rejects(finding: Finding) -> bool:
    return finding.known and finding.rule.effect == "reject"


def _judge(rule: Rule, fact: str | None) -> Finding:
    if fact is None:
        return Finding(rule, passed=False, known=False)
    passed = {
        ">=": lambda: int(fact) >= int(rule.values[0]),
        "is": lambda: fact == rule.values[0],
        "in": lambda: fact in rule.values,
        "not in": lambda: fact not in rule.values,
    }[rule.operator]()
    return Finding(rule, passed=passed, known=True)


def _age(patient: Resource, today: date) -> str | None:
    text = str(patient.get("birthDate", ""))
    if len(text) != _full_date:
        return _age_of_partial(text, today)
    born = date.fromisoformat(text)
    return str(today.year - born.year - ((today.month, today.day) < (born.month, born.day)))


def _age_of_partial(text: str, today: date) -> str | None:
    """The least age a birth date of year, or year and month, allows."""
    if not text:
        return None
    year, _, month = text.partition("-")
    before = not month or today.month <= int(month)
    return str(today.year - int(year) - before)


def _residence(patient: Resource, country: str) -> str | None:
    current = [
        item
        for item in patient.get("address", ())
        if item.get("use", "home") not in ("old", "temp", "billing", "work") and not item.get("period", {}).get("end")
    ]
    homes = [item for item in current if item.get("use") == "home"] or current
    return region(homes[0], country) if homes else None


def _in_hospital(encounter: Resource) -> bool:
    return encounter.get("status") == "in-progress" and encounter.get("class", {}).get("code") in _inpatient


def _permits(consent: Resource, now: datetime) -> bool:
    provision = consent.get("provision", {})
    end = str(provision.get("period", {}).get("end", ""))
    expired = bool(end) and end[:_full_date] < now.date().isoformat()
    return consent.get("status") == "active" and provision.get("type", "permit") != "deny" and not expired
