"""From a Conversion to stored resources: who is who, what is newer, what changed, and the Provenance of it.

Everything happens in the caller's transaction, under the lane's lock. https://hl7.org/fhir/uv/v2mappings/STU1/
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from adapters.hl7v2.conversion import DUPLICATE_KEY, Conversion, MappedResource, MappingError, PatientMerge
from adapters.hl7v2.header import Header
from adapters.hl7v2.merge import merged
from adapters.hl7v2.patient_merge import check, linked, renamed_merges, resolved
from adapters.hl7v2.provenance import message_binary, provenance
from adapters.hl7v2.sites import Site
from fhir_server.kernel.errors import PreconditionFailed
from fhir_server.kernel.subject import Subject
from fhir_server.store import lookup, messages
from fhir_server.store.database import Transaction
from fhir_server.store.failures import Collision
from fhir_server.store.messages import Key
from fhir_server.store.records import Stored, WriteResult

_TYPES = frozenset(
    {
        "Account", "AllergyIntolerance", "Appointment", "Binary", "CareTeam", "Condition", "Coverage", "Device",
        "DiagnosticReport", "DocumentReference", "Encounter", "Immunization", "Location", "MedicationRequest",
        "MessageHeader", "Observation", "Organization", "Patient", "Practitioner", "PractitionerRole", "Procedure",
        "Provenance", "RelatedPerson", "ServiceRequest", "Specimen", "Task",
    }
)  # fmt: skip
SUBJECT = Subject.system("hl7v2", " ".join(f"system/{name}.crus" for name in sorted(_TYPES)))
"""What the adapter may touch: the types messages map to, and never a deletion."""


@dataclass(frozen=True, slots=True)
class Context:
    """The message a Conversion was made from; ``first`` tells that it was never processed before."""

    message_id: int
    site: Site
    header: Header
    raw: bytes
    first: bool = False

    @property
    def occurred_at(self) -> datetime | None:
        """MSH-7 in the site's time zone."""
        return self.header.occurred_at(self.site.zone)


@dataclass(frozen=True, slots=True)
class Applied:
    """What was written, as ``Type/id/_history/version``, and what was not and why."""

    written: tuple[str, ...]
    warnings: tuple[str, ...]


async def apply(tx: Transaction, conversion: Conversion, context: Context) -> Applied:
    """Write a Conversion: nothing for what is stored already, nothing older over something newer.

    Raises MappingError 205 when identifiers point to two stored resources, and whatever the writer refuses.
    """
    await tx.lock(*(f"hl7v2 lane {lane}" for lane in conversion.lanes))
    known = await _identified(tx, conversion.resources, conversion.merges)
    names = {f"{key[0]}/{key[1]}": found.reference for key, found in known.items() if key[1] != found.id}
    merges = renamed_merges(conversion.merges, names)
    resources = linked(_renamed(conversion.resources, names), merges)
    stored = await _stored(tx, resources, known)
    check(merges, stored)
    newer = await _newer(tx, resources, context.occurred_at) - {_parts(merge.retired) for merge in merges}
    written: list[str] = []
    warnings: list[str] = []
    for mapped in resources:
        key = _key(mapped.resource)
        before = stored.get(key)
        body = _body(before, mapped, late=key in newer)
        if body is None:
            if key in newer and mapped.mode == "replace":
                warnings.append(f"{key[0]}: a newer message was applied before, so this one changes nothing")
            continue
        result = await _write(tx, body, before)
        stored[key] = result.stored
        if result.outcome != "unchanged":
            written.append(f"{result.stored.reference}/_history/{result.stored.version}")
    await _account_for(tx, resources, written, conversion, context)
    return Applied(tuple(written), tuple(warnings))


async def _write(tx: Transaction, body: dict[str, Any], before: Stored | None) -> WriteResult:
    """Write a resource; one that was not there is created without looking again.

    Raises Collision when another transaction made or changed it meanwhile: the whole message is then tried again.
    """
    if before is None:
        return await tx.writer.create(body, id=body["id"], fresh=True)
    try:
        return await tx.writer.update(body, if_match=None if before.deleted else before.version)
    except PreconditionFailed as error:
        raise Collision(f"{before.reference} was changed meanwhile.") from error


def _key(resource: dict[str, Any]) -> Key:
    return resource["resourceType"], resource["id"]


def _parts(reference: str) -> Key:
    kind, _, id = reference.partition("/")
    return kind, id


def _body(before: Stored | None, mapped: MappedResource, *, late: bool) -> dict[str, Any] | None:
    """Return what to write, None for nothing.

    A late message only fills what is empty, and still closes what is open: an A03 overtaken by an A08 is a discharge.
    """
    if before is None or before.deleted:
        return merged(None, mapped)
    if mapped.mode == "ensure" or (late and mapped.mode == "replace"):
        return None
    stored = before.resource()
    if not late:
        body = merged(stored, mapped)
    else:
        closed = merged(mapped.resource, MappedResource(stored, "merge")).get("status")
        body = _filled(stored, mapped.resource) | ({"status": closed} if closed else {})
    return None if _same(body, stored) else body


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are the same, whatever the order of their elements; 1.0 is not 1.00."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Decimal) or isinstance(other, Decimal):
        return str(one) == str(other)  # what is stored as 7 is read back as an int
    return type(one) is type(other) and bool(one == other)


