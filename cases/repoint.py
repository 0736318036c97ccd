"""Open cases of a patient who was merged into another move over, with their records and a Provenance of the move.

Signed cases stay where they were signed, closed ones where they ended: ``Patient.link`` leads from one to the other.
https://hl7.org/fhir/R4/patient.html#links
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID, uuid5

from cases import codes, gather
from cases.machine import state_of
from cases.provenance import SOFTWARE
from cases.snapshot import Resource, Snapshot, reference, target
from fhir_server.store.database import Database, Transaction

_namespace = UUID("6d4c6e0a-1f0b-5a37-8a4e-4d7f9d2c51b7")
_elements: Final = ("for", "subject", "patient")


def survivor_of(patient: Resource) -> str:
    """Return the reference of the patient that replaces this one, ``""`` for one that stands."""
    links = (link for link in patient.get("link", ()) if link.get("type") == "replaced-by")
    return next((target(link.get("other")) for link in links), "")


async def repoint(database: Database, patient: str, *, now: str) -> None:
    """Move the open cases of ``patient`` to whoever replaces it; nothing for one that stands or has none open."""
    async with database.transaction(gather.MERGE_SUBJECT) as tx:
        retired = await gather.read(tx.reader, patient)
        survivor = survivor_of(retired or {})
        if not survivor.startswith("Patient/"):
            return
        await tx.lock(f"case:{patient}", f"case:{survivor}")
        moved: dict[str, str] = {}
        for resource in await _open(tx, patient):
            if resource_reference := reference(resource):
                moved[resource_reference] = await _move(tx, resource, patient, survivor)
        if moved:
            await tx.writer.update(_provenance(tuple(moved.values()), patient, survivor, now))


async def _open(tx: Transaction, patient: str) -> tuple[Resource, ...]:
    """Return everything of the open cases that names the patient, records first."""
    found: dict[str, Resource] = {}
    for case in await gather.case_tasks(tx.reader, patient):
        state = state_of(case)
        if state.closed or state.business == codes.SIGNED:
            continue
        snapshot = await gather.snapshot(tx.reader, case)
        if snapshot is not None:
            found |= {reference(item): item for item in _parts(snapshot)}
    return tuple(item for item in found.values() if _names(item, patient))


def _parts(snapshot: Snapshot) -> Iterable[Resource]:
    open_tasks = (task for task in snapshot.tasks if not state_of(dict(task)).closed)
    return (
        *snapshot.evidence,
        *snapshot.encounters,
        *snapshot.consents,
        *snapshot.responses,
        snapshot.request,
        *open_tasks,
        snapshot.case,
    )


def _names(resource: Resource, patient: str) -> bool:
    return any(target(_element(resource, name)) == patient for name in _elements)


def _element(resource: Resource, name: str) -> Mapping[str, Any] | None:
    found = resource.get(name)
    return found if isinstance(found, dict) else None


async def _move(tx: Transaction, resource: Resource, patient: str, survivor: str) -> str:
    """Write the resource under its new patient and return the version that was made."""
    changed = dict(resource)
    for name in _elements:
        if target(_element(resource, name)) == patient:
            changed[name] = {**resource[name], "reference": survivor}
    result = await tx.writer.update(changed, if_match=int(resource["meta"]["versionId"]))
    return f"{reference(resource)}/_history/{result.stored.version}"


def _provenance(moved: tuple[str, ...], patient: str, survivor: str, now: str) -> dict[str, Any]:
    return {
        "resourceType": "Provenance",
        "id": str(uuid5(_namespace, " ".join(moved))),
        "target": [{"reference": version} for version in moved],
        "occurredDateTime": now,
        "recorded": now,
        "activity": codes.concept(codes.SO_ACTIVITY, "merge-patient"),
        "agent": [{"who": SOFTWARE}],
        "entity": [
            {"role": "source", "what": {"reference": patient}},
            {"role": "revision", "what": {"reference": survivor}},
        ],
    }
