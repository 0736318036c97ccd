"""The edge every FHIR request crosses: authenticate → Subject → one transaction → audit → answer after commit.

https://hl7.org/fhir/R4/http.html and https://hl7.org/fhir/R4/security.html#audit
"""

import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fhir_server.interactions.bundles.addresses import parse_query
from fhir_server.kernel import json, xml
from fhir_server.kernel.errors import FhirError
from fhir_server.kernel.subject import Subject
from fhir_server.rest import errors
from fhir_server.rest.body import read_body
from fhir_server.rest.metrics import Metrics
from fhir_server.rest.negotiation import Format, Preference, body_format, names_fhir, negotiate, parse_prefer
from fhir_server.rest.representation import represent
from fhir_server.store.audit import AuditRow
from fhir_server.store.database import Database

Authenticate = Callable[[str | None], Awaitable[Subject]]
"""Authorization header → Subject; raises Unauthorized."""

DEFAULT_BODY_LIMIT_BYTES = 64 * 1024 * 1024
_bodiless = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_anonymous = Subject("anonymous", "anonymous", ())
_refusals = (401, 403)
_about_the_answer = frozenset({"_format", "_pretty"})
_on_every_answer = (("Cache-Control", "private, no-store"), ("X-Content-Type-Options", "nosniff"))


@dataclass(frozen=True, slots=True)
class Edge:
    """What all requests share."""

    database: Database
    authenticate: Authenticate
    base_url: str
    body_limit_bytes: int = DEFAULT_BODY_LIMIT_BYTES
    metrics: Metrics = field(default_factory=Metrics)


@dataclass(slots=True)
class Call:
    """One request on its way: who asks, for what, and what to write into the audit trail about it."""

    edge: Edge
    request: Request
    interaction: str
    id: str
    subject: Subject = _anonymous
    body: bytes = b""
    preference: Preference = field(default_factory=Preference)
    format: Format = "json"
    pretty: bool = False
    pairs: list[tuple[str, str]] = field(default_factory=list)

    @property
    def database(self) -> Database:
        """The database, for handlers to open their one transaction on."""
        return self.edge.database

    @property
    def base_url(self) -> str:
        """The FHIR base, without a slash at the end."""
        return self.edge.base_url

    def path(self, name: str) -> str | None:
        """A part of the path: ``type``, ``id`` or ``version``."""
        value = self.request.path_params.get(name)
        return str(value) if value is not None else None

    def header(self, name: str) -> str | None:
        """A request header."""
        return self.request.headers.get(name)

    def resource(self) -> dict[str, Any]:
        """The resource in the body, decoded anew each time. Raises UnsupportedMediaType, InvalidRequest."""
        if body_format(self.header("content-type")) == "xml":
            return xml.decode_resource(self.body)
        return json.decode_resource(self.body)

    def read_address(self) -> None:
        """Read the query: ``pairs`` are those that say what is wanted, the others say in what form."""
        query = self.request.scope["query_string"].decode("ascii", "replace")
        self.take_pairs(parse_query(query) if query else [])

    def take_pairs(self, pairs: list[tuple[str, str]]) -> None:
        """Add the pairs of the query, or of a form; ``_format`` and ``_pretty`` among them decide about the answer."""
        about = dict(pair for pair in pairs if pair[0] in _about_the_answer)
        self.pairs += [pair for pair in pairs if pair[0] not in _about_the_answer] if about else pairs
        if "_format" in about:
            self.format = negotiate(None, about["_format"])
        self.pretty = about.get("_pretty", str(self.pretty)).lower() == "true"


Handler = Callable[[Call], Awaitable[Response]]


class Endpoint:
    """An ASGI application for one interaction.

    ``open`` means no token is asked for; ``content_of`` names the one type the route is for, whose answers may be
    something else than FHIR.
    """

    def __init__(
        self, edge: Edge, interaction: str, handler: Handler, *, open: bool = False, content_of: str | None = None
    ) -> None:
        self._edge = edge
        self._interaction = interaction
        self._handler = handler
        self._open = open
        self._content_of = content_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        started = time.perf_counter()
        if self._content_of:
            scope["path_params"]["type"] = self._content_of
        call = Call(self._edge, Request(scope, receive), self._interaction, uuid.uuid4().hex)
        try:
            response = await self._answer(call)
        except ClientDisconnect:
            return
        represent(response, call.format, pretty=call.pretty)
        response.headers["X-Request-Id"] = call.id
        for name, value in _on_every_answer:
            response.headers.setdefault(name, value)
        if scope["method"] == "HEAD":
            response.body = b""
        await response(scope, receive, send)
        self._edge.metrics.observe(self._interaction, response.status_code, time.perf_counter() - started)

    async def _answer(self, call: Call) -> Response:
        try:
            return await self._handle(call)
        except ClientDisconnect:
            raise
        except FhirError as error:
            return await self._refuse(call, error)
        except Exception as error:  # noqa: BLE001 - the last line: whatever it is, the client gets a 500 and an id
            return errors.render_unexpected(error, call.id)

    async def _handle(self, call: Call) -> Response:
        request = call.request
        accept = request.headers.get("accept")
        if self._content_of is None or names_fhir(accept):
            call.format = negotiate(accept, "json" if b"_format=" in request.scope["query_string"] else None)
        call.read_address()
        if not self._open:
            call.subject = await self._edge.authenticate(request.headers.get("authorization"))
        call.preference = parse_prefer(request.headers.get("prefer"))
        if request.method not in _bodiless:
            call.body = await read_body(request, self._edge.body_limit_bytes)
        return await self._handler(call)

    async def _refuse(self, call: Call, error: FhirError) -> Response:
        """Render the error; a refusal is in the audit trail before the client hears of it."""
        if error.status in _refusals:
            row = AuditRow(
                call.subject, call.interaction, error.status, call.path("type"), call.path("id"), request_id=call.id
            )
            try:
                await self._edge.database.audit.record(row)
            except FhirError as away:
                return errors.render(away)
        return errors.render(error)
