from copy import deepcopy

import pytest

from fhir_server.kernel.validation import validate
from programmes.load import definition, names
from programmes.model import InvalidProgramme, Programme
from programmes.regions import region


@pytest.fixture
def plan():
    return deepcopy(next(item for item in definition("harbor") if item["resourceType"] == "PlanDefinition"))


@pytest.mark.parametrize("name", names())
def test_every_resource_of_a_programme_is_valid(name):
    assert {(item["id"], issue) for item in definition(name) for issue in validate(item)} == set()


def test_references_inside_the_programme_lead_somewhere():
    resources = definition("harbor")
    known = {f"{item['resourceType']}/{item['id']}" for item in resources}
    roles = [item for item in resources if item["resourceType"] == "PractitionerRole"]
    assert {role["practitioner"]["reference"] for role in roles} <= known
    assert {role["organization"]["reference"] for role in roles} <= known


def test_the_questionnaires_of_the_plan_are_those_of_the_programme(plan):
    programme = Programme.from_plan(plan)
    urls = {item["url"] for item in definition("harbor") if item["resourceType"] == "Questionnaire"}
    assert {programme.intake, programme.opinion} == urls


def test_the_intake_has_four_questions_with_defaults_for_each_field_of_medicine():
    intake = next(item for item in definition("harbor") if item["id"] == "harbor-intake")
    questions = next(group["item"] for group in intake["item"] if group["linkId"] == "questions")
    fields = next(group["item"] for group in intake["item"] if group["linkId"] == "clinical")[0]["answerOption"]
    assert [item["linkId"] for item in questions] == [f"question-{number}" for number in range(1, 5)]
    offered = {option["valueCoding"]["code"] for option in fields}
    for question in questions:
        defaults = {part["extension"][0]["valueCoding"]["code"] for part in question["extension"]}
        assert defaults == offered


def test_the_opinion_answers_every_question_and_codes_its_outcome():
    opinion = next(item for item in definition("harbor") if item["id"] == "harbor-opinion")
    links = {child["linkId"] for item in opinion["item"] for child in (item, *item.get("item", ()))}
    assert {"answer-1", "answer-2", "answer-3", "answer-4", "outcome", "diagnosis", "plan"} <= links


def test_the_fee_is_950_and_250_for_pathology():
    fee = next(item for item in definition("harbor") if item["resourceType"] == "ChargeItemDefinition")
    prices = [part["amount"] for group in fee["propertyGroup"] for part in group["priceComponent"]]
    assert [(price["value"], price["currency"]) for price in prices] == [(950, "USD"), (250, "USD")]


def _action(plan, step):
    return next(item for item in plan["action"] if item["code"][0]["coding"][0]["code"] == step)


@pytest.mark.parametrize(
    "expression", ["agee >= 18", "age > 18", "age >=", "", "residence not in", "age >= old", "residence >= 3"]
)
def test_a_rule_that_cannot_be_read_is_refused_at_load_with_its_name(plan, expression):
    row = _action(plan, "eligibility")["action"][0]
    row["condition"][0]["expression"]["expression"] = expression
    with pytest.raises(InvalidProgramme, match="'adult'"):
        Programme.from_plan(plan)


def test_a_manifest_row_nothing_can_satisfy_is_refused(plan):
    del _action(plan, "record-manifest")["action"][0]["input"]
    with pytest.raises(InvalidProgramme, match="'pathology-report'"):
        Programme.from_plan(plan)


@pytest.mark.parametrize("name", ["url", "title", "extension", "useContext", "jurisdiction", "identifier"])
def test_a_plan_without_what_the_workflow_needs_is_refused(plan, name):
    del plan[name]
    with pytest.raises(InvalidProgramme):
        Programme.from_plan(plan)


def test_an_unknown_programme_names_the_known_ones():
    with pytest.raises(InvalidProgramme, match="harbor"):
        definition("nowhere")


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ({"state": "RI"}, "US-RI"),
        ({"state": "rhode island", "country": "United States"}, "US-RI"),
        ({"state": "Ont.", "country": "Canada"}, "CA-ONT."),
        ({"country": "DE"}, "DE"),
        ({"state": "XX"}, None),
        ({}, None),
    ],
)
def test_a_region_is_named_as_iso_3166_or_not_at_all(address, code):
    assert region(address, "US") == code
