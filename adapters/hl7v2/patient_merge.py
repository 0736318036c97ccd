"""Merged patients: who stays, who ends, what must be refused, and the open cases that move over.

HL7 v2.9 §3.6.2 (merge events A18, A34, A39, A40); https://hl7.org/fhir/R4/patient.html#links
"""

from collections.abc import Iterable, Mapping
from typing import Any

from adapters.hl7v2.conversion import DUPLICATE_KEY, MappedResource, MappingError, PatientMerge
from fhir_server.store import lookup
from fhir_server.store.database import Transaction
from fhir_server.store.records import Stored


def linked(resources: Iterable[MappedResource], merges: Iterable[PatientMerge]) -> tuple[MappedResource, ...]:
    """Return the resources with ``Patient.link`` on both sides; a merge empties no element of who stays."""
    replaces: dict[str, list[str]] = {}
    replaced_by: dict[str, str] = {}
    for merge in merges:
        replaces.setdefault(merge.survivor, []).append(merge.retired)
        replaced_by[merge.retired] = merge.survivor
    return tuple(_with_links(mapped, replaces, replaced_by) for mapped in resources)


def _with_links(
    mapped: MappedResource, replaces: Mapping[str, list[str]], replaced_by: Mapping[str, str]
) -> MappedResource:
    own = mapped.reference
    links = [_link(other, "replaces") for other in replaces.get(own, ())]
    if own in replaced_by:
        links.append(_link(replaced_by[own], "replaced-by"))
    if not links:
        return mapped
    resource = mapped.resource | {"link": links}
    return MappedResource(resource, mapped.mode, mapped.match, (), mapped.defaults)


def _link(other: str, kind: str) -> dict[str, Any]:
    return {"other": {"reference": other}, "type": kind}


def renamed_merges(merges: Iterable[PatientMerge], names: Mapping[str, str]) -> tuple[PatientMerge, ...]:
    """Return the merges between the ids the patients have in the store."""
    return tuple(
        PatientMerge(names.get(merge.survivor, merge.survivor), names.get(merge.retired, merge.retired), merge.lanes)
        for merge in merges
    )


async def resolved(
    tx: Transaction, hits: dict[str, Stored], mapped: MappedResource, merges: Iterable[PatientMerge]
) -> dict[str, Stored]:
    """Return the stored patients a number means: who stands, else who replaced its owner.

    Where the message itself merges, the owner is meant as such: an ended one is then found as ended.
    """
    ended = {id: found for id, found in hits.items() if replacement(found.resource())}
    standing = {id: found for id, found in hits.items() if id not in ended}
    if not ended:
        return standing
    if mapped.reference in {merge.retired for merge in merges}:
        return ended
    if standing or mapped.reference in {merge.survivor for merge in merges}:
        return standing or ended
    followed = [await _followed(tx, found) for found in ended.values()]
    return {found.id: found for found in followed}


async def _followed(tx: Transaction, patient: Stored) -> Stored:
    """Return who stands at the end of a chain of merges; a broken or endless chain ends where it can."""
    seen = {patient.id}
    while next_one := replacement(patient.resource()):
        kind, _, id = next_one.partition("/")
        found = (await lookup.by_id(tx, [(kind, id)])).get((kind, id))
        if found is None or found.deleted or found.id in seen:
            break
        seen.add(found.id)
        patient = found
    return patient


def check(merges: Iterable[PatientMerge], stored: Mapping[tuple[str, str], Stored]) -> None:
    """Refuse what would undo or cross an earlier merge: a person must look at it. Raises MappingError 205."""
    for merge in merges:
        if merge.survivor == merge.retired:
            raise MappingError(DUPLICATE_KEY, "MRG^1^1", "Both numbers belong to one stored patient already")
        if _replaced_by(merge.survivor, stored):
            raise MappingError(
                DUPLICATE_KEY, "PID^1^3", "The patient who should stay was merged into another before; held"
            )
        before = _replaced_by(merge.retired, stored)
        if before not in ("", merge.survivor):
            raise MappingError(
                DUPLICATE_KEY, "MRG^1^1", "The patient who should end was merged into somebody else before; held"
            )


def _replaced_by(reference: str, stored: Mapping[tuple[str, str], Stored]) -> str:
    kind, _, id = reference.partition("/")
    found = stored.get((kind, id))
    return replacement(found.resource()) if found and not found.deleted else ""


def replacement(patient: Mapping[str, Any]) -> str:
    """Return the reference of the patient that replaces this one, ``""`` for one that stands."""
    links = (link for link in patient.get("link", ()) if link.get("type") == "replaced-by")
    return str(next((link["other"].get("reference", "") for link in links), ""))
