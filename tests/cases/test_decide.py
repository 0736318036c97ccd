from dataclasses import replace

import pytest

from cases import codes, decisions, tasks
from cases.apply import moved, output
from cases.decide import decide
from cases.decisions import SetStatus
from cases.machine import TABLE, State, find

_now_text = "2026-03-04T19:00:00.000Z"


def _kinds(commands):
    return [type(command).__name__ for command in commands]


def _moves(commands):
    return [str(command.state) for command in commands if isinstance(command, SetStatus)]


def _requests(snapshot, programme, **changed):
    """The case with a record request for every row, each changed as asked (``ngs_report={"status": …}``)."""
    made = []
    for row in programme.rows:
        task = tasks.record_request(row, snapshot, programme, _now_text)
        made.append({**task, **changed.get(row.id.replace("-", "_"), {})})
    return replace(snapshot, tasks=tuple(made))


@pytest.fixture
def gathering(snapshot, programme, at_state):
    return _requests(at_state(snapshot, "accepted", codes.RECORDS_GATHERING), programme)


@pytest.fixture
def reviewing(snapshot, programme, at_state):
    def with_review(status, case_status="accepted", business=codes.OFFERED):
        case = at_state(snapshot, case_status, business)
        lin = next(role for role in snapshot.roles if role["id"] == "harbor-james-lin")
        review = tasks.specialist_review(lin, case, programme, _now_text)
        return replace(case, tasks=({**review, "status": status},))

    return with_review


def test_a_submitted_case_gets_a_number_and_is_received(snapshot, programme, now, at_state):
    commands = decide(at_state(snapshot, "requested", codes.SUBMITTED), programme, now)
    assert _kinds(commands) == ["AssignNumber", "SetStatus"]
    assert _moves(commands) == ["received/eligibility"]


def test_a_case_that_has_a_number_keeps_it(snapshot, programme, now, at_state):
    numbered = {**snapshot.request, "identifier": [{"system": codes.HARBOR_CASE, "value": "SO-2026-000042"}]}
    submitted = replace(at_state(snapshot, "requested", codes.SUBMITTED), request=numbered)
    assert _kinds(decide(submitted, programme, now)) == ["SetStatus"]


def test_a_plain_fulfil_task_is_adopted_first(snapshot, programme, now):
    plain = {**snapshot.case, "code": codes.concept(*codes.FULFILL), "status": "requested"}
    commands = decide(replace(snapshot, case=plain), programme, now)
    assert commands == (decisions.Adopt("case", "Patient/alvarez", programme.url),)


def test_an_eligible_case_is_accepted_with_its_guidance_response_as_output(snapshot, programme, now):
    recorded, accepted = decide(snapshot, programme, now)
    assert isinstance(recorded, decisions.Record)
    assert str(accepted.state) == "accepted/records-gathering"
    assert accepted.outputs == ((codes.OUTPUT_ELIGIBILITY, f"GuidanceResponse/{recorded.resource['id']}"),)


def test_an_ineligible_case_is_rejected_with_reason_and_alternatives(snapshot, programme, now):
    minor = replace(snapshot, patient={**snapshot.patient, "birthDate": "2015-01-01"})
    _, rejected = decide(minor, programme, now)
    assert str(rejected.state) == "rejected/ineligible"
    assert rejected.reason[0] == "adult"
    assert "paediatric" in rejected.reason[1]


def test_a_case_in_hospital_waits_and_is_not_told_so_twice(snapshot, programme, now):
    stay = {"resourceType": "Encounter", "id": "e", "status": "in-progress", "class": {"code": "IMP"}}
    _, waiting = decide(replace(snapshot, encounters=(stay,)), programme, now)
    assert str(waiting.state) == "received/awaiting-information"
    after = replace(snapshot, encounters=(stay,), case=moved(dict(snapshot.case), waiting, now))
    assert decide(after, programme, now) == ()


def test_a_waiting_case_says_so_when_the_reason_changes(snapshot, programme, now):
    _, waiting = decide(replace(snapshot, consents=()), programme, now)
    after = replace(snapshot, responses=(), case=moved(dict(snapshot.case), waiting, now))
    (explained,) = decide(after, programme, now)
    assert isinstance(explained, decisions.Explain)
    assert explained.reason[0] == "question"


def test_a_waiting_case_goes_on_when_the_data_allow_it(snapshot, programme, now, at_state):
    waiting = at_state(snapshot, "received", codes.AWAITING_INFORMATION)
    assert _moves(decide(waiting, programme, now)) == ["accepted/records-gathering"]


def test_the_manifest_becomes_one_request_for_each_row_and_images_are_asked_for(snapshot, programme, now, at_state):
    commands = decide(at_state(snapshot, "accepted", codes.RECORDS_GATHERING), programme, now)
    created = [command.resource for command in commands if isinstance(command, decisions.CreateTask)]
    assert [task["extension"][0]["valueCode"] for task in created] == [row.id for row in programme.rows]
    assert all(task["partOf"] == [{"reference": "Task/case"}] for task in created)
    assert decisions.RequestImages("Patient/alvarez") in commands


