"""Binary: its content as it is for whoever does not ask for FHIR, and content as it is taken in.

https://hl7.org/fhir/R4/binary.html#rest
"""

import base64
import binascii
from typing import Any

from starlette.responses import Response

from fhir_server.interactions.bundles.addresses import etag
from fhir_server.interactions.create import create
from fhir_server.interactions.update import update
from fhir_server.kernel import json
from fhir_server.kernel.errors import InvalidRequest
from fhir_server.rest import handlers, responses
from fhir_server.rest.edge import Call
from fhir_server.store.database import Transaction
from fhir_server.store.records import Stored, WriteResult

_fhir = ("application/fhir+json", "application/json")
_octets = "application/octet-stream"
_safe = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Content-Disposition": "attachment",
    "Cache-Control": "private, no-store",
}


async def handle_read_binary(call: Call) -> Response:
    """GET Binary/id: the resource for who names a FHIR format, else the content under its own content type."""
    stored = await handlers.read_audited(call, "Binary")
    if _asks_for_fhir(call):
        return responses.resource(stored, call.header("if-none-match"))
    return _content(stored)


async def handle_create_binary(call: Call) -> Response:
    """POST Binary: a resource, or any other content type as content."""
    if _is_fhir(call.header("content-type")):
        return await handlers.handle_create(call)

    async def work(tx: Transaction) -> WriteResult:
        return await create(tx, _resource(call), call.header("if-none-exist"), resource_type="Binary")

    return responses.written(await handlers.write(call, work), call.base_url, call.preference.returns)


async def handle_update_binary(call: Call) -> Response:
    """PUT Binary/id: a resource, or any other content type as content."""
    if _is_fhir(call.header("content-type")):
        return await handlers.handle_update(call)
    resource_id = call.path("id") or ""

    async def work(tx: Transaction) -> WriteResult:
        return await update(tx, "Binary", resource_id, {**_resource(call), "id": resource_id}, call.header("if-match"))

    return responses.written(await handlers.write(call, work), call.base_url, call.preference.returns)


def _resource(call: Call) -> dict[str, Any]:
    """Return the Binary made of the request's body; X-Security-Context becomes securityContext."""
    content_type = call.header("content-type")
    if not content_type:
        raise InvalidRequest("Say what the content is in Content-Type.")
    context = call.header("x-security-context")
    security = {"securityContext": {"reference": context}} if context else {}
    return {
        "resourceType": "Binary",
        "contentType": content_type,
        **security,
        "data": base64.b64encode(call.body).decode(),
    }


def _content(stored: Stored) -> Response:
    resource = json.decode_resource(stored.body)
    try:
        data = base64.b64decode(resource.get("data", ""))
    except binascii.Error as error:
        raise InvalidRequest("The stored data is not base64.", expression="Binary.data") from error
    headers = {"ETag": etag(stored), **_safe}
    headers["Content-Type"] = _type_of(resource)
    return Response(data, 200, headers)


def _type_of(resource: dict[str, Any]) -> str:
    kind = str(resource.get("contentType", _octets))
    return kind if "/" in kind and kind.isascii() and kind.isprintable() else _octets


def _asks_for_fhir(call: Call) -> bool:
    if "_format" in call.request.query_params:
        return True
    accept = call.header("accept") or ""
    return any(part.partition(";")[0].strip().lower() in _fhir for part in accept.split(","))


def _is_fhir(content_type: str | None) -> bool:
    return (content_type or "").partition(";")[0].strip().lower() in _fhir
