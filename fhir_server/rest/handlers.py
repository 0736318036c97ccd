"""One thin handler for each interaction: request in, interaction called, response out.

https://hl7.org/fhir/R4/http.html
"""

import difflib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.responses import Response

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.interactions.bundles.addresses import parse_query
from fhir_server.interactions.bundles.bodies import parse_view
from fhir_server.interactions.create import create
from fhir_server.interactions.delete import conditional_delete, delete
from fhir_server.interactions.history import (
    HistoryResult,
    history_bundle,
    history_instance,
    history_system,
    history_type,
)
from fhir_server.interactions.patch import conditional_patch, patch
from fhir_server.interactions.patches import MEDIA_TYPES, Patch, parse_patch, resource_patch
from fhir_server.interactions.read import read_recorded
from fhir_server.interactions.search import SearchResult, search, search_compartment, search_system, searchset
from fhir_server.interactions.update import conditional_update, update
from fhir_server.interactions.vread import vread
from fhir_server.kernel.errors import InvalidRequest, MethodNotAllowed, NotFound
from fhir_server.rest import responses
from fhir_server.rest.edge import Call
from fhir_server.rest.negotiation import MEDIA_TYPE, check_content_type, names_fhir
from fhir_server.store.audit import AuditRow
from fhir_server.store.database import Transaction
from fhir_server.store.reader import Reader
from fhir_server.store.records import Stored, WriteResult

T = TypeVar("T")

_form = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class _Reading:
    reader: Reader


async def handle_read(call: Call) -> Response:
    """GET Type/id."""
    resource_type = type_of(call)
    view = parse_view(resource_type, call.pairs, lenient=call.preference.lenient)
    return responses.resource(await read_audited(call, resource_type), known(call), view)


def known(call: Call) -> responses.Known:
    """Return what the client says it has already."""
    return responses.Known(call.header("if-none-match"), call.header("if-modified-since"))


async def read_audited(call: Call, resource_type: str) -> Stored:
    """Return the current version of the call's resource; that it was read is in the audit trail."""
    resource_id = call.path("id") or ""
    return await read_recorded(call.database, call.subject, resource_type, resource_id, request_id=call.id)


async def handle_vread(call: Call) -> Response:
    """GET Type/id/_history/version."""
    resource_type = type_of(call)
    view = parse_view(resource_type, call.pairs, lenient=call.preference.lenient)
    return responses.resource(await vread_audited(call, resource_type), known(call), view)


async def vread_audited(call: Call, resource_type: str) -> Stored:
    """Return the version of the call's resource; that it was read is in the audit trail."""
    resource_id = call.path("id") or ""
    async with call.database.reading(call.subject) as reader:
        stored = await vread(_Reading(reader), resource_type, resource_id, call.path("version") or "")
    await _audit(call, resource_type, resource_id, stored.version)
    return stored


async def handle_history(call: Call) -> Response:
    """GET Type/id/_history, Type/_history and _history."""
    async with call.database.reading(call.subject) as reader:
        result = await _history(call, _Reading(reader))
    await _audit(call, call.path("type"), call.path("id"))
    return responses.bundle(history_bundle(result, call.base_url))


async def _history(call: Call, reading: _Reading) -> HistoryResult:
    resource_id, lenient = call.path("id"), call.preference.lenient
    if call.path("type") is None:
        return await history_system(reading, call.pairs, lenient=lenient)
    if resource_id is None:
        return await history_type(reading, type_of(call), call.pairs, lenient=lenient)
    return await history_instance(reading, type_of(call), resource_id, call.pairs, lenient=lenient)


async def handle_search(call: Call) -> Response:
    """GET Type?…, GET ?_type=…, GET Patient/1/Type?…, and the first two by POST to _search."""
    if call.request.method == "POST":
        check_content_type(call.header("content-type"), _form)
        call.take_pairs(parse_query(_ascii(call.body)))
    async with call.database.reading(call.subject) as reader:
        result = await _search(call, _Reading(reader))
    await _audit(call, call.path("inner") or call.path("type"))
    return responses.bundle(searchset(result, call.base_url))


