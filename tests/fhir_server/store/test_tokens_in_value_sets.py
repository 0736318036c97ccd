"""Systems that elements of type code imply, value sets, hierarchies. https://hl7.org/fhir/R4/search.html#token"""

import pytest

from fhir_server.kernel.errors import InvalidSearch

GENDER = "http://hl7.org/fhir/administrative-gender"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CATEGORY = "http://terminology.hl7.org/CodeSystem/adverse-event-category"


def _coded(system, code):
    return {"coding": [{"system": system, "code": code}]}


@pytest.fixture
async def stock(shelf):
    await shelf.update({"resourceType": "Patient", "id": "he", "gender": "male", "active": True})
    await shelf.update({"resourceType": "Patient", "id": "she", "gender": "female"})
    await shelf.update({"resourceType": "Patient", "id": "it"})
    for id, code in {"emer": "EMER", "imp": "IMP", "acute": "ACUTE"}.items():
        coding = {"system": ACT, "code": code}
        await shelf.update({"resourceType": "Encounter", "id": id, "status": "finished", "class": coding})
    await shelf.update(
        {"resourceType": "Encounter", "id": "other", "status": "planned", "class": {"system": "urn:x", "code": "IMP"}}
    )
    for id, kind in {"xml": "text/xml; charset=utf-8", "png": "image/png", "plain": "text/plain"}.items():
        content = [{"attachment": {"contentType": kind, "title": "x"}}]
        await shelf.update({"resourceType": "DocumentReference", "id": id, "status": "current", "content": content})
    return shelf


@pytest.mark.parametrize(
    ("type", "name", "value", "expected"),
    [
        ("Patient", "gender", f"{GENDER}|male", "he"),
        ("Patient", "gender", f"{GENDER}|", "he she"),
        ("Patient", "gender", "urn:other|male", ""),
        ("Patient", "gender", f"{GENDER}|nonsense", ""),
        ("Patient", "gender:not", f"{GENDER}|male", "it she"),
        ("Patient", "active", "http://terminology.hl7.org/CodeSystem/special-values|true", "he"),
        ("Patient", "gender:in", "http://hl7.org/fhir/ValueSet/administrative-gender", "he she"),
        ("Patient", "gender:in", "http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1", "he she"),
        ("Patient", "gender:not-in", "http://hl7.org/fhir/ValueSet/administrative-gender", "it"),
        ("Encounter", "status:in", "http://hl7.org/fhir/ValueSet/encounter-status", "acute emer imp other"),
        ("Encounter", "class:in", "http://terminology.hl7.org/ValueSet/v3-ActEncounterCode", "acute emer imp"),
        ("Encounter", "class:not-in", "http://terminology.hl7.org/ValueSet/v3-ActEncounterCode", "other"),
        ("Encounter", "class:below", f"{ACT}|IMP", "acute imp"),
        ("Encounter", "class:above", f"{ACT}|ACUTE", "acute imp"),
        ("Encounter", "class:below", f"{ACT}|ACUTE", "acute"),
        ("DocumentReference", "contenttype:below", "image", "png"),
        ("DocumentReference", "contenttype:below", "text", "plain xml"),
        ("DocumentReference", "contenttype:below", "text/xml", "xml"),
        ("DocumentReference", "contenttype", "text/plain", "plain"),
    ],
)
async def test_a_token_is_found_by_its_system_its_value_set_and_its_place_in_the_hierarchy(
    stock, type, name, value, expected
):
    assert await stock.search(type, (name, value)) == expected.split()


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("code:in", "http://example.org/ValueSet/own", "list the codes yourself"),
        ("code:below", "http://snomed.info/sct|235862008", "not known here"),
        ("code:below", "235862008", "needs a system and a code"),
        ("status:above", "http://hl7.org/fhir/observation-status|nonsense", "not known here"),
    ],
)
async def test_what_is_not_known_of_a_terminology_is_an_error_that_says_what_to_do(shelf, name, value, hint):
    with pytest.raises(InvalidSearch, match=hint):
        await shelf.search("Observation", (name, value))
