async def test_a_delete_answers_204_and_again_204(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    address = f"Patient/{created['id']}"
    first, second = await client.delete(address), await client.delete(address)
    assert (first.status_code, first.content) == (204, b"")
    assert second.status_code == 204
    assert (await client.get(address)).status_code == 410


async def test_a_delete_of_what_never_was_is_no_error(client):
    assert (await client.delete("Patient/never")).status_code == 204


async def test_a_delete_with_if_match_on_an_old_version_is_refused(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    response = await client.delete(f"Patient/{created['id']}", headers={"If-Match": 'W/"4"'})
    assert response.status_code == 412
    assert (await client.get(f"Patient/{created['id']}")).status_code == 200


async def test_an_update_brings_a_deleted_resource_back(client):
    await client.put("Patient/back", json={"resourceType": "Patient", "id": "back"})
    await client.delete("Patient/back")
    response = await client.put("Patient/back", json={"resourceType": "Patient", "id": "back"})
    assert response.headers["etag"] == 'W/"3"'
    assert (await client.get("Patient/back")).status_code == 200


async def test_a_conditional_delete_deletes_its_only_match(client):
    url = "Patient?identifier=urn:test|conditional-delete"
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:test", "value": "conditional-delete"}]}
    created = (await client.post("Patient", json=patient)).json()
    assert (await client.delete(url)).status_code == 204
    assert (await client.get(f"Patient/{created['id']}")).status_code == 410
    assert (await client.delete(url)).status_code == 204


async def test_a_conditional_delete_that_matches_several_deletes_none(client):
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:test", "value": "delete-two"}]}
    for _ in range(2):
        await client.post("Patient", json=patient)
    assert (await client.delete("Patient?identifier=urn:test|delete-two")).status_code == 412
    found = (await client.get("Patient?identifier=urn:test|delete-two&_total=accurate")).json()
    assert found["total"] == 2


async def test_a_delete_of_a_whole_type_is_refused(client):
    assert (await client.delete("Patient")).status_code == 400


async def test_who_asks_for_an_outcome_gets_one(client):
    response = await client.delete("Patient/never", headers={"Prefer": "return=OperationOutcome"})
    assert (response.status_code, response.json()["resourceType"]) == (200, "OperationOutcome")
