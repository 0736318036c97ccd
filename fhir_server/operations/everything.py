"""$everything: all there is about a patient or an encounter, with what is needed to understand it.

https://hl7.org/fhir/R4/patient-operation-everything.html and https://hl7.org/fhir/R4/encounter-operation-everything.html
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.kernel.errors import InvalidRequest, Issue
from fhir_server.kernel.instants import EARLIEST, LATEST, date_range
from fhir_server.operations.calls.inputs import CURSOR
from fhir_server.operations.calls.operation import Answer, Invocation, Operation, Page, Parameter, Reading
from fhir_server.operations.calls.references import references_in
from fhir_server.store.compartments import Members, compartment_types
from fhir_server.store.reader import Reader
from fhir_server.store.records import Stored

MOST_ON_A_PAGE = 1000
_rounds = 3
_supporting = frozenset({
    "HealthcareService", "Location", "Medication", "Organization", "Practitioner", "PractitionerRole", "Substance",
})  # fmt: skip
_about_the_encounter = (frozenset(compartment_types("Patient")) - {"Encounter"}) | _supporting
_attachments = frozenset({"Binary"})  # may be large: only where _type names them


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a call asks for: the types of the compartment, those it may refer to, and since when."""

    types: tuple[str, ...]
    referred: frozenset[str]
    since: datetime | None
    named: bool


async def everything(reader: Reader, call: Invocation) -> Answer:
    """Return a page of what lies in the compartment, and the resources it refers to.

    Raises NotFound or Gone for the patient or encounter itself, Forbidden for a type in ``_type`` without a grant.
    """
    compartment = call.resource_type or ""
    if call.id is not None:
        await reader.read(compartment, call.id)
    asked = _asked(reader, call)
    cursor = call.inputs.one(CURSOR)
    members = Members(
        compartment,
        call.id,
        asked.types,
        _count(call),
        asked.since,
        _care(call),
        cursor,
        pairs=_without_count(call.inputs.pairs),
    )
    page = await reader.members(members)
    ids: dict[str, set[str]] = defaultdict(set)
    for name, id in page.keys:
        ids[name].add(id)
    found = await reader.by_id(ids, "s")
    matches = tuple(found[key] for key in page.keys if key in found)
    included = await _referred(reader, matches, asked, call.base_url)
    whole = cursor is None and page.cursor is None
    issues = () if cursor is not None else _left_out(reader, compartment, asked)
    return Answer(Page(matches, included, len(matches) if whole else None, page.cursor, issues))


def _asked(reader: Reader, call: Invocation) -> _Asked:
    """Return what is asked for; ``_type`` holds for what is referred to as well."""
    compartment = call.resource_type or ""
    types = compartment_types(compartment)
    referred = _supporting if compartment == "Patient" else _about_the_encounter
    since = call.inputs.one("_since")
    moment = date_range(since)[0] if since else None
    named = [name.strip() for value in call.inputs.all("_type") for name in value.split(",")]
    for name in named:
        if name not in RESOURCE_TYPES:
            raise InvalidRequest("_type must name resource types of FHIR R4, such as Observation.")
        if name not in referred | _supporting | _attachments and name not in types:
            raise InvalidRequest(f"$everything of {compartment} has no {name}.")
        reader.subject.require(name, "s" if name in types else "r")
    if not named:
        return _Asked(types, referred, moment, named=False)
    wanted = frozenset(named)
    kept = tuple(name for name in types if name in wanted)
    return _Asked(kept, (referred | _attachments) & wanted, moment, named=True)


def _count(call: Invocation) -> int:
    count: int = call.inputs.one("_count", MOST_ON_A_PAGE)
    if count < 1:
        raise InvalidRequest("_count must be 1 or more.")
    return min(count, MOST_ON_A_PAGE)


def _care(call: Invocation) -> tuple[datetime, datetime] | None:
    """Return the span of care asked for, days whole; a side that is not given is open."""
    start, end = call.inputs.one("start"), call.inputs.one("end")
    if start is None and end is None:
        return None
    return date_range(start)[0] if start else EARLIEST, date_range(end)[1] if end else LATEST


def _without_count(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in pairs if pair[0] != "_count")


async def _referred(reader: Reader, matches: Sequence[Stored], asked: _Asked, base_url: str) -> tuple[Stored, ...]:
    """Return what the matches refer to: first of every type asked for, then what those need to be understood."""
    known = {(stored.resource_type, stored.id) for stored in matches}
    included: list[Stored] = []
    fresh: Sequence[Stored] = matches
    follow = asked.referred
    for _ in range(_rounds):
        ids: dict[str, set[str]] = defaultdict(set)
        for stored in fresh:
            for reference in references_in(stored.body, base_url, attachments=follow >= _attachments):
                if reference.type in follow and (reference.type, reference.id) not in known:
                    ids[reference.type].add(reference.id)
                    known.add((reference.type, reference.id))
        if not ids:
            break
        fresh = list((await reader.by_id(ids)).values())
        included += [stored for stored in fresh if asked.since is None or stored.last_updated > asked.since]
        follow = asked.referred & _supporting
    return tuple(included)


def _left_out(reader: Reader, compartment: str, asked: _Asked) -> tuple[Issue, ...]:
    """Say which types are missing for want of a scope, so that nobody takes a part for the whole."""
    hidden = [name for name in asked.types if name != compartment and not reader.subject.grants(name, "s")]
    hidden += [name for name in sorted(asked.referred & _supporting) if not reader.subject.grants(name, "r")]
    if not hidden or asked.named:
        return ()
    text = f"The token's scopes leave out: {', '.join(hidden)}."
    return (Issue("suppressed", text, severity="information"),)


_parameters = (
    Parameter("_since", "instant"),
    Parameter("_type", "code", many=True),
    Parameter("_count", "integer"),
    Parameter(CURSOR, "string"),
)

PATIENT = Operation(
    name="everything",
    definition="http://hl7.org/fhir/OperationDefinition/Patient-everything",
    access={"type": "s", "instance": "rs"},
    resource_types=frozenset({"Patient"}),
    parameters=(Parameter("start", "date"), Parameter("end", "date"), *_parameters),
    does=Reading(everything),
)
ENCOUNTER = Operation(
    name="everything",
    definition="http://hl7.org/fhir/OperationDefinition/Encounter-everything",
    access={"instance": "rs"},
    resource_types=frozenset({"Encounter"}),
    parameters=_parameters,
    does=Reading(everything),
)
