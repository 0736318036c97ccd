"""What each parameter type, prefix and modifier matches. https://hl7.org/fhir/R4/search.html"""

from typing import Any

import pytest

from fhir_server.kernel.errors import InvalidSearch

PATIENTS: dict[str, dict[str, Any]] = {
    "alvarez": {
        "name": [{"family": "Álvarez", "given": ["Maria", "José"]}],
        "birthDate": "1970-05-17",
        "gender": "female",
        "active": True,
        "identifier": [
            {
                "system": "urn:mrn",
                "value": "00483921",
                "type": {"coding": [{"system": "urn:t", "code": "MR"}], "text": "Medical record"},
            }
        ],
        "address": [{"line": ["1 Lake  Road"], "city": "Zürich"}],
        "generalPractitioner": [
            {"reference": "Practitioner/rao"},
            {"identifier": {"system": "urn:npi", "value": "1234567893"}},
        ],
    },
    "smith": {
        "name": [{"family": "Smith", "given": ["Ann"]}],
        "birthDate": "1970-05",
        "gender": "male",
        "telecom": [{"system": "phone", "value": "555-1"}],
        "identifier": [{"value": "00483921"}],
    },
    "percent": {
        "name": [{"family": "100%_'quoted\\' \"name\"", "text": "=Odd & | ! :*"}],
        "birthDate": "1970",
        "managingOrganization": {"reference": "http://other.example/fhir/Organization/7"},
    },
    "bare": {"active": False},
}
PATIENT_SEARCHES = [
    ("name=alvarez", "alvarez"),
    ("name=ALV", "alvarez"),
    ("name=jose", "alvarez"),
    ("name=varez", ""),
    ("name:contains=VAREZ", "alvarez"),
    ("name:exact=Álvarez", "alvarez"),
    ("name:exact=Alvarez", ""),
    ("name=alv,smi", "alvarez smith"),
    ("given=maria&given=jose", "alvarez"),
    ("family=smith&given=maria", ""),
    ("name=100%_'quoted\\\\'", "percent"),
    ("name=100", "percent"),
    ("name==Odd", "percent"),
    ("name:exact==Odd & \\| ! :*", "percent"),
    ("name=1 lake", ""),
    ("address=1 lake road", "alvarez"),
    ("address-city=zurich", "alvarez"),
    ("gender=male", "smith"),
    ("gender:not=male", "alvarez bare percent"),
    ("active=true", "alvarez"),
    ("active=false", "bare"),
    ("identifier=00483921", "alvarez smith"),
    ("identifier=urn:mrn|00483921", "alvarez"),
    ("identifier=|00483921", "smith"),
    ("identifier=urn:mrn|", "alvarez"),
    ("identifier=urn:mrn|0048", ""),
    ("identifier:of-type=urn:t|MR|00483921", "alvarez"),
    ("identifier:of-type=urn:t|XX|00483921", ""),
    ("identifier:text=medical", "alvarez"),
    ("identifier:missing=true", "bare percent"),
    ("identifier:missing=false", "alvarez smith"),
    ("telecom=555-1", "smith"),
    ("general-practitioner=rao", "alvarez"),
    ("general-practitioner=Practitioner/rao", "alvarez"),
    ("general-practitioner:Practitioner=rao", "alvarez"),
    ("general-practitioner:Organization=rao", ""),
    ("general-practitioner:identifier=urn:npi|1234567893", "alvarez"),
    ("organization=http://other.example/fhir/Organization/7", "percent"),
    ("birthdate=1970-05-17", "alvarez"),
    ("birthdate=1970-05", "alvarez smith"),
    ("birthdate=1970", "alvarez percent smith"),
    ("birthdate=ne1970-05", "percent"),
    ("birthdate=gt1970-05", "percent"),
    ("birthdate=lt1970-05", "percent"),
    ("birthdate=ge1970-05", "alvarez percent smith"),
    ("birthdate=le1970-05-17", "alvarez percent smith"),
    ("birthdate=sa1970-05-16", "alvarez"),
    ("birthdate=sa1969", "alvarez percent smith"),
    ("birthdate=eb1970-06", "alvarez smith"),
    ("birthdate=eb1971", "alvarez percent smith"),
    ("birthdate=lt1970,gt1970", ""),
    ("birthdate=1969,1970-05-17", "alvarez"),
    ("birthdate:missing=true", "bare"),
    ("_id=bare,smith", "bare smith"),
    ("_id:not=bare", "alvarez percent smith"),
    ("_lastUpdated=gt2020", "alvarez bare percent smith"),
    ("_lastUpdated=lt2020", ""),
    ("death-date:missing=true&gender=female", "alvarez"),
]


