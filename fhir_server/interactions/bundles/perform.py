"""One entry as the interaction it asks for, through the same functions as a request of its own.

https://hl7.org/fhir/R4/http.html#transaction
"""

from typing import Any

from fhir_server.interactions.bundles import answers
from fhir_server.interactions.bundles.addresses import etag
from fhir_server.interactions.bundles.bodies import parse_view
from fhir_server.interactions.bundles.entries import Entry
from fhir_server.interactions.create import create
from fhir_server.interactions.delete import conditional_delete, delete
from fhir_server.interactions.history import history_bundle, history_instance, history_type
from fhir_server.interactions.patch import conditional_patch, patch
from fhir_server.interactions.patches import resource_patch
from fhir_server.interactions.read import read
from fhir_server.interactions.search import search, searchset
from fhir_server.interactions.update import conditional_update, update
from fhir_server.interactions.vread import vread
from fhir_server.kernel.errors import InvalidRequest, MethodNotAllowed
from fhir_server.store.database import Transaction
from fhir_server.store.records import WriteResult


async def perform(tx: Transaction, entry: Entry, *, base_url: str = "", prefer: str = "minimal") -> dict[str, Any]:
    """Do what the entry asks for and return its response entry. Raises FhirError."""
    _refuse_operation(entry)
    if entry.method in ("GET", "HEAD"):
        return await _get(tx, entry, base_url)
    result = await write(tx, entry)
    return answers.written(result, prefer) if result else answers.nothing_deleted()


async def write(tx: Transaction, entry: Entry, *, id: str | None = None) -> WriteResult | None:
    """Do the entry's POST, PUT, PATCH or DELETE; ``id`` is the id given out for a POST beforehand."""
    _refuse_operation(entry)
    if len(entry.segments) > 2:  # noqa: PLR2004 - Type/id
        raise InvalidRequest("request.url of a write must be Type or Type/id.")
    if entry.method == "POST":
        return await _post(tx, entry, id)
    if entry.id is None:
        return await _conditional(tx, entry)
    if entry.method == "PUT":
        return await update(tx, entry.resource_type, entry.id, entry.body(), entry.if_match, entry.if_none_match)
    if entry.method == "PATCH":
        return await patch(tx, entry.resource_type, entry.id, resource_patch(entry.body()), entry.if_match)
    return await delete(tx, entry.resource_type, entry.id, entry.if_match)


def _refuse_operation(entry: Entry) -> None:
    if entry.operation is not None:
        raise MethodNotAllowed("A transaction holds no operations: call them by themselves, or in a batch.")


async def _post(tx: Transaction, entry: Entry, id: str | None) -> WriteResult:
    if entry.id is not None:
        raise InvalidRequest("request.url of a POST must be the type alone, e.g. Patient.")
    return await create(tx, entry.body(), entry.if_none_exist, resource_type=entry.resource_type, id=id)


async def _conditional(tx: Transaction, entry: Entry) -> WriteResult | None:
    if entry.method == "PUT":
        return await conditional_update(tx, entry.resource_type, entry.pairs, entry.body(), entry.if_match)
    if entry.method == "PATCH":
        return await conditional_patch(
            tx, entry.resource_type, entry.pairs, resource_patch(entry.body()), entry.if_match
        )
    return await conditional_delete(tx, entry.resource_type, entry.pairs, entry.if_match)


async def _get(tx: Transaction, entry: Entry, base_url: str) -> dict[str, Any]:
    match entry.segments:
        case (resource_type,):
            return answers.listed(searchset(await search(tx, resource_type, entry.pairs, base_url=base_url), base_url))
        case (resource_type, "_history"):
            return answers.listed(history_bundle(await history_type(tx, resource_type, entry.pairs), base_url))
        case (resource_type, id):
            view = parse_view(resource_type, _selecting(entry))
            stored = await read(tx, resource_type, id)
            return answers.not_modified(stored) if entry.if_none_match == etag(stored) else answers.found(stored, view)
        case (resource_type, id, "_history"):
            return answers.listed(history_bundle(await history_instance(tx, resource_type, id, entry.pairs), base_url))
        case (resource_type, id, "_history", version):
            view = parse_view(resource_type, _selecting(entry))
            return answers.found(await vread(tx, resource_type, id, version), view)
        case _:
            raise MethodNotAllowed("request.url of a GET must be Type, Type/id or Type/id/_history.")


def _selecting(entry: Entry) -> list[tuple[str, str]]:
    """Return the pairs of a read but those about the form of an answer, which is the Bundle's."""
    return [pair for pair in entry.pairs if pair[0] not in ("_format", "_pretty")]