def test_images_that_are_here_already_are_not_asked_for(snapshot, programme, now, at_state, chest_ct):
    here = replace(at_state(snapshot, "accepted", codes.RECORDS_GATHERING), evidence=(chest_ct,))
    assert "RequestImages" not in _kinds(decide(here, programme, now))


def test_an_arriving_record_closes_its_row_alone(gathering, programme, now, pathology):
    (completed,) = decide(replace(gathering, evidence=(pathology,)), programme, now)
    assert (completed.row, completed.resource) == ("pathology-report", "DiagnosticReport/pathology")


def test_nothing_is_decided_while_records_are_missing(gathering, programme, now):
    assert decide(gathering, programme, now) == ()


def test_optional_rows_do_not_hold_the_case_up(snapshot, programme, now, at_state):
    done = {row.id.replace("-", "_"): {"status": "completed"} for row in programme.rows if row.mandatory}
    complete = _requests(at_state(snapshot, "accepted", codes.RECORDS_GATHERING), programme, **done)
    (moved_on,) = decide(complete, programme, now)
    assert str(moved_on.state) == "accepted/records-complete"
    assert moved_on.promise.due.date().isoformat() == "2026-03-11"
    assert moved_on.promise.limit.date().isoformat() == "2026-03-13"


@pytest.mark.parametrize(("waiver", "expected"), [({"statusReason": {"text": "lost"}}, 1), ({}, 0)])
def test_a_mandatory_row_is_waived_only_with_a_reason(snapshot, programme, now, at_state, waiver, expected):
    changed = {row.id.replace("-", "_"): {"status": "completed"} for row in programme.rows if row.mandatory}
    changed["ngs_report"] = {"status": "cancelled", **waiver}
    case = _requests(at_state(snapshot, "accepted", codes.RECORDS_GATHERING), programme, **changed)
    assert len(decide(case, programme, now)) == expected


def test_an_admission_while_records_are_gathered_pauses_the_case(gathering, programme, now):
    stay = {"resourceType": "Encounter", "id": "e", "status": "in-progress", "class": {"code": "IMP"}}
    _, paused = decide(replace(gathering, encounters=(stay,)), programme, now)
    assert str(paused.state) == "accepted/awaiting-information"
    discharged = replace(gathering, case=moved(dict(gathering.case), paused, now))
    assert _moves(decide(discharged, programme, now)) == ["accepted/records-gathering"]


def test_a_pause_of_the_coordinator_is_left_alone(gathering, programme, now, at_state):
    paused = at_state(gathering, "accepted", codes.AWAITING_INFORMATION)
    paused = replace(paused, case={**paused.case, "statusReason": {"text": "Patient travels"}})
    assert decide(paused, programme, now) == ()


def test_complete_records_lead_to_one_offer(snapshot, programme, now, at_state):
    (offer,) = decide(at_state(snapshot, "accepted", codes.RECORDS_COMPLETE), programme, now)
    assert offer.candidate == "PractitionerRole/harbor-james-lin"
    assert offer.resource["owner"] == {"reference": "PractitionerRole/harbor-james-lin"}


def test_a_declined_offer_goes_back_to_matching_and_to_the_next(reviewing, programme, now, at_state):
    declined = reviewing("rejected")
    assert _moves(decide(declined, programme, now)) == ["accepted/records-complete"]
    (offer,) = decide(at_state(declined, "accepted", codes.RECORDS_COMPLETE), programme, now)
    assert offer.candidate == "PractitionerRole/harbor-hannah-cole"


def test_without_a_candidate_the_case_says_so_once(snapshot, programme, now, at_state):
    case = replace(at_state(snapshot, "accepted", codes.RECORDS_COMPLETE), roles=())
    (explained,) = decide(case, programme, now)
    assert explained.reason[0] == codes.REASON_NO_CANDIDATE
    reason = codes.concept(codes.SO_REASON, explained.reason[0]) | {"text": explained.reason[1]}
    assert decide(replace(case, case={**case.case, "statusReason": reason}), programme, now) == ()


@pytest.mark.parametrize("status", ["accepted", "in-progress"])
def test_an_accepted_offer_starts_the_review(reviewing, programme, now, status):
    assert _moves(decide(reviewing(status), programme, now)) == ["in-progress/in-review"]


@pytest.mark.parametrize("status", ["requested", "received"])
def test_an_open_offer_waits(reviewing, programme, now, status):
    assert decide(reviewing(status), programme, now) == ()


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_specialist_who_drops_out_is_replaced(reviewing, programme, now, status, at_state):
    dropped = reviewing(status, "in-progress", codes.IN_REVIEW)
    assert _moves(decide(dropped, programme, now)) == ["in-progress/offered"]
    (offer,) = decide(at_state(dropped, "in-progress", codes.OFFERED), programme, now)
    assert offer.candidate == "PractitionerRole/harbor-hannah-cole"


def test_finished_answers_become_a_report(reviewing, programme, now, intake):
    answers = {
        **intake,
        "id": "answers",
        "questionnaire": f"{programme.opinion}|1",
    }
    case = reviewing("in-progress", "in-progress", codes.IN_REVIEW)
    (command,) = decide(replace(case, responses=(intake, answers)), programme, now)
    assert command == decisions.FinaliseReport("QuestionnaireResponse/answers", "QuestionnaireResponse/intake", ())