def _filled(stored: dict[str, Any], incoming: dict[str, Any]) -> dict[str, Any]:
    """Return ``stored`` with what only ``incoming`` has; a coded value or a reference is filled as a whole."""
    result = dict(stored)
    for name, value in incoming.items():
        before = stored.get(name)
        if before is None:
            result[name] = value
        elif isinstance(before, dict) and isinstance(value, dict) and not {"coding", "reference"} & before.keys():
            result[name] = _filled(before, value)
    return result


async def _identified(
    tx: Transaction, resources: Iterable[MappedResource], merges: tuple[PatientMerge, ...]
) -> dict[Key, Stored]:
    """Return the stored resources that share an identifier with a mapped one, by the mapped one's key."""
    by_type: dict[str, list[MappedResource]] = {}
    for mapped in resources:
        if mapped.match:
            by_type.setdefault(mapped.resource["resourceType"], []).append(mapped)
    tokens = {name: [_token(text) for mapped in group for text in mapped.match] for name, group in by_type.items()}
    owners = _owners(await lookup.by_identifier(tx, tokens))
    found: dict[Key, Stored] = {}
    for resource_type, group in by_type.items():
        for mapped in group:
            hits = {owner.id: owner for text in mapped.match for owner in owners.get((resource_type, text), ())}
            if hits:
                hits = await resolved(tx, hits, mapped, merges) if resource_type == "Patient" else hits
                found[_key(mapped.resource)] = _only(hits, mapped)
    return found


def _token(text: str) -> tuple[str, str]:
    system, _, value = text.partition("|")
    return system, value


def _owners(candidates: Iterable[Stored]) -> dict[tuple[str, str], list[Stored]]:
    """Return candidates by type and identifier token."""
    owners: dict[tuple[str, str], list[Stored]] = {}
    for candidate in candidates:
        identifiers = candidate.resource().get("identifier", ())
        for identifier in identifiers if isinstance(identifiers, list) else [identifiers]:
            token = f"{identifier.get('system', '')}|{identifier.get('value', '')}"
            owners.setdefault((candidate.resource_type, token), []).append(candidate)
    return owners


def _only(hits: dict[str, Stored], mapped: MappedResource) -> Stored:
    if len(hits) > 1:
        raise MappingError(
            DUPLICATE_KEY, "", f"The identifiers belong to {len(hits)} different {mapped.resource['resourceType']}s."
        )
    return next(iter(hits.values()))


def _renamed(resources: tuple[MappedResource, ...], names: dict[str, str]) -> tuple[MappedResource, ...]:
    """Give each resource the id it has in the store, and rewrite the references to it."""
    if not names:
        return resources
    ids = {before: after.split("/")[1] for before, after in names.items()}
    return tuple(
        replace(
            mapped,
            resource=_rewritten(mapped.resource, names) | {"id": ids.get(mapped.reference, mapped.resource["id"])},
            defaults=_rewritten(dict(mapped.defaults), names),
        )
        for mapped in resources
    )


def _rewritten(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: names.get(item, item) if key in ("reference", "url") and isinstance(item, str)
            else _rewritten(item, names)
            for key, item in value.items()
        }  # fmt: skip
    if isinstance(value, list):
        return [_rewritten(item, names) for item in value]
    return value


async def _stored(
    tx: Transaction, resources: tuple[MappedResource, ...], known: dict[Key, Stored]
) -> dict[Key, Stored]:
    """Return the stored versions of the resources, deletions too, by key."""
    found = {(stored.resource_type, stored.id): stored for stored in known.values()}
    keys = dict.fromkeys(_key(mapped.resource) for mapped in resources)
    return found | await lookup.by_id(tx, [key for key in keys if key not in found])


async def _newer(tx: Transaction, resources: tuple[MappedResource, ...], occurred_at: datetime | None) -> set[Key]:
    """Return the keys of resources to which a newer message was applied already."""
    if occurred_at is None:
        return set()
    marks = await messages.watermarks(tx.connection, [_key(mapped.resource) for mapped in resources])
    return {key for key, mark in marks.items() if mark > occurred_at}


async def _account_for(
    tx: Transaction,
    resources: tuple[MappedResource, ...],
    written: list[str],
    conversion: Conversion,
    context: Context,
) -> None:
    """Raise the watermarks, and write the Provenance of what was written; nothing written needs none."""
    if context.occurred_at is not None:
        keys = sorted({_key(mapped.resource) for mapped in resources if mapped.mode != "ensure"})
        await messages.raise_watermarks(tx.connection, keys, context.occurred_at, context.message_id)
    if not written:
        return
    patient = next((m.reference for m in resources if m.resource["resourceType"] == "Patient"), None)
    binary = message_binary(context.site.name, context.message_id, context.raw, patient)
    if binary and context.first:
        await tx.writer.create(binary, id=binary["id"], fresh=True)
    elif binary:
        await tx.writer.update(binary)
    await tx.writer.create(
        provenance(
            context.header,
            site=context.site.name,
            namespace=context.site.mapping.namespace,
            message_id=context.message_id,
            targets=written,
            binary=binary,
            occurred_at=context.occurred_at,
            mapping=conversion.mapping,
        )
    )
