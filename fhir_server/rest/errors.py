"""The one renderer: any exception becomes an OperationOutcome that says what to do and gives nothing away.

https://hl7.org/fhir/R4/http.html#Status-Codes and https://datatracker.ietf.org/doc/html/rfc6750#section-3
"""

import logging
import traceback

from starlette.responses import Response

from fhir_server.interactions.bundles.outcomes import operation_outcome
from fhir_server.kernel import json
from fhir_server.kernel.errors import FhirError, InvalidRequest, Issue
from fhir_server.rest.negotiation import CONTENT_TYPE

_log = logging.getLogger(__name__)
_challenge = 'Bearer realm="fhir"'


def render(error: FhirError) -> Response:
    """Return the response for an error of the tree."""
    headers = {}
    if error.status == 401:  # noqa: PLR2004 - RFC 6750 asks for the challenge with it
        headers["WWW-Authenticate"] = _challenge
    elif error.status == 403:  # noqa: PLR2004 - as above
        headers["WWW-Authenticate"] = f'{_challenge}, error="insufficient_scope"'
    elif error.status == 503:  # noqa: PLR2004 - the client should come back
        headers["Retry-After"] = "5"
    return Response(json.encode(operation_outcome(error.issues)), error.status, headers, media_type=CONTENT_TYPE)


def render_unexpected(error: Exception, request_id: str) -> Response:
    """Return a 500 that carries nothing but ``request_id``, under which the log tells where it happened."""
    if isinstance(error, RecursionError):
        return render(InvalidRequest("The body is nested too deeply."))
    _log.error("request %s failed with %s at %s", request_id, type(error).__name__, _where(error))
    issue = Issue("exception", f"The server failed. Give this id to its operator: {request_id}.", severity="fatal")
    return render(FhirError(issues=(issue,)))


def _where(error: Exception) -> str:
    """Return the frames, without the message: it may quote patient data."""
    frames = traceback.extract_tb(error.__traceback__)
    return " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames[-8:])
