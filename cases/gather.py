"""Load the snapshot of a case, its programme, and the cases a changed resource belongs to.

Everything is read in the caller's transaction, as the narrow Subject of this module.
"""

from collections.abc import Mapping
from typing import Any, Final

from cases import codes
from cases.manifest import EVIDENCE_TYPES
from cases.snapshot import Resource, Snapshot, reference, target, targets
from fhir_server.kernel.errors import Gone, NotFound
from fhir_server.kernel.search_query import parse_search
from fhir_server.kernel.subject import Subject
from fhir_server.store.database import Transaction
from fhir_server.store.reader import Reader
from programmes.model import Programme, is_programme

SUBJECT: Final = Subject.system(
    "cases",
    "system/Task.crus system/ServiceRequest.rus system/GuidanceResponse.crus system/Provenance.crus "
    "system/DiagnosticReport.crus system/Composition.crus system/Bundle.crus system/Binary.crus "
    "system/Patient.rs system/Encounter.rs system/Consent.rs system/QuestionnaireResponse.rs "
    "system/DocumentReference.rs system/ImagingStudy.rs system/Specimen.rs system/Observation.rs "
    "system/Practitioner.rs system/PractitionerRole.rs system/Organization.rs system/PlanDefinition.rs",
)
"""What the workflow may read and write, and nothing else."""
MERGE_SUBJECT: Final = Subject.system(
    "cases-merge",
    "system/Task.rus system/ServiceRequest.rus system/QuestionnaireResponse.rus system/Consent.rus "
    "system/Encounter.rus system/DiagnosticReport.rus system/DocumentReference.rus system/ImagingStudy.rus "
    "system/Specimen.rus system/Observation.rus system/Provenance.crus system/Patient.rs system/PractitionerRole.rs",
)
"""What may be re-pointed when two patients turn out to be one."""

_patient_at: Final[Mapping[str, str]] = {
    "Task": "for",
    "ServiceRequest": "subject",
    "QuestionnaireResponse": "subject",
    "Consent": "patient",
    "Encounter": "subject",
    "DiagnosticReport": "subject",
    "DocumentReference": "subject",
    "ImagingStudy": "subject",
    "Specimen": "subject",
}
WATCHED: Final = ("Patient", *_patient_at)
"""Types whose change can move a case."""

_page = "500"


def system_reader(tx: Transaction) -> Reader:
    """Return a Reader on the caller's connection that sees what the workflow may see, whoever the caller is."""
    return tx.reader_of(SUBJECT)


async def read(reader: Reader, ref: str) -> dict[str, Any] | None:
    """Return the resource of a relative reference, None when it is absent or deleted."""
    resource_type, _, name = ref.partition("/")
    if not name or "/" in name or ":" in ref:
        return None
    try:
        return (await reader.read(resource_type, name)).resource()
    except (NotFound, Gone):
        return None


async def find(reader: Reader, resource_type: str, **pairs: str) -> tuple[dict[str, Any], ...]:
    """Return everything that matches, page after page; ``_`` in a name stands for ``-``."""
    wanted = [(name.replace("_", "-"), text) for name, text in pairs.items()]
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        paging = [("_count", _page), *([("_cursor", cursor)] if cursor else [])]
        page = await reader.search(parse_search(resource_type, [*wanted, *paging]))
        found.extend(stored.resource() for stored in page.matches)
        cursor = page.next
        if cursor is None:
            return tuple(found)


async def patient_of(reader: Reader, resource_type: str, id: str) -> str | None:
    """Return the patient (``Patient/id``) whose cases a change of this resource can move."""
    resource = await read(reader, f"{resource_type}/{id}")
    if resource is None or resource_type not in WATCHED:
        return None
    if resource_type == "Patient":
        return f"Patient/{id}"
    patient = target(resource.get(_patient_at[resource_type]))
    if resource_type == "Task" and not patient:
        request = await read(reader, target(resource.get("focus")))
        patient = target((request or {}).get("subject"))
    return patient if patient.startswith("Patient/") else None


async def case_tasks(reader: Reader, patient: str, trigger: str | None = None) -> tuple[dict[str, Any], ...]:
    """Return the patient's case Tasks, and plain ``fulfill`` Tasks for a second opinion that nobody took up yet.

    ``trigger`` is the id of a Task to look at even though it names no patient itself.
    """
    known = await find(reader, "Task", patient=patient, code=f"{codes.SO_TASK}|{codes.CASE}")
    plain = await find(reader, "Task", patient=patient, code="|".join(codes.FULFILL), status="requested")
    named = await read(reader, f"Task/{trigger}") if trigger else None
    found = {task["id"]: task for task in (*known, *plain, *([named] if named else []))}
    return tuple([task for task in found.values() if await _is_case(reader, task)])


async def _is_case(reader: Reader, task: Resource) -> bool:
    kind = codes.kind_of(dict(task))
    return kind == codes.CASE or (kind is None and await is_second_opinion(reader, task))


async def is_second_opinion(reader: Reader, task: Resource) -> bool:
    """Tell whether a Task asks to fulfil a ServiceRequest whose reason is a second opinion, and is nobody's yet."""
    open_one = task.get("status") == "requested" and codes.has_code(task.get("code"), codes.FULFILL)
    request = await read(reader, target(task.get("focus"))) if open_one and "partOf" not in task else None
    if request is None or request["resourceType"] != "ServiceRequest":
        return False
    return any(codes.has_code(reason, codes.SECOND_OPINION) for reason in request.get("reasonCode", ()))


async def programme_of(reader: Reader, case: Resource, request: Resource) -> Programme | None:
    """Return the programme of a case.

    It is the one the Task or its ServiceRequest instantiates, else the one of the organisation they are addressed to,
    else the only active one.
    """
    plans = await find(reader, "PlanDefinition", status="active", context_type="program")
    found = [Programme.from_plan(plan) for plan in plans if is_programme(plan)]
    named = {str(case.get("instantiatesCanonical", "")), *request.get("instantiatesCanonical", ())}
    urls = {name.partition("|")[0] for name in named}
    addressed = {target(case.get("owner")), *targets(request.get("performer"))}
    for chosen in (
        [item for item in found if item.url in urls],
        [item for item in found if addressed & {item.organization, item.service}],
    ):
        if chosen:
            return chosen[0]
    return found[0] if len(found) == 1 else None


async def snapshot(reader: Reader, case: dict[str, Any]) -> Snapshot | None:
    """Return everything ``decide`` needs of a case but the programme's roles; None when request or patient is gone."""
    request = await read(reader, target(case.get("focus")))
    patient = await read(reader, target(case.get("for")) or target((request or {}).get("subject")))
    if request is None or patient is None:
        return None
    person = reference(patient)
    evidence = [item for kind in EVIDENCE_TYPES for item in await find(reader, kind, patient=person)]
    return Snapshot(
        case=case,
        request=request,
        patient=patient,
        tasks=await find(reader, "Task", part_of=reference(case)),
        encounters=await find(reader, "Encounter", patient=person, status="in-progress"),
        consents=await find(reader, "Consent", patient=person, status="active"),
        responses=await find(reader, "QuestionnaireResponse", patient=person),
        evidence=tuple(evidence),
        roles=await find(reader, "PractitionerRole", active="true", role=f"{codes.SO_ROLE}|{codes.SPECIALIST}"),
    )