def pairs(text: str) -> list[tuple[str, str]]:
    return (
        [tuple(pair.split("=", 1)) for pair in text.split("&") if "=" in pair]
        if " & " not in text
        else [tuple(text.split("=", 1))]
    )


@pytest.fixture
async def patients(shelf):
    for id, patient in PATIENTS.items():
        await shelf.update({"resourceType": "Patient", "id": id, **patient})
    return shelf


async def test_each_patient_search_finds_what_the_specification_says(patients):
    wrong = []
    for text, expected in PATIENT_SEARCHES:
        found = await patients.search("Patient", *pairs(text))
        if found != expected.split():
            wrong.append(f"{text}: {found} instead of {expected.split()}")
    assert not wrong, "\n".join(wrong)


OBSERVATIONS: dict[str, dict[str, Any]] = {
    "instant": {"effectiveDateTime": "2024-03-01T10:00:00+02:00", "valueQuantity": {"value": 5, "code": "mg"}},
    "day": {"effectiveDateTime": "2024-03-01", "valueQuantity": {"value": -2, "unit": "mg"}},
    "period": {"effectivePeriod": {"start": "2024-02-10", "end": "2024-03-05"}},
    "open": {"effectivePeriod": {"start": "2024-03-01"}},
    "timing": {"effectiveTiming": {"event": ["2024-01-01", "2024-04-01"]}},
    "parts": {
        "component": [
            {"code": {"text": "a"}, "valueQuantity": {"value": 120, "system": "urn:u", "code": "mmHg"}},
            {"code": {"text": "b"}, "valueQuantity": {"value": 80, "system": "urn:u", "code": "kPa"}},
        ]
    },
}
OBSERVATION_SEARCHES = [
    ("date=2024-03-01", "day instant"),
    ("date=2024-03-01T08:00:00Z", "instant"),
    ("date=2024-03", "day instant"),
    ("date=2024", "day instant period timing"),
    ("date=gt2024-03-01", "open period timing"),
    ("date=ge2024-03-01", "day instant open period timing"),
    ("date=lt2024-03-01", "period timing"),
    ("date=le2024-03-01T08:00:00Z", "day instant open period timing"),
    ("date=sa2024-02", "day instant open"),
    ("date=eb2024-03-02", "day instant"),
    ("date=ap2024-03", "day instant open period timing"),
    ("date=ge2024-03-01&date=lt2024-03-02", "day instant open period timing"),
    ("value-quantity=5", "instant"),
    ("value-quantity=5.0", "instant"),
    ("value-quantity=4", ""),
    ("value-quantity=5||mg", "instant"),
    ("value-quantity=-2||mg", "day"),
    ("value-quantity=gt-3", "day instant"),
    ("value-quantity=lt0", "day"),
    ("value-quantity=ne5", "day"),
    ("component-value-quantity=gt100|urn:u|mmHg", "parts"),
    ("component-value-quantity=gt100|urn:u|kPa", ""),
    ("combo-value-quantity=80", "parts"),
    ("combo-value-quantity=ap81", "parts"),
    ("value-quantity:missing=true", "open parts period timing"),
]


