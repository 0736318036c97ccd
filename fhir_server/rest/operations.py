"""Operations over HTTP: GET for those that change nothing, POST for all, one handler for every one of them.

https://hl7.org/fhir/R4/operations.html#3.2.0.2
"""

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from fhir_server import operations
from fhir_server.interactions.bundles.addresses import link, location
from fhir_server.interactions.bundles.outcomes import operation_outcome
from fhir_server.interactions.update import version_of
from fhir_server.kernel import json
from fhir_server.kernel.errors import Issue, MethodNotAllowed
from fhir_server.operations.calls.inputs import CURSOR, read_inputs
from fhir_server.operations.calls.operation import Answer, Inputs, Invocation, Level, Operation, Page, Reading
from fhir_server.rest import handlers, responses
from fhir_server.rest.edge import Call, Edge, Endpoint
from fhir_server.store.audit import AuditRow
from fhir_server.store.database import Transaction
from fhir_server.store.records import Stored

_paths = ("/${name}", "/{type}/${name}", "/{type}/{id}/${name}", "/{type}/{id}/_history/{version}/${name}")
_methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
_safe = frozenset({"GET", "HEAD"})


class OperationEndpoint:
    """An ASGI application that hands a request over to the endpoint of the operation its address names.

    Each operation has an endpoint of its own, so that the audit trail and the metrics call it by its name.
    """

    def __init__(self, edge: Edge) -> None:
        self._unknown = Endpoint(edge, "operation", handle_operation)
        names = {operation.name for operation in operations.OPERATIONS}
        self._named = {name: Endpoint(edge, f"${name}", handle_operation) for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        endpoint = self._named.get(scope["path_params"]["name"], self._unknown)
        await endpoint(scope, receive, send)


def operation_routes(edge: Edge, prefix: str) -> list[BaseRoute]:
    """Return the routes of every address that names an operation, offered or not."""
    endpoint = OperationEndpoint(edge)
    return [Route(prefix + path, endpoint, methods=list(_methods)) for path in _paths]


async def handle_operation(call: Call) -> Response:
    """GET or POST an operation of the system, a type, a resource or a version of one."""
    resource_type = handlers.type_of(call) if call.path("type") is not None else None
    level = _level(call)
    operation = operations.find(call.path("name") or "", resource_type, level)
    _check_method(call, operation)
    operation.require(call.subject, resource_type, level)
    invocation = Invocation(
        resource_type,
        call.path("id"),
        call.path("version"),
        _inputs(call, operation),
        call.base_url,
        safe=call.request.method in _safe,
        if_match=version_of(call.header("if-match")),
    )
    answer = await _answer(call, operation, invocation)
    row = AuditRow(
        call.subject, call.interaction, 200, resource_type, call.path("id") or answer.about, request_id=call.id
    )
    await call.database.audit.record(row)
    return _render(call, invocation.inputs, answer)


def _level(call: Call) -> Level:
    if call.path("version") is not None:
        return "version"
    if call.path("id") is not None:
        return "instance"
    return "system" if call.path("type") is None else "type"


def _check_method(call: Call, operation: Operation) -> None:
    method = call.request.method
    if method in _safe and operation.affects_state:
        raise MethodNotAllowed(f"${operation.name} changes something: POST to it.")
    if method not in _safe and method != "POST":
        raise MethodNotAllowed(f"{method} is not offered for an operation: use GET or POST.")


def _inputs(call: Call, operation: Operation) -> Inputs:
    body: dict[str, Any] | None = None
    if call.body:
        body = call.resource()
    return read_inputs(operation, call.pairs, body)


async def _answer(call: Call, operation: Operation, invocation: Invocation) -> Answer:
    does = operation.does
    if isinstance(does, Reading):
        async with call.database.reading(call.subject) as reader:
            return await does.run(reader, invocation)

    async def work(tx: Transaction) -> Answer:
        return await does.run(tx, invocation)

    return await handlers.write(call, work)


def _render(call: Call, inputs: Inputs, answer: Answer) -> Response:
    content = answer.content
    if isinstance(content, Page):
        return responses.bundle(_searchset(call, inputs, content))
    if isinstance(content, Stored):
        response = responses.resource(content)
    else:
        response = responses.bundle(operation_outcome(content) if isinstance(content, tuple) else content)
    if answer.stored_at is not None:
        response.headers["Location"] = f"{call.base_url}/{location(answer.stored_at)}"
    return response


def _searchset(call: Call, inputs: Inputs, page: Page) -> dict[str, Any]:
    path = "/".join(part for part in (call.path("type"), call.path("id"), f"${call.path('name')}") if part)
    links = [link("self", call.base_url, path, inputs.pairs)]
    if page.cursor is not None:
        links.append(link("next", call.base_url, path, [*inputs.pairs, (CURSOR, page.cursor)]))
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if page.total is not None:
        bundle["total"] = page.total
    entries = [_entry(stored, "match", call.base_url) for stored in page.matches]
    entries += [_entry(stored, "include", call.base_url) for stored in page.included]
    if page.issues:
        entries.append(_outcome(page.issues))
    return bundle | ({"entry": entries} if entries else {})


def _entry(stored: Stored, mode: str, base_url: str) -> dict[str, Any]:
    return {
        "fullUrl": f"{base_url}/{stored.reference}",
        "resource": json.verbatim(stored.body),
        "search": {"mode": mode},
    }


def _outcome(issues: Sequence[Issue]) -> dict[str, Any]:
    return {"resource": operation_outcome(issues), "search": {"mode": "outcome"}}