@pytest.fixture
def report():
    return {
        "resourceType": "DiagnosticReport",
        "id": "report",
        "status": "final",
        "identifier": [{"system": codes.SO_REPORT, "value": "SO-2026-000042.1"}],
        "basedOn": [{"reference": "ServiceRequest/order"}],
    }


def test_a_signed_report_completes_the_review_and_signs_the_case(reviewing, programme, now, report):
    case = replace(reviewing("accepted", "in-progress", codes.IN_REVIEW), evidence=(report,))
    assert _moves(decide(case, programme, now)) == ["completed", "in-progress/signed"]


def test_a_signed_case_is_delivered_to_every_recipient(snapshot, programme, now, at_state, report):
    case = replace(at_state(snapshot, "in-progress", codes.SIGNED), evidence=(report,))
    created, deliver = decide(case, programme, now)
    assert deliver.report == "DiagnosticReport/report"
    assert deliver.recipient == "Practitioner/rao"
    assert deliver.channel == "hl7v2"
    waiting = replace(case, tasks=(created.resource,))
    assert decide(waiting, programme, now) == ()
    proven = replace(case, tasks=({**created.resource, "status": "completed"},))
    assert _moves(decide(proven, programme, now)) == ["completed/delivered"]


def test_a_delivered_case_completes_its_request_and_leaves_nothing_open(gathering, programme, now, at_state):
    commands = decide(at_state(gathering, "completed", codes.DELIVERED), programme, now)
    assert _kinds(commands) == ["SetStatus"] * len(programme.rows) + ["CompleteRequest"]
    assert set(_moves(commands)) == {"cancelled"}


def test_a_cancelled_case_leaves_the_request_to_who_made_it(gathering, programme, now):
    cancelled = replace(gathering, case={**gathering.case, "status": "cancelled"})
    assert "CompleteRequest" not in _kinds(decide(cancelled, programme, now))


@pytest.mark.parametrize(("status", "ends"), [("accepted", ["cancelled"]), ("requested", []), ("rejected", [])])
def test_an_abort_ends_the_case_only_when_it_is_accepted(reviewing, programme, now, status, ends):
    case = reviewing("in-progress", "in-progress", codes.IN_REVIEW)
    abort = {
        "resourceType": "Task",
        "id": "abort",
        "status": status,
        "code": codes.concept(codes.SO_TASK, codes.ABORT),
    }
    assert _moves(decide(replace(case, tasks=(*case.tasks, abort)), programme, now)) == ends


@pytest.mark.parametrize("row", [row for row in TABLE if row.kind == codes.CASE and row.source], ids=str)
def test_whatever_state_the_case_is_in_only_rows_of_the_machine_are_decided(
    snapshot, programme, now, row, at_state, pathology, consult_note, chest_ct, ngs_report, report
):
    evidence = (pathology, consult_note, chest_ct, ngs_report, report)
    case = {**snapshot.case, "status": row.source.status}
    if row.source.business:
        case["businessStatus"] = codes.concept(codes.SO_STATUS, row.source.business)
    before = replace(snapshot, case=case, evidence=evidence)
    for command in decide(before, programme, now):
        if isinstance(command, SetStatus) and command.task == "case":
            assert find(codes.CASE, before.state, command.state), f"{before.state} → {command.state}"


def test_a_request_that_is_still_a_draft_holds_the_case(snapshot, programme, now, at_state):
    draft = replace(at_state(snapshot, "requested", codes.SUBMITTED), request={**snapshot.request, "status": "draft"})
    (explained,) = decide(draft, programme, now)
    assert explained.reason[0] == codes.REASON_NOT_ACTIVE


def test_a_revoked_request_cancels_the_case_before_the_work_begins(gathering, programme, now):
    revoked = replace(gathering, request={**gathering.request, "status": "revoked"})
    assert _moves(decide(revoked, programme, now)) == ["cancelled"]


def test_a_revoked_request_asks_the_coordinator_once_the_work_has_begun(reviewing, programme, now):
    case = reviewing("in-progress", "in-progress", codes.IN_REVIEW)
    revoked = replace(case, request={**case.request, "status": "revoked"})
    (created,) = decide(revoked, programme, now)
    assert codes.kind_of(created.resource) == codes.ABORT
    assert decide(replace(revoked, tasks=(*case.tasks, created.resource)), programme, now) == ()


def test_deciding_is_the_same_however_often_it_is_done(snapshot, programme, now):
    assert decide(snapshot, programme, now) == decide(snapshot, programme, now)


def test_a_move_keeps_earlier_outputs_and_drops_a_reason_that_is_over(snapshot, now):
    case = {**snapshot.case, "statusReason": {"text": "x"}, "output": [output("record", "Specimen/1")]}
    after = moved(case, SetStatus("case", State("accepted", "offered"), "offer", outputs=(("report", "A/1"),)), now)
    assert [item["valueReference"]["reference"] for item in after["output"]] == ["Specimen/1", "A/1"]
    assert "statusReason" not in after