async def test_each_observation_search_finds_what_the_specification_says(shelf):
    for id, observation in OBSERVATIONS.items():
        base = {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"}}
        await shelf.update({**base, **observation})
    wrong = []
    for text, expected in OBSERVATION_SEARCHES:
        found = await shelf.search("Observation", *pairs(text))
        if found != expected.split():
            wrong.append(f"{text}: {found} instead of {expected.split()}")
    assert not wrong, "\n".join(wrong)


async def test_several_values_of_a_date_are_compared_one_by_one(shelf):
    """Of a medication request's events 2020 and 2024, none is in 2022, although the two lie around it."""
    base = {"resourceType": "MedicationRequest", "status": "active", "intent": "order"}
    base |= {"medicationCodeableConcept": {"text": "x"}, "subject": {"reference": "Patient/1"}}
    dosage = [{"timing": {"event": ["2020-01-01"]}}, {"timing": {"event": ["2024-01-01"]}}]
    await shelf.update({**base, "id": "twice", "dosageInstruction": dosage})
    assert await shelf.search("MedicationRequest", ("date", "2022")) == []
    assert await shelf.search("MedicationRequest", ("date", "2024")) == ["twice"]
    assert await shelf.search("MedicationRequest", ("date", "sa2022")) == ["twice"]
    assert await shelf.search("MedicationRequest", ("date", "eb2022")) == ["twice"]


async def test_uris_are_found_whole_below_and_above(shelf):
    base = {"resourceType": "ValueSet", "status": "active"}
    await shelf.update({**base, "id": "deep", "url": "http://a.example/fhir/ValueSet/1"})
    await shelf.update({**base, "id": "base", "url": "http://a.example/fhir"})
    assert await shelf.search("ValueSet", ("url", "http://a.example/fhir")) == ["base"]
    assert await shelf.search("ValueSet", ("url:below", "http://a.example/fhir")) == ["base", "deep"]
    assert await shelf.search("ValueSet", ("url:above", "http://a.example/fhir/ValueSet/1/x")) == ["base", "deep"]


async def test_a_canonical_reference_is_found_with_and_without_its_version(shelf):
    response = {
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "questionnaire": "http://q.example/1|2.0",
    }
    await shelf.update({**response, "id": "answered"})
    assert await shelf.search("QuestionnaireResponse", ("questionnaire", "http://q.example/1")) == ["answered"]
    assert await shelf.search("QuestionnaireResponse", ("questionnaire", "http://q.example/1|2.0")) == ["answered"]


async def test_chains_and_has_follow_references_in_both_directions(patients):
    base = {"resourceType": "Observation", "status": "final"}
    hb = {"coding": [{"system": "http://loinc.org", "code": "718-7"}]}
    await patients.update({**base, "id": "hb", "code": hb, "subject": {"reference": "Patient/alvarez"}})
    await patients.update({**base, "id": "na", "code": {"text": "x"}, "subject": {"reference": "Patient/smith"}})
    assert await patients.search("Observation", ("subject:Patient.name", "alv")) == ["hb"]
    assert await patients.search("Observation", ("patient.gender", "male,female")) == ["hb", "na"]
    assert await patients.search("Patient", ("_has:Observation:patient:code", "http://loinc.org|718-7")) == ["alvarez"]
    assert await patients.search("Patient", ("_has:Observation:patient:code", "718-7"), ("gender", "male")) == []


async def test_include_and_revinclude_add_each_resource_once(patients):
    base = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    for number in range(3):
        member = [{"reference": f"Observation/inc-{number - 1}"}] if number else []
        more = {"hasMember": member} if member else {}
        await patients.update({**base, "id": f"inc-{number}", "subject": {"reference": "Patient/smith"}, **more})
    page = await patients.page("Observation", ("_id", "inc-2,inc-1"), ("_include", "Observation:subject"))
    assert [stored.reference for stored in page.included] == ["Patient/smith"]
    page = await patients.page("Patient", ("_id", "smith"), ("_revinclude", "Observation:patient"), ("_count", "1"))
    assert {stored.id for stored in page.included} >= {"inc-0", "inc-1", "inc-2"}
    page = await patients.page("Observation", ("_id", "inc-2"), ("_include", "Observation:has-member"))
    assert [stored.id for stored in page.included] == ["inc-1"]
    page = await patients.page("Observation", ("_id", "inc-2"), ("_include:iterate", "Observation:has-member"))
    assert [stored.id for stored in page.included] == ["inc-1", "inc-0"]
    page = await patients.page("Observation", ("_id", "inc-2"), ("_include", "Observation:*"))
    assert {stored.reference for stored in page.included} == {"Patient/smith", "Observation/inc-1"}


async def test_a_deleted_resource_is_found_by_no_search(shelf):
    stored = await shelf.create({"resourceType": "Basic", "code": {"text": "x"}})
    await shelf.delete("Basic", stored.id)
    assert await shelf.search("Basic", ("_id", stored.id)) == []
    assert (await shelf.page("Basic", ("_total", "accurate"))).total == 0


async def test_the_total_is_of_all_matches_not_of_the_page(patients):
    page = await patients.page("Patient", ("identifier", "00483921"), ("_total", "accurate"), ("_count", "1"))
    assert (len(page.matches), page.total) == (1, 2)
    page = await patients.page("Patient", ("identifier", "00483921"), ("_count", "0"))
    assert (page.matches, page.total, page.next) == ((), 2, None)


async def test_a_search_string_too_long_to_compare_is_refused(patients):
    with pytest.raises(InvalidSearch, match="'name'"):
        await patients.search("Patient", ("name", "x" * 401))


async def test_long_values_are_found_by_their_whole(shelf):
    long = "urn:" + "x" * 5000
    patient = {"resourceType": "Patient", "id": "long", "identifier": [{"system": "urn:l", "value": long}]}
    await shelf.update({**patient, "name": [{"family": "ü" * 3000}]})
    assert await shelf.search("Patient", ("identifier", f"urn:l|{long}")) == ["long"]
    assert await shelf.search("Patient", ("identifier", f"urn:l|{long}y")) == []
    assert await shelf.search("Patient", ("family", "u" * 400)) == ["long"]
    assert await shelf.search("Patient", ("family:exact", "ü" * 3000)) == ["long"]
    assert await shelf.search("Patient", ("family:exact", "ü" * 2999)) == []
