FHIR = {"Content-Type": "application/fhir+json"}


async def test_a_read_returns_the_resource_with_version_and_date(client):
    created = (await client.post("Patient", json={"resourceType": "Patient", "gender": "female"})).json()
    response = await client.get(f"Patient/{created['id']}")
    assert response.status_code == 200
    assert response.json() == created
    assert response.headers["etag"] == 'W/"1"'
    assert response.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert response.headers["last-modified"].endswith("GMT")


async def test_a_decimal_leaves_as_it_came(client):
    body = '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00}}'
    created = await client.post("Observation", content=body, headers=FHIR)
    assert '"value":1.00' in created.text
    assert '"value":1.00' in (await client.get(f"Observation/{created.json()['id']}")).text


async def test_an_absent_resource_is_not_found(client):
    response = await client.get("Patient/absent")
    assert response.status_code == 404
    assert response.json()["issue"][0]["code"] == "not-found"


async def test_a_deleted_resource_is_gone(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    await client.delete(f"Patient/{created['id']}")
    assert (await client.get(f"Patient/{created['id']}")).status_code == 410


async def test_a_client_that_has_the_version_gets_304(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    address = f"Patient/{created['id']}"
    same = await client.get(address, headers={"If-None-Match": 'W/"1"'})
    assert (same.status_code, same.content) == (304, b"")
    assert (await client.get(address, headers={"If-None-Match": 'W/"2"'})).status_code == 200


async def test_head_is_read_without_the_body(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    response = await client.head(f"Patient/{created['id']}")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["etag"] == 'W/"1"'


async def test_an_unknown_type_is_not_found_and_the_nearest_is_named(client):
    response = await client.get("Pateint/1")
    assert response.status_code == 404
    assert "Patient" in response.json()["issue"][0]["diagnostics"]
