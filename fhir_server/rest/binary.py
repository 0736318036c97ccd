"""Binary: its content as it is for whoever does not ask for FHIR, and content as it is taken in.

https://hl7.org/fhir/R4/binary.html#rest
"""

import base64
import binascii
from typing import Any

from starlette.responses import Response

from fhir_server.interactions.create import create
from fhir_server.interactions.update import update
from fhir_server.kernel.errors import InvalidRequest
from fhir_server.rest import handlers, responses
from fhir_server.rest.edge import Call
from fhir_server.rest.negotiation import names_fhir
from fhir_server.store.database import Transaction
from fhir_server.store.records import Stored, WriteResult

_octets = "application/octet-stream"
_safe = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Content-Disposition": "attachment",
    "Cache-Control": "private, no-store",
}


async def handle_read_binary(call: Call) -> Response:
    """GET Binary/id: the resource for who names a FHIR format, else the content under its own content type."""
    if _asks_for_fhir(call):
        return await handlers.handle_read(call)
    return _content(call, await handlers.read_audited(call, "Binary"))


async def handle_vread_binary(call: Call) -> Response:
    """GET Binary/id/_history/version, as a read."""
    if _asks_for_fhir(call):
        return await handlers.handle_vread(call)
    return _content(call, await handlers.vread_audited(call, "Binary"))


async def handle_create_binary(call: Call) -> Response:
    """POST Binary: a resource, or any other content type as content."""
    if names_fhir(call.header("content-type")):
        return await handlers.handle_create(call)

    async def work(tx: Transaction) -> WriteResult:
        return await create(tx, _resource(call), call.header("if-none-exist"), resource_type="Binary")

    return responses.written(await handlers.write(call, work), call.base_url, call.preference.returns)


async def handle_update_binary(call: Call) -> Response:
    """PUT Binary/id: a resource, or any other content type as content."""
    if names_fhir(call.header("content-type")):
        return await handlers.handle_update(call)
    resource_id = call.path("id") or ""

    async def work(tx: Transaction) -> WriteResult:
        resource = {**_resource(call), "id": resource_id}
        conditions = call.header("if-match"), call.header("if-none-match")
        return await update(tx, "Binary", resource_id, resource, *conditions)

    return responses.written(await handlers.write(call, work), call.base_url, call.preference.returns)


def _resource(call: Call) -> dict[str, Any]:
    """Return the Binary made of the request's body; X-Security-Context becomes securityContext."""
    content_type = call.header("content-type")
    if not content_type:
        raise InvalidRequest("Say what the content is in Content-Type.")
    context = call.header("x-security-context")
    security = {"securityContext": {"reference": context}} if context else {}
    data = {"data": base64.b64encode(call.body).decode()} if call.body else {}
    return {"resourceType": "Binary", "contentType": content_type, **security, **data}


def _content(call: Call, stored: Stored) -> Response:
    headers = responses.version_headers(stored) | _safe
    if handlers.known(call).is_current(stored):
        return Response(status_code=304, headers=headers)
    resource = stored.resource()
    try:
        data = base64.b64decode(resource.get("data", ""))
    except binascii.Error as error:
        raise InvalidRequest("The stored data is not base64.", expression="Binary.data") from error
    context = resource.get("securityContext", {}).get("reference")
    if context and _fits_header(context):
        headers["X-Security-Context"] = context
    headers["Content-Type"] = _type_of(resource)
    return Response(data, 200, headers)


def _type_of(resource: dict[str, Any]) -> str:
    """Return the content type to serve as; a FHIR type would claim that this is a resource of the API."""
    kind = str(resource.get("contentType", _octets))
    return kind if "/" in kind and _fits_header(kind) else _octets


def _fits_header(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _asks_for_fhir(call: Call) -> bool:
    return b"_format=" in call.request.scope["query_string"] or names_fhir(call.header("accept"))
