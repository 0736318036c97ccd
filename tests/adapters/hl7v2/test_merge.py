import copy

import pytest

from adapters.hl7v2.conversion import MappedResource
from adapters.hl7v2.merge import merged

STORED = {
    "resourceType": "Patient",
    "id": "stored",
    "meta": {"versionId": "3"},
    "identifier": [{"system": "s", "value": "1"}],
    "name": [{"family": "OLD"}],
    "telecom": [{"value": "1"}],
    "deceasedBoolean": False,
}


def patient(mode="merge", clear=(), **elements):
    return MappedResource({"resourceType": "Patient", "id": "mapped", **elements}, mode, clear=clear)


def resource(kind, status, mode="merge", **elements):
    return MappedResource({"resourceType": kind, "id": "1", "status": status, **elements}, mode)


def test_nothing_stored_means_the_mapped_resource_with_its_defaults():
    entry = MappedResource({"resourceType": "Encounter", "id": "1"}, "merge", defaults={"status": "unknown"})
    assert merged(None, entry) == {"resourceType": "Encounter", "id": "1", "status": "unknown"}


def test_what_is_present_overwrites_and_what_is_absent_is_kept():
    result = merged(STORED, patient(name=[{"family": "NEW"}]))
    assert result["name"] == [{"family": "NEW"}]
    assert result["telecom"] == STORED["telecom"]
    assert (result["id"], result["meta"]) == ("stored", {"versionId": "3"})


def test_what_the_sender_emptied_is_removed_unless_filled_by_the_same_message():
    assert "telecom" not in merged(STORED, patient(clear=("telecom",)))
    assert merged(STORED, patient(clear=("telecom",), telecom=[{"value": "2"}]))["telecom"] == [{"value": "2"}]


def test_identifiers_grow_and_are_never_lost():
    result = merged(STORED, patient(identifier=[{"system": "s", "value": "1", "use": "usual"}, {"value": "2"}]))
    assert result["identifier"] == [{"system": "s", "value": "1", "use": "usual"}, {"value": "2"}]


def test_ensure_changes_nothing():
    assert merged(STORED, patient(mode="ensure", name=[{"family": "NEW"}])) is STORED


def test_replace_takes_the_new_one_with_the_stored_id():
    assert merged(STORED, patient(mode="replace")) == {
        "resourceType": "Patient",
        "id": "stored",
        "meta": {"versionId": "3"},
    }


def test_of_several_types_of_one_element_the_new_one_stands_alone():
    result = merged(STORED, patient(deceasedDateTime="2026-03-02"))
    assert result["deceasedDateTime"] == "2026-03-02"
    assert "deceasedBoolean" not in result


def test_a_discharge_keeps_the_start_of_the_stay():
    stored = {"resourceType": "Encounter", "id": "1", "status": "in-progress", "period": {"start": "2026-03-02"}}
    result = merged(stored, resource("Encounter", "finished", period={"end": "2026-03-04"}))
    assert result["period"] == {"start": "2026-03-02", "end": "2026-03-04"}


@pytest.mark.parametrize(
    ("kind", "stored", "late"),
    [
        ("Encounter", "finished", "in-progress"),
        ("DiagnosticReport", "final", "preliminary"),
        ("DiagnosticReport", "corrected", "registered"),
        ("Observation", "amended", "preliminary"),
    ],
)
def test_a_late_message_never_takes_a_state_back(kind, stored, late):
    before = {"resourceType": kind, "id": "1", "status": stored}
    assert merged(before, resource(kind, late))["status"] == stored
    assert merged(before, resource(kind, late, mode="replace")) == before


def test_a_correction_follows_a_final():
    before = {"resourceType": "DiagnosticReport", "id": "1", "status": "final"}
    assert merged(before, resource("DiagnosticReport", "corrected"))["status"] == "corrected"


def test_neither_the_stored_nor_the_mapped_resource_is_changed():
    stored, entry = copy.deepcopy(STORED), patient(name=[{"family": "NEW"}], identifier=[{"value": "2"}])
    before = copy.deepcopy(entry.resource)
    merged(stored, entry)
    assert (stored, entry.resource) == (STORED, before)
