"""Konsil's own DICOMweb at /dicomweb: QIDO-RS and WADO-RS, open to whoever may read the ImagingStudy, to no one else.

PS3.18 §10: https://dicom.nema.org/medical/dicom/current/output/chtml/part18/chapter_10.html
"""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from adapters.dicomweb import qido, wado
from adapters.dicomweb.blobs import Blobs
from adapters.dicomweb.frames import spans
from adapters.dicomweb.look import parse_look
from adapters.dicomweb.part10 import is_uid
from adapters.dicomweb.render import Renderer
from fhir_server.kernel import json
from fhir_server.kernel.errors import FhirError, Gone, InvalidRequest, NotAcceptable, NotFound
from fhir_server.kernel.subject import Subject
from fhir_server.rest import errors
from fhir_server.rest.edge import Authenticate
from fhir_server.store import imaging
from fhir_server.store.audit import AuditRow
from fhir_server.store.database import Database, Transaction
from fhir_server.store.imaging import StoredInstance
from fhir_server.store.records import Stored
from mappings.dicom.imaging_study import endpoint_id

_audit_again_s = 900
_max_remembered = 10_000
_study, _series = "/studies/{study}", "/series/{series}"
_instance = "/instances/{instance}"


@dataclass(slots=True)
class Service:
    """What all requests share; ``opened`` remembers when a Subject last opened a study, so that it is audited once."""

    database: Database
    authenticate: Authenticate
    blobs: Blobs
    base_url: str
    renderer: Renderer = field(default_factory=Renderer)
    opened: dict[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who asks for what."""

    service: Service
    request: Request
    subject: Subject

    def path(self, name: str) -> str | None:
        """A UID of the path; one that is none cannot exist. Raises NotFound."""
        value = self.request.path_params.get(name)
        if value is not None and not is_uid(value):
            raise NotFound("There is no such study.")
        return value

    @property
    def accept(self) -> str | None:
        """What the client takes: the ``accept`` parameter goes before the header (PS3.18 §8.3.3.1)."""
        return self.request.query_params.get("accept") or self.request.headers.get("accept")


Handler = Callable[[Call], Awaitable[Response]]


def build_router(database: Database, authenticate: Authenticate, blobs: Blobs, *, base_url: str) -> Router:
    """Return the DICOMweb service, to be mounted where ``base_url`` leads."""
    service = Service(database, authenticate, blobs, base_url.rstrip("/"))
    table: tuple[tuple[str, Handler], ...] = (
        ("/studies", _search_studies),
        (_study + "/series", _search_series),
        (_study + "/instances", _search_instances),
        (_study + _series + "/instances", _search_instances),
        *((path + "/metadata", _metadata) for path in _levels()),
        (_study + _series + _instance + "/frames/{frames}", _frames),
        (_study + _series + _instance + "/rendered", _rendered),
        (_study + _series + _instance + "/frames/{frames}/rendered", _rendered),
        *((path, _retrieve) for path in _levels()),
    )
    return Router([Route(path, _Endpoint(service, handler), methods=["GET"]) for path, handler in table])


def _levels() -> tuple[str, str, str]:
    return _study, _study + _series, _study + _series + _instance


class _Endpoint:
    def __init__(self, service: Service, handler: Handler) -> None:
        self._service = service
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            subject = await self._service.authenticate(request.headers.get("authorization"))
            response = await self._handler(Call(self._service, request, subject))
        except ClientDisconnect:
            return
        except FhirError as error:
            response = errors.render(error)
        except Exception as error:  # noqa: BLE001 - the last line: whatever it is, the client gets a 500 and an id
            response = errors.render_unexpected(error, uuid.uuid4().hex)
        await response(scope, receive, send)


@asynccontextmanager
async def _opened(call: Call) -> AsyncIterator[tuple[Transaction, tuple[str, str]]]:
    """A transaction with (site, study UID), when the Subject may read the ImagingStudy; audited before the answer."""
    async with call.service.database.transaction(call.subject) as tx:
        stored, site = await _readable(call, tx)
        yield tx, (site, call.path("study") or "")
    opened, key, now = call.service.opened, (call.subject.reference, stored.id), time.monotonic()
    if now - opened.get(key, -_audit_again_s) >= _audit_again_s:
        row = AuditRow(call.subject, "read", 200, "ImagingStudy", stored.id, stored.version)
        await call.service.database.audit.record(row)
        if len(opened) >= _max_remembered:
            opened.clear()
        opened[key] = now


async def _readable(call: Call, tx: Transaction) -> tuple[Stored, str]:
    for site, imaging_study in await imaging.candidates(tx.connection, call.path("study") or ""):
        try:
            return await tx.reader.read("ImagingStudy", imaging_study), site
        except (NotFound, Gone):
            continue
    call.subject.require("ImagingStudy", "r")
    raise NotFound("There is no such study.")


async def _find(call: Call, *, headers: bool) -> list[StoredInstance]:
    async with _opened(call) as (tx, (site, study)):
        return await imaging.instances(
            tx.connection, site, study, call.path("series"), call.path("instance"), headers=headers
        )


async def _one(call: Call) -> StoredInstance:
    found = await _find(call, headers=True)
    if not found:
        raise NotFound("There is no such instance.")
    return found[0]


async def _retrieve(call: Call) -> Response:
    _no_parameters(call, "accept")
    return wado.instances_response(await _find(call, headers=False), call.service.blobs, call.accept)


async def _metadata(call: Call) -> Response:
    _no_parameters(call, "accept", "includefield")
    return wado.metadata_response(await _find(call, headers=True), call.request.headers.get("if-none-match"))


async def _frames(call: Call) -> Response:
    _no_parameters(call, "accept")
    instance = await _one(call)
    dataset = json.decode(instance.header)
    frames = [spans(instance, dataset, number) for number in _frame_numbers(call)]
    return wado.frames_response(instance, frames, call.service.blobs, call.accept)


async def _rendered(call: Call) -> Response:
    look = parse_look(dict(call.request.query_params), _image_type(call.accept))
    instance = await _one(call)
    dataset = json.decode(instance.header)
    numbers = _frame_numbers(call) if "frames" in call.request.path_params else [1]
    if len(numbers) != 1:
        raise InvalidRequest("One frame at a time can be rendered.")
    blobs = call.service.blobs
    frame = b"".join(
        [await blobs.read(instance.sha256, start, size) for start, size in spans(instance, dataset, numbers[0])]
    )
    image = await call.service.renderer.render(frame, dataset, instance.transfer_syntax, look)
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}
    return Response(image, headers=headers, media_type=look.kind)


async def _search_studies(call: Call) -> Response:
    service = call.service
    endpoint = f"Endpoint/{endpoint_id(service.base_url)}"
    async with service.database.transaction(call.subject) as tx:
        page = await qido.studies(tx, call.request.query_params.multi_items(), service.base_url, endpoint)
    return _answer(page)


async def _search_series(call: Call) -> Response:
    async with _opened(call) as (tx, study):
        pairs = call.request.query_params.multi_items()
        return _answer(await qido.series(tx, study, pairs, call.service.base_url))


async def _search_instances(call: Call) -> Response:
    async with _opened(call) as (tx, study):
        pairs = call.request.query_params.multi_items()
        return _answer(await qido.instances(tx, study, call.path("series"), pairs, call.service.base_url))


def _answer(page: qido.Page) -> Response:
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store"}
    if page.more:
        headers["Warning"] = '299 konsil "There are more results; ask on with offset."'
    return Response(json.encode(page.rows), headers=headers, media_type="application/dicom+json")


def _frame_numbers(call: Call) -> list[int]:
    words = str(call.request.path_params["frames"]).split(",")
    if len(words) > 1000 or not all(word.isascii() and word.isdigit() and len(word) < 8 for word in words):  # noqa: PLR2004 - a list
        raise InvalidRequest("Frames are numbers from 1, such as frames/1,2.")
    return [int(word) for word in words]


def _image_type(accept: str | None) -> str:
    for kind, _ in wado.accepted(accept):
        if kind in ("image/jpeg", "image/png"):
            return kind
        if kind in ("*/*", "image/*"):
            return "image/jpeg"
    raise NotAcceptable("Rendered images are image/jpeg or image/png.")


def _no_parameters(call: Call, *known: str) -> None:
    unknown = set(call.request.query_params) - set(known)
    if unknown:
        raise InvalidRequest(f"Unknown parameter '{min(unknown)}'.")
