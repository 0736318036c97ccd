"""Bundle.entry of a transaction-response or batch-response.

https://hl7.org/fhir/R4/http.html#transaction-response
"""

from typing import Any

from fhir_server.interactions.bundles.addresses import etag, instant, location
from fhir_server.interactions.bundles.bodies import View, body_of
from fhir_server.interactions.bundles.outcomes import operation_outcome, status_line
from fhir_server.kernel import json
from fhir_server.kernel.errors import FhirError
from fhir_server.store.records import Stored, WriteResult

STATUS = {"created": 201, "updated": 200, "unchanged": 200, "existing": 200, "deleted": 204}
"""HTTP status by what a write made of the resource."""


def written(result: WriteResult, prefer: str = "minimal") -> dict[str, Any]:
    """Return the entry for a write; ``prefer`` is ``minimal``, ``representation`` or ``OperationOutcome``."""
    stored = result.stored
    response: dict[str, Any] = {
        "status": status_line(STATUS[result.outcome]),
        "location": location(stored),
        **_version(stored),
    }
    entry: dict[str, Any] = {"response": response}
    if prefer == "representation" and stored.body:
        entry["resource"] = json.verbatim(stored.body)
    elif prefer == "OperationOutcome":
        response["outcome"] = operation_outcome(())
    return entry


def nothing_deleted() -> dict[str, Any]:
    """Return the entry for a delete that found nothing, which is no error."""
    return {"response": {"status": status_line(204)}}


def found(stored: Stored, view: View) -> dict[str, Any]:
    """Return the entry for a read or vread, with what ``view`` leaves of the resource."""
    body = body_of(stored, summary=view.summary, elements=view.elements)
    return {"resource": body, "response": {"status": status_line(200), **_version(stored)}}


def not_modified(stored: Stored) -> dict[str, Any]:
    """Return the entry for a read whose ifNoneMatch names the current version."""
    return {"response": {"status": status_line(304), **_version(stored)}}


def listed(bundle: dict[str, Any]) -> dict[str, Any]:
    """Return the entry for a search or history: its Bundle as the resource."""
    return {"resource": bundle, "response": {"status": status_line(200)}}


def refused(error: FhirError) -> dict[str, Any]:
    """Return the entry for a request that failed."""
    return {"response": {"status": status_line(error.status), "outcome": operation_outcome(error.issues)}}


def _version(stored: Stored) -> dict[str, str]:
    return {"etag": etag(stored), "lastModified": instant(stored.last_updated)}
