from dataclasses import replace

import pytest

from cases import codes
from cases.candidates import next_candidate
from cases.snapshot import reference
from cases.tasks import specialist_review


def _role(snapshot, id):
    return next(role for role in snapshot.roles if role["id"] == id)


def _changed(snapshot, id, **change):
    roles = tuple({**role, **change} if role["id"] == id else role for role in snapshot.roles)
    return replace(snapshot, roles=roles)


def _after_asking(snapshot, programme, *ids):
    asked = tuple(specialist_review(_role(snapshot, name), snapshot, programme, "2026-03-04T19:00:00Z") for name in ids)
    return replace(snapshot, tasks=asked)


def test_the_programmes_preference_decides_who_is_asked_first(snapshot, programme):
    assert next_candidate(snapshot, programme)["id"] == "harbor-james-lin"


def test_who_was_asked_is_not_asked_again(snapshot, programme):
    assert next_candidate(_after_asking(snapshot, programme, "harbor-james-lin"), programme)["id"] == (
        "harbor-hannah-cole"
    )


def test_nobody_is_left_when_all_were_asked(snapshot, programme):
    everybody = _after_asking(snapshot, programme, "harbor-james-lin", "harbor-hannah-cole")
    assert next_candidate(everybody, programme) is None


@pytest.mark.parametrize(
    "change",
    [
        {"active": False},
        {"organization": {"reference": "Organization/elsewhere"}},
        {"specialty": [codes.concept(codes.SO_FIELD, "neurology")]},
        {"extension": [{"url": codes.SO_CONFLICT, "valueReference": {"reference": "Practitioner/rao"}}]},
        {"practitioner": {"reference": "Practitioner/rao"}},
    ],
)
def test_who_is_inactive_elsewhere_of_another_field_or_in_conflict_is_passed_over(snapshot, programme, change):
    assert next_candidate(_changed(snapshot, "harbor-james-lin", **change), programme)["id"] == "harbor-hannah-cole"


def test_the_author_of_the_first_opinion_gives_no_second_one(snapshot, programme, consult_note):
    note = {**consult_note, "author": [{"reference": "Practitioner/james-lin"}]}
    assert next_candidate(replace(snapshot, evidence=(note,)), programme)["id"] == "harbor-hannah-cole"


def test_a_specialty_nobody_has_finds_nobody(snapshot, programme):
    request = {**snapshot.request, "performerType": codes.concept("http://snomed.info/sct", "394591006")}
    assert next_candidate(replace(snapshot, request=request), programme) is None


def test_a_coordinator_is_never_asked_for_an_opinion(snapshot, programme):
    only = replace(snapshot, roles=(_role(snapshot, "harbor-ruth-adler"),))
    assert next_candidate(only, programme) is None


def test_the_same_offer_has_the_same_id(snapshot, programme):
    role = _role(snapshot, "harbor-hannah-cole")
    first = specialist_review(role, snapshot, programme, "2026-03-04T19:00:00Z")
    again = specialist_review(role, snapshot, programme, "2026-03-09T19:00:00Z")
    assert first["id"] == again["id"]
    assert first["owner"]["reference"] == reference(role)
