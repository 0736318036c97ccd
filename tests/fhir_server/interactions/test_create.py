import asyncio

FHIR = {"Content-Type": "application/fhir+json"}


async def test_a_create_answers_201_with_location_and_etag(client):
    response = await client.post("Patient", json={"resourceType": "Patient", "id": "mine"})
    assert response.status_code == 201
    new = response.json()["id"]
    assert new != "mine"
    assert response.headers["location"] == f"http://127.0.0.1/fhir/Patient/{new}/_history/1"
    assert response.headers["etag"] == 'W/"1"'
    assert response.json()["meta"]["versionId"] == "1"


async def test_prefer_decides_what_a_create_answers_with(client):
    patient = {"resourceType": "Patient"}
    minimal = await client.post("Patient", json=patient, headers={"Prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (201, b"")
    outcome = await client.post("Patient", json=patient, headers={"Prefer": "return=OperationOutcome"})
    assert outcome.json()["resourceType"] == "OperationOutcome"
    assert (await client.post("Patient", json=patient, headers={"Prefer": "return=all"})).status_code == 400


async def test_the_wrong_resource_type_in_the_body_is_refused(client):
    response = await client.post("Patient", json={"resourceType": "Observation"})
    assert response.status_code == 400
    assert response.json()["issue"][0]["expression"] == ["resourceType"]


async def test_invalid_json_is_refused_with_line_and_column(client):
    response = await client.post("Patient", content=b'{\n  "resourceType": }', headers=FHIR)
    assert response.status_code == 400
    assert "line 2, column 19" in response.json()["issue"][0]["diagnostics"]


async def test_an_invalid_resource_is_refused_with_the_element_it_is_about(client):
    response = await client.post("Patient", json={"resourceType": "Patient", "name": [{"given": "not a list"}]})
    assert response.status_code == 422
    assert response.json()["issue"][0]["expression"] == ["Patient.name[0].given"]


async def test_a_conditional_create_makes_one_resource_only(client):
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:test", "value": "create-once"}]}
    headers = {"If-None-Exist": "identifier=urn:test|create-once"}
    first = await client.post("Patient", json=patient, headers=headers)
    second = await client.post("Patient", json=patient, headers=headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.headers["location"] == second.headers["location"]


async def test_a_race_of_conditional_creates_has_one_winner(client):
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:test", "value": "race"}]}
    headers = {"If-None-Exist": "identifier=urn:test|race"}
    answers = await asyncio.gather(*(client.post("Patient", json=patient, headers=headers) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]


async def test_a_condition_that_matches_several_is_refused(client):
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:test", "value": "several"}]}
    for _ in range(2):
        await client.post("Patient", json=patient)
    response = await client.post("Patient", json=patient, headers={"If-None-Exist": "identifier=urn:test|several"})
    assert response.status_code == 412


async def test_an_unknown_parameter_in_a_condition_is_refused_even_when_lenient(client):
    headers = {"If-None-Exist": "identifer=x", "Prefer": "handling=lenient"}
    response = await client.post("Patient", json={"resourceType": "Patient"}, headers=headers)
    assert response.status_code == 400


async def test_an_empty_condition_is_refused(client):
    response = await client.post("Patient", json={"resourceType": "Patient"}, headers={"If-None-Exist": ""})
    assert response.status_code == 400
