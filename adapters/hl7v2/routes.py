"""HL7 v2 over HTTP at /hl7v2: a message is posted, its acknowledgement is the answer; and what operators need.

https://hapifhir.github.io/hapi-hl7v2/hapi-hl7overhttp/specification.html: whatever the acknowledgement says, the HTTP
status is 200. Every request needs a ``system/MessageHeader`` scope and leaves a row in the audit trail.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from adapters.hl7v2.framing import CR, FS, VT
from adapters.hl7v2.header import split_messages
from adapters.hl7v2.message_api import MessageApi
from adapters.hl7v2.peer import Peer
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.sites import Sites
from fhir_server.kernel import json
from fhir_server.kernel.errors import FhirError, Forbidden, InvalidRequest, UnsupportedMediaType
from fhir_server.kernel.subject import Subject
from fhir_server.rest import errors
from fhir_server.rest.body import read_body
from fhir_server.rest.edge import Authenticate
from fhir_server.store.audit import AuditRow
from fhir_server.store.database import Database
from fhir_server.store.wiring import Enqueue

TYPE = "MessageHeader"
"""The type whose scopes open this service: c to send, s to list, r to read, u to replay and hold."""

_MEDIA_TYPES = ("x-application/hl7-v2+er7", "application/hl7-v2+er7", "application/hl7-v2")


@dataclass(frozen=True, slots=True)
class Service:
    """What all requests share; ``port`` is the one whose senders a replay of an unclaimed message may belong to."""

    database: Database
    authenticate: Authenticate
    sites: Sites
    intake: Intake
    port: int = 0
    enqueue: Enqueue | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who asks for what."""

    service: Service
    request: Request
    subject: Subject

    @property
    def id(self) -> int:
        """The id in the path."""
        return int(self.request.path_params["id"])


Handler = Callable[[Call], Awaitable[Response]]


class Endpoint:
    """An ASGI application for one interaction: authenticate, check the scope, answer, and write the audit row first."""

    def __init__(self, service: Service, interaction: str, action: str, handler: Handler) -> None:
        self._service = service
        self._interaction = interaction
        self._action = action
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        try:
            response = await self._answer(Request(scope, receive))
        except ClientDisconnect:
            return
        except FhirError as error:
            response = errors.render(error)
        except Exception as error:  # noqa: BLE001 - the last line: whatever it is, the client gets a 500 and an id
            response = errors.render_unexpected(error, uuid.uuid4().hex)
        response.headers.setdefault("Cache-Control", "private, no-store")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        subject = await self._service.authenticate(request.headers.get("authorization"))
        id = request.path_params.get("id")
        try:
            _require(subject, self._interaction)
            response = await self._handler(Call(self._service, request, subject))
        except FhirError as error:
            await self._record(subject, error.status, id)
            raise
        await self._record(subject, response.status_code, id)
        return response

    async def _record(self, subject: Subject, status: int, id: int | None) -> None:
        row = AuditRow(subject, self._action, status, TYPE, None if id is None else str(id))
        await self._service.database.audit.record(row)


def build_routes(service: Service) -> list[Route]:
    """Return the routes for senders and operators, for the server's route list."""
    api = MessageApi(service.database, service.sites, port=service.port, enqueue=service.enqueue)
    inbox, outbox = "/hl7v2/messages", "/hl7v2/outbox"
    table: tuple[tuple[str, str, str, str, Handler], ...] = (
        ("POST", "/hl7v2", "c", "receive", _receive),
        ("GET", inbox, "s", "list", _json(lambda call: api.listed(call.subject, call.request.query_params))),
        ("GET", inbox + "/{id:int}", "r", "show", _json(lambda call: api.shown(call.id))),
        ("POST", inbox + "/{id:int}/replay", "u", "replay", _json(lambda call: api.replayed(call.id))),
        ("POST", inbox + "/{id:int}/hold", "u", "hold", _json(lambda call: api.held(call.id))),
        ("POST", inbox + "/{id:int}/pass", "u", "pass", _json(lambda call: api.passed(call.id))),
        ("GET", outbox, "s", "list outgoing", _json(lambda call: api.outgoing(call.request.query_params))),
        ("POST", outbox + "/{id:int}/resend", "u", "resend", _json(lambda call: api.resent(call.id))),
        ("POST", outbox + "/{id:int}/skip", "u", "skip", _json(lambda call: api.skipped(call.id))),
    )
    return [
        Route(path, Endpoint(service, interaction, f"hl7v2 {action}", handler), methods=[method])
        for method, path, interaction, action, handler in table
    ]


def _json(work: Callable[[Call], Awaitable[dict[str, Any]]]) -> Handler:
    async def answer(call: Call) -> Response:
        return Response(json.encode(await work(call)), media_type="application/json")

    return answer


def _require(subject: Subject, interaction: str) -> None:
    """Raise Forbidden unless a system/ scope speaks of messages: they hold whatever any patient's record holds."""
    if not any(scope.level == "system" and scope.covers(TYPE, interaction) for scope in subject.scopes):
        raise Forbidden(f"This needs a token with the scope system/{TYPE}.{interaction}.")


async def _receive(call: Call) -> Response:
    """POST /hl7v2: one message, or a batch, whose acknowledgements follow each other in the answer."""
    media_type = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise UnsupportedMediaType(f"A message is posted as {_MEDIA_TYPES[0]}.")
    body = await read_body(call.request, call.service.sites.frame_limit_bytes)
    content = body.strip(VT + FS + CR + b"\n")
    if not content:
        raise InvalidRequest("The body holds no message.")
    address = call.request.client.host if call.request.client else ""
    peer = Peer(address, client=call.subject.reference)
    answers = [(await call.service.intake.take(raw, peer)).answer for raw in split_messages(content + CR)]
    return Response(b"".join(answers), media_type=media_type)