async def _search(call: Call, reading: _Reading) -> SearchResult:
    lenient, inner = call.preference.lenient, call.path("inner")
    if call.path("type") is None:
        return await search_system(reading, call.pairs, lenient=lenient, base_url=call.base_url)
    if inner is None:
        return await search(reading, type_of(call), call.pairs, lenient=lenient, base_url=call.base_url)
    if inner != "*" and inner not in RESOURCE_TYPES:
        raise _unknown_type(inner)
    compartment = f"{type_of(call)}/{call.path('id')}"
    return await search_compartment(reading, compartment, inner, call.pairs, lenient=lenient, base_url=call.base_url)


async def handle_create(call: Call) -> Response:
    """POST Type."""
    resource_type = type_of(call)

    async def work(tx: Transaction) -> WriteResult:
        return await create(tx, call.resource(), call.header("if-none-exist"), resource_type=resource_type)

    return responses.written(await write(call, work), call.base_url, call.preference.returns)


async def handle_update(call: Call) -> Response:
    """PUT Type/id, and PUT Type?…, which is conditional."""
    resource_type, resource_id = type_of(call), call.path("id")

    async def work(tx: Transaction) -> WriteResult:
        resource, if_match = call.resource(), call.header("if-match")
        if resource_id is None:
            return await conditional_update(tx, resource_type, call.pairs, resource, if_match)
        return await update(tx, resource_type, resource_id, resource, if_match, call.header("if-none-match"))

    return responses.written(await write(call, work), call.base_url, call.preference.returns)


async def handle_patch(call: Call) -> Response:
    """PATCH Type/id, and PATCH Type?…, which is conditional."""
    resource_type, resource_id = type_of(call), call.path("id")
    change = _patch(call)

    async def work(tx: Transaction) -> WriteResult:
        if_match = call.header("if-match")
        if resource_id is None:
            return await conditional_patch(tx, resource_type, call.pairs, change, if_match)
        return await patch(tx, resource_type, resource_id, change, if_match)

    return responses.written(await write(call, work), call.base_url, call.preference.returns)


def _patch(call: Call) -> Patch:
    content_type = call.header("content-type")
    if names_fhir(content_type):
        return resource_patch(call.resource())
    more = (*MEDIA_TYPES, MEDIA_TYPE, "application/fhir+xml")
    return parse_patch(check_content_type(content_type, *more), call.body)


async def handle_delete(call: Call) -> Response:
    """DELETE Type/id, and DELETE Type?…, which is conditional."""
    resource_type, resource_id = type_of(call), call.path("id")

    async def work(tx: Transaction) -> WriteResult | None:
        if resource_id is None:
            return await conditional_delete(tx, resource_type, call.pairs, call.header("if-match"))
        return await delete(tx, resource_type, resource_id, call.header("if-match"))

    return responses.deleted(await write(call, work), call.preference.returns)


async def handle_unknown(call: Call) -> Response:
    """Everything no route stands for: 405 below a known type, else 404."""
    first = (call.path("path") or "").strip("/").partition("/")[0]
    if first in RESOURCE_TYPES or first in ("", "metadata"):
        raise MethodNotAllowed(f"{call.request.method} is not offered at this address.")
    raise _unknown_type(first)


async def write(call: Call, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """Return what ``work`` returns, after its one transaction is committed."""
    return await call.database.run(call.subject, work, request_id=call.id)


async def _audit(call: Call, resource_type: str | None, id: str | None = None, version: int | None = None) -> None:
    row = AuditRow(call.subject, call.interaction, 200, resource_type, id, version, call.id)
    await call.database.audit.record(row)


def type_of(call: Call) -> str:
    """Return the type in the address. Raises NotFound when R4 has none of that name."""
    resource_type = call.path("type") or ""
    if resource_type not in RESOURCE_TYPES:
        raise _unknown_type(resource_type)
    return resource_type


def _unknown_type(name: str) -> NotFound:
    near = difflib.get_close_matches(name, RESOURCE_TYPES, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return NotFound(f"The address names no FHIR R4 resource type.{hint}")


def _ascii(body: bytes) -> str:
    try:
        return body.decode("ascii")
    except UnicodeDecodeError as error:
        raise InvalidRequest("A form body is percent-encoded ASCII.") from error
