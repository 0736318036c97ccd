import re

import pytest

from fhir_server.kernel import errors
from fhir_server.kernel.errors import FhirError, InvalidResource, Issue


def _tree():
    """The lines of the module's drawing: name, status, code."""
    return re.findall(r"[├└]── (\w+) +(\d{3})(?: +([a-z-]+))?", errors.__doc__)


def test_the_tree_that_is_drawn_is_the_tree_that_is_there():
    drawn = {name: (int(status), code) for name, status, code in _tree()}
    there = {
        name: (member.status, member.code)
        for name, member in vars(errors).items()
        if isinstance(member, type) and issubclass(member, FhirError) and member is not FhirError
    }
    assert drawn == there


def test_an_error_has_one_issue_with_its_own_code():
    error = errors.BusinessRule("Say why.", expression="Task.status")
    assert error.issues == (Issue("business-rule", "Say why.", "Task.status"),)


def test_an_error_may_carry_several_issues():
    issues = (Issue("required", "a"), Issue("value", "b", "Patient.name"))
    assert InvalidResource(issues=issues).issues == issues
    assert str(InvalidResource(issues=issues)) == "a; b"


@pytest.mark.parametrize("name", [name for name, _, _ in _tree()])
def test_every_error_can_be_raised_with_a_text(name):
    with pytest.raises(FhirError, match="because"):
        raise getattr(errors, name)("because")
