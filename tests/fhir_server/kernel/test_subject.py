import pytest

from fhir_server.kernel.errors import Forbidden, InvalidRequest
from fhir_server.kernel.subject import Grant, Scope, Subject, parse_scopes


def _subject(scopes, patient=None):
    return Subject("Practitioner/1", "Dr A", parse_scopes(scopes), patient)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user/Observation.rs", Scope("user", "Observation", "rs")),
        ("patient/*.cruds", Scope("patient", "*", "cruds")),
        ("system/Patient.read", Scope("system", "Patient", "rs")),
        ("user/Patient.write", Scope("user", "Patient", "cud")),
        ("user/*.*", Scope("user", "*", "cruds")),
        ("user/Observation.rs?category=laboratory", Scope("user", "Observation", "rs", "category=laboratory")),
    ],
)
def test_scopes_of_both_versions_are_parsed(text, expected):
    assert Scope.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "user", "user/Patient", "user/Patient.", "user/Patient.sr", "admin/Patient.rs", "user/patient.rs", "openid"],
)
def test_what_is_no_resource_scope_is_refused(text):
    with pytest.raises(InvalidRequest):
        Scope.parse(text)


def test_only_granted_interactions_on_granted_types_are_allowed():
    subject = _subject("user/Observation.rs user/Task.u")
    assert subject.grants("Observation", "r") == (Grant(None, None),)
    assert subject.grants("Observation", "u") == ()
    assert subject.grants("Patient", "r") == ()


def test_without_a_scope_nothing_is_granted():
    with pytest.raises(Forbidden, match="update on Patient"):
        _subject("user/Patient.rs").require("Patient", "u")


def test_a_patient_scope_grants_its_compartment_only():
    assert _subject("patient/*.rs", "p").grants("Observation", "s") == (Grant("Patient/p", None),)


def test_a_patient_scope_without_a_patient_grants_nothing():
    assert _subject("patient/*.rs").grants("Observation", "s") == ()


def test_narrowed_scopes_are_alternatives_and_an_open_one_wins():
    narrow = "user/Observation.rs?category=laboratory user/Observation.rs?category=vital-signs"
    assert _subject(narrow).grants("Observation", "r") == (
        Grant(None, "category=laboratory"),
        Grant(None, "category=vital-signs"),
    )
    assert _subject(f"{narrow} user/*.r").grants("Observation", "r") == (Grant(None, None),)


def test_a_system_subject_has_only_the_scopes_it_was_named_with():
    subject = Subject.system("hl7v2", "system/Patient.cru")
    assert subject.reference == "system"
    assert subject.grants("Patient", "d") == ()
