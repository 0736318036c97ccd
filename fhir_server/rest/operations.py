"""Operations over HTTP: GET for those that change nothing, POST for all, one handler for every one of them.

https://hl7.org/fhir/R4/operations.html#3.2.0.2. An entry of a batch calls them the same way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from fhir_server import operations
from fhir_server.interactions.bundles.addresses import link, location
from fhir_server.interactions.bundles.entries import Entry
from fhir_server.interactions.bundles.outcomes import operation_outcome, status_line
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
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation as a request or a batch entry asks for it. ``body`` decodes the body, when it is its turn."""

    method: str
    name: str
    resource_type: str | None
    id: str | None
    version: str | None
    pairs: Sequence[tuple[str, str]]
    body: Callable[[], Json | None]
    if_match: str | None

    @property
    def level(self) -> Level:
        """Where it is asked for."""
        if self.version is not None:
            return "version"
        if self.id is not None:
            return "instance"
        return "system" if self.resource_type is None else "type"

    @property
    def path(self) -> str:
        """The address below the base."""
        return "/".join(part for part in (self.resource_type, self.id, f"${self.name}") if part)


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
    asked = Asked(
        call.request.method,
        call.path("name") or "",
        handlers.type_of(call) if call.path("type") is not None else None,
        call.path("id"),
        call.path("version"),
        call.pairs,
        lambda: call.resource() if call.body else None,
        call.header("if-match"),
    )
    inputs, answer = await _call(call, asked)
    if isinstance(answer.content, Stored):
        response = responses.resource(answer.content)
    else:
        response = responses.bundle(_content(call, asked, inputs, answer))
    if answer.stored_at is not None:
        response.headers["Location"] = f"{call.base_url}/{location(answer.stored_at)}"
    return response


async def operate(call: Call, entry: Entry) -> Json:
    """Return the response entry to an entry of a batch that calls an operation of a type or a resource."""
    *place, last = entry.segments
    if len(place) > 2:  # noqa: PLR2004 - Type/id
        raise MethodNotAllowed("An operation is called as Type/$name or Type/id/$name.")
    asked = Asked(
        entry.method,
        last.removeprefix("$"),
        entry.resource_type,
        place[1] if len(place) > 1 else None,
        None,
        entry.pairs,
        lambda: entry.resource,
        entry.if_match,
    )
    inputs, answer = await _call(call, asked)
    response = {"status": status_line(200)}
    if answer.stored_at is not None:
        response["location"] = location(answer.stored_at)
    return {"resource": _content(call, asked, inputs, answer), "response": response}


async def _call(call: Call, asked: Asked) -> tuple[Inputs, Answer]:
    """Find the operation, check scopes, then inputs, do it, and write down that it was done."""
    operation = operations.find(asked.name, asked.resource_type, asked.level)
    _check_method(asked.method, operation)
    operation.require(call.subject, asked.resource_type, asked.level)
    inputs = read_inputs(operation, asked.pairs, asked.body())
    invocation = Invocation(
        asked.resource_type,
        asked.id,
        asked.version,
        inputs,
        call.base_url,
        safe=asked.method in _safe,
        if_match=version_of(asked.if_match),
    )
    answer = await _answer(call, operation, invocation)
    about = asked.id or answer.about
    row = AuditRow(call.subject, f"${operation.name}", 200, asked.resource_type, about, request_id=call.id)
    await call.database.audit.record(row)
    return inputs, answer


def _check_method(method: str, operation: Operation) -> None:
    if method in _safe and operation.affects_state:
        raise MethodNotAllowed(f"${operation.name} changes something: POST to it.")
    if method not in _safe and method != "POST":
        raise MethodNotAllowed(f"{method} is not offered for an operation: use GET or POST.")


async def _answer(call: Call, operation: Operation, invocation: Invocation) -> Answer:
    does = operation.does
    if isinstance(does, Reading):
        async with call.database.reading(call.subject) as reader:
            return await does.run(reader, invocation)

    async def work(tx: Transaction) -> Answer:
        return await does.run(tx, invocation)

    return await handlers.write(call, work)


def _content(call: Call, asked: Asked, inputs: Inputs, answer: Answer) -> Json:
    content = answer.content
    if isinstance(content, Page):
        return _searchset(call.base_url, asked.path, inputs, content)
    if isinstance(content, Stored):
        return content.resource()
    return operation_outcome(content) if isinstance(content, tuple) else content


def _searchset(base_url: str, path: str, inputs: Inputs, page: Page) -> Json:
    links = [link("self", base_url, path, inputs.pairs)]
    if page.cursor is not None:
        links.append(link("next", base_url, path, [*inputs.pairs, (CURSOR, page.cursor)]))
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if page.total is not None:
        bundle["total"] = page.total
    entries = [_entry(stored, "match", base_url) for stored in page.matches]
    entries += [_entry(stored, "include", base_url) for stored in page.included]
    if page.issues:
        entries.append(_outcome(page.issues))
    return bundle | ({"entry": entries} if entries else {})


def _entry(stored: Stored, mode: str, base_url: str) -> Json:
    return {
        "fullUrl": f"{base_url}/{stored.reference}",
        "resource": json.verbatim(stored.body),
        "search": {"mode": mode},
    }


def _outcome(issues: Sequence[Issue]) -> Json:
    return {"resource": operation_outcome(issues), "search": {"mode": "outcome"}}
