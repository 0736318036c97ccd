"""$document: a Composition and everything it refers to, as one document Bundle.

https://hl7.org/fhir/R4/composition-operation-document.html and https://hl7.org/fhir/R4/documents.html
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from fhir_server.kernel import json
from fhir_server.kernel.errors import (
    Gone,
    InvalidRequest,
    Issue,
    MethodNotAllowed,
    NotFound,
    Unprocessable,
)
from fhir_server.kernel.instants import format_instant
from fhir_server.kernel.references import Reference, is_id
from fhir_server.operations.calls.operation import Answer, Invocation, Operation, Parameter, Writing
from fhir_server.operations.calls.references import local, references_in, references_with_paths
from fhir_server.store.database import Transaction
from fhir_server.store.reader import Reader
from fhir_server.store.records import Stored

MOST_ENTRIES = 2000
_uris = "urn:ietf:rfc:3986"
Entries = dict[Reference, Stored]


async def document(tx: Transaction, call: Invocation) -> Answer:
    """Return the document; with ``persist`` it is stored as a Bundle as well, which takes a POST.

    Raises NotFound or Gone for the Composition, Unprocessable when something it refers to itself is not there.
    """
    persist = call.inputs.one("persist", default=False)
    if persist and call.safe:
        raise MethodNotAllowed("persist=true stores a Bundle: POST to $document.")
    id = _composition(call)
    composition = await tx.reader.read("Composition", id)
    entries = await _reachable(tx.reader, composition, call.base_url)
    _require_direct(composition, entries, call.base_url)
    bundle = _bundle(entries.values(), call.base_url)
    if not persist:
        return Answer(bundle, about=id)
    whole = json.decode_resource(json.encode(bundle))
    stored = (await tx.writer.create(whole)).stored
    return Answer(stored, stored_at=stored, about=id)


def _composition(call: Invocation) -> str:
    """Return the id of the Composition: in the address, or the ``id`` parameter, never both."""
    given = call.inputs.one("id")
    if call.id is not None:
        if given is not None:
            raise InvalidRequest("The address names the Composition: leave the parameter 'id' out.")
        return call.id
    if given is None:
        raise InvalidRequest("Say which Composition: Composition/[id]/$document, or the parameter 'id'.")
    if is_id(given):
        return str(given)
    reference = local(given, call.base_url)
    if reference is None or reference.type != "Composition" or reference.version is not None:
        raise Unprocessable(issues=(Issue("not-supported", "Only Compositions of this server can be documents."),))
    return reference.id


async def _reachable(reader: Reader, composition: Stored, base_url: str) -> Entries:
    """Return the Composition and what it refers to, at first or second hand; what the Subject may not see is absent."""
    entries: Entries = {Reference("Composition", composition.id): composition}
    asked = set(entries)
    fresh = [composition]
    while fresh:
        wanted = dict.fromkeys(
            reference
            for stored in fresh
            for reference in references_in(stored.body, base_url)
            if reference not in asked
        )
        asked.update(wanted)
        found = await _resolved(reader, wanted)
        entries |= found
        if len(entries) > MOST_ENTRIES:
            text = f"The document would have more than {MOST_ENTRIES} entries."
            raise Unprocessable(issues=(Issue("too-costly", text),))
        fresh = list(found.values())
    return entries


async def _resolved(reader: Reader, wanted: Iterable[Reference]) -> Entries:
    ids: dict[str, set[str]] = defaultdict(set)
    entries: Entries = {}
    for reference in wanted:
        if reference.version is None:
            ids[reference.type].add(reference.id)
        else:
            stored = await _version(reader, reference)
            if stored is not None:
                entries[reference] = stored
    found = await reader.by_id(ids)
    return {reference: stored for reference in wanted if (stored := _of(reference, found, entries)) is not None}


def _of(reference: Reference, current: dict[tuple[str, str], Stored], versions: Entries) -> Stored | None:
    if reference.version is not None:
        return versions.get(reference)
    return current.get((reference.type, reference.id))


async def _version(reader: Reader, reference: Reference) -> Stored | None:
    if not reader.subject.grants(reference.type, "r"):
        return None
    try:
        return await reader.vread(reference.type, reference.id, reference.version or "")
    except (NotFound, Gone):
        return None


def _require_direct(composition: Stored, entries: Entries, base_url: str) -> None:
    """Raise Unprocessable for what the Composition refers to and the document would lack."""
    missing = []
    for path, text in references_with_paths(composition.resource(), "Composition"):
        reference = local(text, base_url)
        if reference is not None and reference not in entries:
            says = f"{reference.type} is not there, or hidden from the token: the document would lack it."
            missing.append(Issue("not-found", says, path))
    if missing:
        raise Unprocessable(issues=tuple(missing))


def _bundle(entries: Iterable[Stored], base_url: str) -> dict[str, Any]:
    distinct = {(stored.reference, stored.version): stored for stored in entries}
    return {
        "resourceType": "Bundle",
        "identifier": {"system": _uris, "value": f"urn:uuid:{uuid4()}"},
        "type": "document",
        "timestamp": format_instant(datetime.now(UTC)),
        "entry": [
            {"fullUrl": f"{base_url}/{stored.reference}", "resource": json.verbatim(stored.body)}
            for stored in distinct.values()
        ],
    }


OPERATION = Operation(
    name="document",
    definition="http://hl7.org/fhir/OperationDefinition/Composition-document",
    access={"type": "r", "instance": "r"},
    resource_types=frozenset({"Composition"}),
    parameters=(Parameter("id", "uri"), Parameter("persist", "boolean")),
    does=Writing(document),
)
