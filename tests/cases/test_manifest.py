from dataclasses import replace

import pytest

from cases.manifest import satisfying


def _satisfied(snapshot, programme, *evidence):
    seen = replace(snapshot, evidence=evidence)
    return {row.id: found["id"] for row in programme.rows if (found := satisfying(row, seen, programme))}


def test_each_kind_of_record_satisfies_its_own_row(snapshot, programme, pathology, consult_note, chest_ct, ngs_report):
    found = _satisfied(snapshot, programme, pathology, consult_note, chest_ct, ngs_report)
    assert found == {"pathology-report": "pathology", "ct-chest": "ct", "consult-note": "note", "ngs-report": "ngs"}


@pytest.mark.parametrize("status", ["registered", "partial", "preliminary", "cancelled", "entered-in-error"])
def test_a_report_that_is_not_final_satisfies_nothing(snapshot, programme, pathology, status):
    assert _satisfied(snapshot, programme, {**pathology, "status": status}) == {}


def test_a_preliminary_note_satisfies_nothing(snapshot, programme, consult_note):
    assert _satisfied(snapshot, programme, {**consult_note, "docStatus": "preliminary"}) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"}]},
        {"description": "CT HEAD"},
        {"status": "registered"},
        {"started": "2025-08-01T08:00:00Z"},
    ],
)
def test_another_modality_body_part_status_or_age_is_not_the_ct_asked_for(snapshot, programme, chest_ct, change):
    assert _satisfied(snapshot, programme, {**chest_ct, **change}) == {}


def test_the_body_part_may_stand_in_a_series(snapshot, programme, chest_ct):
    study = {**chest_ct, "description": "Routine", "series": [{"bodySite": {"display": "Thorax"}}]}
    assert _satisfied(snapshot, programme, study) == {"ct-chest": "ct"}


def test_the_look_back_counts_from_the_request_not_from_today(snapshot, programme, pathology):
    old = {**pathology, "effectiveDateTime": "2024-04-01"}
    assert _satisfied(snapshot, programme, old) == {"pathology-report": "pathology"}
    assert _satisfied(snapshot, programme, {**old, "effectiveDateTime": "2023-04-01"}) == {}


def test_the_newest_of_several_is_taken(snapshot, programme, pathology):
    newer = {**pathology, "id": "addendum", "effectiveDateTime": "2026-03-01"}
    assert _satisfied(snapshot, programme, newer, pathology) == {"pathology-report": "addendum"}


def test_the_programmes_own_report_is_no_record_of_the_case(snapshot, programme, consult_note, pathology):
    own = {**consult_note, "custodian": {"reference": "Organization/harbor"}}
    based = {**pathology, "basedOn": [{"reference": "ServiceRequest/order"}]}
    assert _satisfied(snapshot, programme, own, based) == {}
