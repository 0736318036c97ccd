"""OperationOutcome: issues as the resource a client reads.

https://hl7.org/fhir/R4/operationoutcome.html
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fhir_server.kernel.errors import Issue


def operation_outcome(issues: Sequence[Issue]) -> dict[str, Any]:
    """Return the OperationOutcome of ``issues``; with none, one that says all is well."""
    rendered = [_issue(issue) for issue in issues or (Issue("informational", "All OK", severity="information"),)]
    return {"resourceType": "OperationOutcome", "issue": rendered}


def status_line(status: int) -> str:
    """Return ``Bundle.entry.response.status``: ``404 Not Found``."""
    return f"{status} {HTTPStatus(status).phrase}"


def _issue(issue: Issue) -> dict[str, Any]:
    rendered: dict[str, Any] = {"severity": issue.severity, "code": issue.code}
    if issue.diagnostics:
        rendered["diagnostics"] = issue.diagnostics
    if issue.expression:
        rendered["expression"] = [issue.expression]
    return rendered
