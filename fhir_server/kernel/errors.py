"""The error tree; one renderer (``rest/errors.py``) turns any of these into an OperationOutcome.

::

    FhirError
    ├── InvalidRequest          400  structure     the body or the URL cannot be understood
    │   └── InvalidSearch       400  invalid       a search parameter is unknown or malformed
    ├── Unauthorized            401  login         no token, or one that is not valid
    ├── Forbidden               403  forbidden     the token's scopes do not cover it
    ├── NotFound                404  not-found     absent, or hidden from this Subject: the same answer
    ├── MethodNotAllowed        405  not-supported
    ├── NotAcceptable           406  not-supported
    ├── Conflict                409  conflict      a concurrent or duplicate write
    ├── Gone                    410  deleted
    ├── PreconditionFailed      412  conflict      If-Match, or a condition that matches more than one
    ├── TooLarge                413  too-long
    ├── UnsupportedMediaType    415  not-supported
    ├── Unprocessable           422  processing    valid JSON that breaks a rule
    │   ├── InvalidResource     422  invariant     fails validation: one issue for each fault
    │   └── BusinessRule        422  business-rule refused by a guard
    ├── TooManyRequests         429  throttled
    └── Unavailable             503  transient     a dependency is away: try again

https://hl7.org/fhir/R4/http.html#Status-Codes and https://hl7.org/fhir/R4/valueset-issue-type.html
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issue:
    """One OperationOutcome.issue.

    ``code`` is from value set issue-type, ``expression`` a FHIRPath such as ``Patient.name[0].given[1]``,
    ``diagnostics`` says what to do about it and carries no patient data.
    """

    code: str
    diagnostics: str
    expression: str | None = None
    severity: str = "error"


class FhirError(Exception):
    """Root of the tree: an HTTP status and at least one issue."""

    status = 500
    code = "exception"

    def __init__(self, diagnostics: str = "", *, expression: str | None = None, issues: tuple[Issue, ...] = ()) -> None:
        self.issues = issues or (Issue(self.code, diagnostics, expression),)
        super().__init__("; ".join(issue.diagnostics for issue in self.issues))


class InvalidRequest(FhirError):
    """400: the body or the URL cannot be understood."""

    status = 400
    code = "structure"


class InvalidSearch(InvalidRequest):
    """400: a search parameter, modifier or value is unknown or malformed."""

    code = "invalid"


class Unauthorized(FhirError):
    """401: no token, or one that is not valid (RFC 6750 §3)."""

    status = 401
    code = "login"


class Forbidden(FhirError):
    """403: the token is valid, its scopes do not cover the request."""

    status = 403
    code = "forbidden"


class NotFound(FhirError):
    """404: absent or hidden; the two are never told apart."""

    status = 404
    code = "not-found"


class MethodNotAllowed(FhirError):
    """405: the interaction is not offered at this address."""

    status = 405
    code = "not-supported"


class NotAcceptable(FhirError):
    """406: none of the formats the client accepts is offered."""

    status = 406
    code = "not-supported"


class Conflict(FhirError):
    """409: the write collides with another one."""

    status = 409
    code = "conflict"


class Gone(FhirError):
    """410: the resource existed and was deleted."""

    status = 410
    code = "deleted"


class PreconditionFailed(FhirError):
    """412: If-Match names another version, or a condition matches more than one resource."""

    status = 412
    code = "conflict"


class TooLarge(FhirError):
    """413: the body is over the configured limit."""

    status = 413
    code = "too-long"


class UnsupportedMediaType(FhirError):
    """415: the body's content type is not FHIR JSON."""

    status = 415
    code = "not-supported"


class Unprocessable(FhirError):
    """422: understood, and refused."""

    status = 422
    code = "processing"


class InvalidResource(Unprocessable):
    """422: the resource fails validation; every fault is an issue with an expression."""

    code = "invariant"


class BusinessRule(Unprocessable):
    """422: a guard said no."""

    code = "business-rule"


class TooManyRequests(FhirError):
    """429: over the limit of this client."""

    status = 429
    code = "throttled"


class Unavailable(FhirError):
    """503: a dependency is away or took too long; trying again is right."""

    status = 503
    code = "transient"
