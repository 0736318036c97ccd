"""A programme as the workflow uses it, read from its FHIR PlanDefinition: strict, so that a fault shows at load.

The plan's actions carry everything an operator may change: eligibility rows, the record manifest, the business-day
clock and the recipients of the report. https://hl7.org/fhir/R4/plandefinition.html
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

Resource = Mapping[str, Any]
Effect = Literal["reject", "wait"]

_base: Final = "https://konsil.example/fhir"
_step: Final = f"{_base}/CodeSystem/so-step"
_clock: Final = f"{_base}/StructureDefinition/so-clock"
_rule: Final = f"{_base}/StructureDefinition/so-eligibility-rule"
_mandatory: Final = f"{_base}/StructureDefinition/so-mandatory"
_match: Final = f"{_base}/StructureDefinition/so-record-match"
_recipient: Final = f"{_base}/StructureDefinition/so-recipient"

RULE_LANGUAGE: Final = "text/x-konsil-rule"
_numbers: Final = frozenset({"age", "questions"})
FACTS: Final = _numbers | {"residence", "hospitalised", "priority", "consent"}
_rule_text: Final = re.compile(r"(\w+)\s+(>=|not in|in|is)\s+(\S.*)")
_days: Final = {"d": 1, "wk": 7, "mo": 30, "a": 365}


class InvalidProgramme(ValueError):
    """The programme's resources contradict themselves or lack something the workflow needs."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One eligibility row: ``fact operator values``, what a failure does, and what the applicant is told."""

    id: str
    title: str
    fact: str
    operator: str
    values: tuple[str, ...]
    effect: Effect
    message: str
    alternatives: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """One ``DataRequirement.codeFilter``: the element at ``path`` carries one of ``codes`` (system, code)."""

    path: str
    codes: frozenset[tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One alternative that satisfies a manifest row: a type, all filters, one of the words, within the look-back."""

    resource_type: str
    filters: tuple[Filter, ...]
    words: tuple[str, ...]
    look_back_days: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the record manifest."""

    id: str
    title: str
    description: str
    mandatory: bool
    requirements: tuple[Requirement, ...]

    @property
    def types(self) -> frozenset[str]:
        """Resource types that can satisfy the row."""
        return frozenset(requirement.resource_type for requirement in self.requirements)


@dataclass(frozen=True, slots=True)
class Clock:
    """The business calendar of a programme: zone, hours, holidays and the two promises counted in business days."""

    zone: ZoneInfo
    opens: time
    closes: time
    holidays: frozenset[date]
    target_days: int
    limit_days: int


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets the report: ``role`` names the person on the case, ``channel`` how it travels."""

    id: str
    role: str
    channel: str


@dataclass(frozen=True, slots=True)
class Programme:
    """Everything the workflow asks of a programme.

    ``organization`` and ``service`` are references such as ``Organization/harbor``; case numbers are
    ``number_prefix``-year-count in ``number_system``; ``intake`` and ``opinion`` are canonical URLs of Questionnaires.
    """

    id: str
    url: str
    title: str
    organization: str
    service: str
    number_system: str
    number_prefix: str
    country: str
    intake: str
    opinion: str
    rules: tuple[Rule, ...]
    rows: tuple[Row, ...]
    recipients: tuple[Recipient, ...]
    clock: Clock

    @classmethod
    def from_plan(cls, plan: Resource) -> "Programme":
        """Return the programme a PlanDefinition describes. Raises InvalidProgramme naming what is wrong."""
        try:
            return cls._read(plan)
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidProgramme(f"The PlanDefinition lacks {error} where the workflow needs it.") from error
        except InvalidProgramme:
            raise
        except ValueError as error:
            raise InvalidProgramme(f"The PlanDefinition cannot be read: {error}") from error

    @classmethod
    def _read(cls, plan: Resource) -> "Programme":
        steps = {_code(action, _step): action for action in plan.get("action", ())}
        numbering: Resource = next(iter(plan.get("identifier", ())), {})
        return cls(
            id=_needed(plan, "id", "PlanDefinition"),
            url=_needed(plan, "url", "PlanDefinition"),
            title=_needed(plan, "title", "PlanDefinition"),
            organization=_context(plan, "Organization"),
            service=_context(plan, "HealthcareService"),
            number_system=_needed(numbering, "system", "PlanDefinition.identifier"),
            number_prefix=_needed(numbering, "value", "PlanDefinition.identifier"),
            country=_country(plan),
            intake=_canonical(steps, "intake"),
            opinion=_canonical(steps, "review"),
            rules=tuple(_parse_rule(action) for action in _rows(steps, "eligibility")),
            rows=tuple(_parse_row(action) for action in _rows(steps, "record-manifest")),
            recipients=tuple(_parse_recipient(action) for action in _rows(steps, "delivery")),
            clock=_parse_clock(plan),
        )

    def row(self, row_id: str) -> Row | None:
        """Return the manifest row of that id, None when the programme no longer has it."""
        return next((row for row in self.rows if row.id == row_id), None)


def is_programme(plan: Resource) -> bool:
    """Tell whether a PlanDefinition means to be a programme: it carries the clock."""
    return extension(plan, _clock) is not None


def extension(element: Resource, url: str) -> Resource | None:
    """Return the first extension of that url, None when there is none."""
    return next((item for item in element.get("extension", ()) if item.get("url") == url), None)


def value(element: Resource | None) -> Any:
    """Return the ``value[x]`` of an extension, None when it has none."""
    return next((item for key, item in (element or {}).items() if key.startswith("value")), None)


def _needed(element: Resource, name: str, place: str) -> str:
    found = element.get(name)
    if not isinstance(found, str) or not found:
        raise InvalidProgramme(f"{place}.{name} is missing.")
    return found


def _code(action: Resource, system: str | None = None) -> str:
    for concept in action.get("code", ()):
        for coding in concept.get("coding", ()):
            if coding.get("code") and system in (None, coding.get("system")):
                return str(coding["code"])
    raise InvalidProgramme(f"PlanDefinition.action '{action.get('title', '?')}' has no code.")


def _rows(steps: Mapping[str, Resource], step: str) -> Iterator[Resource]:
    if not steps.get(step, {}).get("action"):
        raise InvalidProgramme(f"PlanDefinition has no action '{step}' with rows in it.")
    yield from steps[step]["action"]


def _canonical(steps: Mapping[str, Resource], step: str) -> str:
    return _needed(steps.get(step, {}), "definitionCanonical", f"PlanDefinition.action '{step}'")


def _context(plan: Resource, resource_type: str) -> str:
    for context in plan.get("useContext", ()):
        reference = context.get("valueReference", {}).get("reference", "")
        if reference.startswith(f"{resource_type}/"):
            return str(reference)
    raise InvalidProgramme(f"PlanDefinition.useContext names no {resource_type}.")


def _country(plan: Resource) -> str:
    for concept in plan.get("jurisdiction", ()):
        for coding in concept.get("coding", ()):
            if coding.get("system") == "urn:iso:std:iso:3166":
                return str(coding["code"])
    raise InvalidProgramme("PlanDefinition.jurisdiction names no country (urn:iso:std:iso:3166).")


def _parse_rule(action: Resource) -> Rule:
    row_id = _code(action)
    expression: Resource = next(
        (item["expression"] for item in action.get("condition", ()) if "expression" in item), {}
    )
    found = _rule_text.fullmatch(expression.get("expression", ""))
    if expression.get("language") != RULE_LANGUAGE or not found or found[1] not in FACTS:
        raise InvalidProgramme(
            f"Eligibility row '{row_id}' needs an expression in {RULE_LANGUAGE}: one of {', '.join(sorted(FACTS))}, "
            "then >=, in, not in or is, then values."
        )
    if found[2] == ">=" and (found[1] not in _numbers or not found[3].isdecimal()):
        raise InvalidProgramme(f"Eligibility row '{row_id}': >= compares {' or '.join(sorted(_numbers))} to a number.")
    details = extension(action, _rule) or {}
    effect = value(extension(details, "effect"))
    if effect not in ("reject", "wait"):
        raise InvalidProgramme(f"Eligibility row '{row_id}' must say effect reject or wait.")
    return Rule(
        id=row_id,
        title=_needed(action, "title", f"Eligibility row '{row_id}'"),
        fact=found[1],
        operator=found[2],
        values=tuple(item.strip() for item in found[3].split(",")),
        effect=effect,
        message=_needed(action, "description", f"Eligibility row '{row_id}'"),
        alternatives=value(extension(details, "alternatives")),
    )


def _parse_row(action: Resource) -> Row:
    row_id = _code(action)
    requirements = tuple(_parse_requirement(item) for item in action.get("input", ()))
    if not requirements:
        raise InvalidProgramme(f"Manifest row '{row_id}' has no input: nothing could ever satisfy it.")
    return Row(
        id=row_id,
        title=_needed(action, "title", f"Manifest row '{row_id}'"),
        description=action.get("description", ""),
        mandatory=bool(value(extension(action, _mandatory))),
        requirements=requirements,
    )


def _parse_requirement(item: Resource) -> Requirement:
    filters = tuple(
        Filter(entry["path"], frozenset((code.get("system"), code["code"]) for code in entry.get("code", ())))
        for entry in item.get("codeFilter", ())
    )
    durations = [entry["valueDuration"] for entry in item.get("dateFilter", ()) if "valueDuration" in entry]
    words = tuple(str(value(entry)).lower() for entry in item.get("extension", ()) if entry.get("url") == _match)
    look_back = int(durations[0]["value"]) * _days[durations[0]["code"]] if durations else None
    return Requirement(item["type"], filters, words, look_back)


def _parse_recipient(action: Resource) -> Recipient:
    row_id = _code(action)
    details = extension(action, _recipient) or {}
    role, channel = value(extension(details, "role")), value(extension(details, "channel"))
    if not role or not channel:
        raise InvalidProgramme(f"Delivery row '{row_id}' must name role and channel.")
    return Recipient(row_id, role, channel)


def _parse_clock(plan: Resource) -> Clock:
    found = extension(plan, _clock)
    if found is None:
        raise InvalidProgramme("PlanDefinition has no so-clock extension.")
    parts = {name: value(extension(found, name)) for name in ("timeZone", "opens", "closes", "target", "limit")}
    missing = [name for name, part in parts.items() if part is None]
    if missing:
        raise InvalidProgramme(f"The so-clock extension lacks {', '.join(missing)}.")
    return Clock(
        zone=ZoneInfo(parts["timeZone"]),
        opens=time.fromisoformat(parts["opens"]),
        closes=time.fromisoformat(parts["closes"]),
        holidays=frozenset(date.fromisoformat(value(e)) for e in found["extension"] if e.get("url") == "holiday"),
        target_days=int(parts["target"]),
        limit_days=int(parts["limit"]),
    )
