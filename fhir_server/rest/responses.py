"""What each interaction answers with: status, ETag, Last-Modified, Location and a body.

https://hl7.org/fhir/R4/http.html#2.21.0.5.1 (summary of the headers)
"""

from dataclasses import dataclass
from datetime import UTC
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any

from starlette.responses import Response

from fhir_server.interactions.bundles.addresses import etag, location
from fhir_server.interactions.bundles.answers import STATUS
from fhir_server.interactions.bundles.bodies import View, body_of
from fhir_server.interactions.bundles.outcomes import operation_outcome
from fhir_server.kernel import json
from fhir_server.rest.negotiation import CONTENT_TYPE, Return
from fhir_server.store.records import Stored, WriteResult


@dataclass(frozen=True, slots=True)
class Known:
    """What the client says it has: its If-None-Match and If-Modified-Since headers."""

    if_none_match: str | None = None
    if_modified_since: str | None = None

    def is_current(self, stored: Stored) -> bool:
        """Tell whether it has this version; the tag decides where there is one (RFC 9110 §13.2.2)."""
        if self.if_none_match is not None:
            return _matches(self.if_none_match, etag(stored))
        return self.if_modified_since is not None and _unchanged_since(self.if_modified_since, stored)


def resource(stored: Stored, known: Known | None = None, view: View | None = None) -> Response:
    """Return a read or vread: the stored text, what ``view`` leaves of it, or 304 when the client has this version."""
    headers = version_headers(stored)
    if known is not None and known.is_current(stored):
        return Response(status_code=304, headers=headers)
    if view is None or view.whole:
        body = stored.body.encode()
    else:
        body = json.encode(body_of(stored, summary=view.summary, elements=view.elements))
    return Response(body, 200, headers, media_type=CONTENT_TYPE)


def version_headers(stored: Stored) -> dict[str, str]:
    """Return the headers that name the version of an answer."""
    return {"ETag": etag(stored), "Last-Modified": _http_date(stored)}


def written(result: WriteResult, base_url: str, returns: Return) -> Response:
    """Return a create, update or patch, with as much body as ``returns`` asks for."""
    stored = result.stored
    headers = version_headers(stored) | {"Location": f"{base_url}/{location(stored)}"}
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


def _unchanged_since(text: str, stored: Stored) -> bool:
    """Tell whether the version is no newer than an HTTP date, in whole seconds; no date is no condition."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return False
    return stored.last_updated.replace(microsecond=0) <= moment.replace(tzinfo=moment.tzinfo or UTC)


def _http_date(stored: Stored) -> str:
    return format_datetime(stored.last_updated.astimezone(UTC), usegmt=True)
