from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cases import codes
from cases.eligibility import assess, find_intake, gather_facts, guidance, outcome_of

_inpatient = {
    "resourceType": "Encounter",
    "id": "stay",
    "status": "in-progress",
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
}


def _living(patient, **address):
    return {**patient, "address": [{"use": "home", **address}]}


def test_an_adult_of_rhode_island_at_home_is_eligible(snapshot, programme, now):
    assert assess(snapshot, programme, now).outcome == "eligible"


@pytest.mark.parametrize(
    "address",
    [
        {"state": "MA", "country": "US"},
        {"state": "ma"},
        {"state": "Massachusetts", "country": "USA"},
        {"state": "MASSACHUSETTS", "country": "United States"},
    ],
)
def test_a_resident_of_massachusetts_is_refused_however_it_is_written(snapshot, programme, now, patient, address):
    found = assess(replace(snapshot, patient=_living(patient, **address)), programme, now)
    assert found.outcome == "ineligible"
    assert found.reason[0] == "residence"
    assert "in-person consultation" in found.reason[1]


@pytest.mark.parametrize("address", [{}, {"city": "Providence"}, {"state": "Mass.", "country": "US"}])
def test_an_unknown_residence_waits_instead_of_refusing(snapshot, programme, now, patient, address):
    found = assess(replace(snapshot, patient=_living(patient, **address)), programme, now)
    assert found.outcome == "waiting"
    assert "residence" in found.reason[1]


def test_a_state_of_another_country_is_not_massachusetts(snapshot, programme, now, patient):
    found = assess(replace(snapshot, patient=_living(patient, state="MA", country="MX")), programme, now)
    assert found.outcome == "eligible"


def test_an_old_address_does_not_count(snapshot, programme, now, patient):
    moved = {**patient, "address": [{"use": "old", "state": "MA"}, *patient["address"]]}
    assert assess(replace(snapshot, patient=moved), programme, now).outcome == "eligible"


@pytest.mark.parametrize(
    ("born", "outcome"),
    [
        ("2008-03-04", "eligible"),  # eighteen today
        ("2008-03-05", "ineligible"),  # eighteen tomorrow
        ("2008", "ineligible"),  # not surely eighteen
        ("2007", "eligible"),
        ("2008-03", "ineligible"),
        ("2008-02", "eligible"),
        (None, "waiting"),
    ],
)
def test_age_is_counted_in_the_programmes_zone(snapshot, programme, now, patient, born, outcome):
    person = {**patient, "birthDate": born} if born else {k: v for k, v in patient.items() if k != "birthDate"}
    assert assess(replace(snapshot, patient=person), programme, now).outcome == outcome


def test_a_birthday_begins_at_midnight_of_the_programme_not_of_utc(snapshot, programme, patient):
    late_evening = datetime(2026, 3, 5, 2, 0, tzinfo=UTC)  # still 4 March in Boston
    person = {**patient, "birthDate": "2008-03-05"}
    assert gather_facts(replace(snapshot, patient=person), programme, late_evening)["age"] == "17"


def test_a_patient_in_hospital_waits_for_the_discharge(snapshot, programme, now):
    found = assess(replace(snapshot, encounters=(_inpatient,)), programme, now)
    assert found.outcome == "waiting"
    assert found.reason[0] == "not-hospitalised"


@pytest.mark.parametrize("change", [{"status": "finished"}, {"class": {"code": "AMB"}}])
def test_an_ended_or_ambulatory_encounter_is_no_stay(snapshot, programme, now, change):
    assert assess(replace(snapshot, encounters=({**_inpatient, **change},)), programme, now).outcome == "eligible"


def test_an_emergency_is_refused_with_advice(snapshot, programme, now):
    found = assess(replace(snapshot, request={**snapshot.request, "priority": "stat"}), programme, now)
    assert found.outcome == "ineligible"
    assert "emergency" in found.reason[1]


@pytest.mark.parametrize(
    "consents",
    [
        (),
        ({"resourceType": "Consent", "id": "c", "status": "active", "provision": {"type": "deny"}},),
        (
            {
                "resourceType": "Consent",
                "id": "c",
                "status": "active",
                "provision": {"period": {"end": "2026-03-01"}},
            },
        ),
    ],
)
def test_without_a_consent_in_force_the_case_waits(snapshot, programme, now, consents):
    found = assess(replace(snapshot, consents=consents), programme, now)
    assert (found.outcome, found.reason[0]) == ("waiting", "consent")


def test_without_a_question_the_case_waits(snapshot, programme, now):
    found = assess(replace(snapshot, responses=()), programme, now)
    assert (found.outcome, found.reason[0]) == ("waiting", "question")


def test_a_row_that_refuses_goes_before_one_that_waits(snapshot, programme, now, patient):
    found = assess(
        replace(snapshot, patient=_living(patient, state="MA"), consents=(), encounters=(_inpatient,)), programme, now
    )
    assert found.outcome == "ineligible"
    assert [finding.rule.id for finding in found.failures] == ["residence", "not-hospitalised", "consent"]


def test_the_guidance_response_lists_every_row_and_is_the_same_when_made_twice(snapshot, programme, now):
    found = assess(replace(snapshot, consents=()), programme, now)
    first = guidance(found, snapshot, programme, "2026-03-04T19:00:00Z")
    again = guidance(found, snapshot, programme, "2026-03-04T20:00:00Z")
    assert first["id"] == again["id"]
    assert outcome_of(first) == "waiting"
    assert [row["name"] for row in first["contained"][0]["parameter"]] == [rule.id for rule in programme.rules]
    assert codes.code_in(first["reasonCode"][0], codes.SO_REASON) == "consent"


def test_an_intake_based_on_nothing_is_taken_when_none_names_the_request(snapshot, programme, intake):
    unbound = {key: value for key, value in intake.items() if key != "basedOn"}
    newer = {**unbound, "id": "newer", "authored": "2026-03-02"}
    other = {**intake, "id": "other", "basedOn": [{"reference": "ServiceRequest/another"}]}
    assert find_intake(replace(snapshot, responses=(unbound, newer, other)), programme)["id"] == "newer"
    assert find_intake(replace(snapshot, responses=(newer, intake)), programme)["id"] == "intake"


def test_a_draft_intake_is_none(snapshot, programme, intake):
    assert find_intake(replace(snapshot, responses=({**intake, "status": "in-progress"},)), programme) is None


@pytest.mark.parametrize("link", ["supportingInfo", "input"])
def test_the_request_or_the_task_may_name_the_intake(snapshot, programme, intake, link):
    unbound = {key: value for key, value in intake.items() if key not in ("basedOn", "questionnaire")}
    named = {"reference": "QuestionnaireResponse/intake"}
    if link == "input":
        seen = replace(snapshot, case={**snapshot.case, "input": [{"valueReference": named}]})
    else:
        seen = replace(snapshot, request={**snapshot.request, "supportingInfo": [named]})
    assert find_intake(replace(seen, responses=(unbound,)), programme) == unbound
