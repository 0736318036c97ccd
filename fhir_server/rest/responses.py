"""What each interaction answers with: status, ETag, Last-Modified, Location and a body.

https://hl7.org/fhir/R4/http.html#2.21.0.5.1 (summary of the headers)
"""

from datetime import UTC
from email.utils import format_datetime
from typing import Any

from starlette.responses import Response

from fhir_server.interactions.bundles.addresses import etag, location
from fhir_server.interactions.bundles.answers import STATUS
from fhir_server.interactions.bundles.outcomes import operation_outcome
from fhir_server.kernel import json
from fhir_server.rest.negotiation import CONTENT_TYPE, Return
from fhir_server.store.records import Stored, WriteResult


def resource(stored: Stored, if_none_match: str | None = None) -> Response:
    """Return a read or vread: the stored text as it is, or 304 when the client has this version."""
    tag = etag(stored)
    headers = {"ETag": tag, "Last-Modified": _http_date(stored)}
    if if_none_match is not None and _matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(stored.body.encode(), 200, headers, media_type=CONTENT_TYPE)


def written(result: WriteResult, base_url: str, returns: Return) -> Response:
    """Return a create, update or patch, with as much body as ``returns`` asks for."""
    stored = result.stored
    headers = {
        "ETag": etag(stored),
        "Last-Modified": _http_date(stored),
        "Location": f"{base_url}/{location(stored)}",
    }
    status = STATUS[result.outcome]
    if returns == "minimal":
        return Response(status_code=status, headers=headers)
    body = stored.body.encode() if returns == "representation" else json.encode(operation_outcome(()))
    return Response(body, status, headers, media_type=CONTENT_TYPE)


def deleted(result: WriteResult | None, returns: Return) -> Response:
    """Return a delete: 204, or 200 with an OperationOutcome for who asks for one."""
    headers = {"ETag": etag(result.stored)} if result else {}
    if returns == "OperationOutcome":
        return Response(json.encode(operation_outcome(())), 200, headers, media_type=CONTENT_TYPE)
    return Response(status_code=204, headers=headers)


def bundle(content: dict[str, Any]) -> Response:
    """Return a Bundle; the bodies in it go out verbatim."""
    return Response(json.encode(content), 200, media_type=CONTENT_TYPE)


def _matches(if_none_match: str, tag: str) -> bool:
    strong = tag.removeprefix("W/")
    return any(given.strip().removeprefix("W/") in (strong, "*") for given in if_none_match.split(","))


def _http_date(stored: Stored) -> str:
    return format_datetime(stored.last_updated.astimezone(UTC), usegmt=True)
