import json

import pytest

from fhir_server.kernel import errors as tree
from fhir_server.kernel.errors import FhirError, Forbidden, Issue, Unauthorized, Unavailable
from fhir_server.rest.errors import render, render_unexpected

ISSUE_TYPES = {
    *("invalid", "structure", "required", "value", "invariant", "security", "login", "unknown", "expired", "forbidden"),
    *("suppressed", "processing", "not-supported", "duplicate", "multiple-matches", "not-found", "deleted", "too-long"),
    *("code-invalid", "extension", "too-costly", "business-rule", "conflict", "transient", "lock-error", "no-store"),
    *("exception", "timeout", "incomplete", "throttled", "informational"),
}


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(tree).values() if isinstance(kind, type) and issubclass(kind, FhirError)]
)
def test_every_error_of_the_tree_becomes_an_operation_outcome(kind):
    response = render(kind("What to do.", expression="Patient.name[0]"))
    (issue,) = json.loads(response.body)["issue"]
    assert response.status_code == kind.status
    assert issue["code"] in ISSUE_TYPES
    assert (issue["severity"], issue["diagnostics"]) == ("error", "What to do.")
    assert issue["expression"] == ["Patient.name[0]"]


def test_every_fault_is_an_issue_of_its_own():
    error = FhirError(issues=(Issue("value", "one", "Patient.a"), Issue("value", "two", "Patient.b", "warning")))
    issues = json.loads(render(error).body)["issue"]
    assert [issue["severity"] for issue in issues] == ["error", "warning"]


def test_headers_tell_the_client_how_to_go_on():
    assert render(Unauthorized("x")).headers["www-authenticate"] == 'Bearer realm="fhir"'
    assert 'error="insufficient_scope"' in render(Forbidden("x")).headers["www-authenticate"]
    assert render(Unavailable("x")).headers["retry-after"] == "5"


def test_nesting_beyond_the_stack_is_the_clients_fault():
    assert render_unexpected(RecursionError(), "id").status_code == 400
