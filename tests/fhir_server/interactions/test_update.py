import asyncio

import pytest

from fhir_server.interactions.update import version_of
from fhir_server.kernel.errors import PreconditionFailed


async def test_an_update_makes_the_next_version(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    response = await client.put(f"Patient/{created['id']}", json=created | {"active": True})
    assert response.status_code == 200
    assert response.headers["etag"] == 'W/"2"'
    assert response.headers["location"].endswith("/_history/2")


async def test_an_update_of_what_is_absent_creates_it_there(client):
    response = await client.put("Patient/chosen", json={"resourceType": "Patient", "id": "chosen"})
    assert response.status_code == 201
    assert (await client.get("Patient/chosen")).status_code == 200


async def test_an_update_with_the_same_content_makes_no_version(client):
    await client.put("Patient/same", json={"resourceType": "Patient", "id": "same"})
    again = await client.put("Patient/same", json={"resourceType": "Patient", "id": "same"})
    assert (again.status_code, again.headers["etag"]) == (200, 'W/"1"')


async def test_if_match_on_an_old_version_is_refused(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    address = f"Patient/{created['id']}"
    first = await client.put(address, json=created | {"active": True}, headers={"If-Match": 'W/"1"'})
    late = await client.put(address, json=created | {"active": False}, headers={"If-Match": 'W/"1"'})
    assert (first.status_code, late.status_code) == (200, 412)
    assert (await client.get(address)).json()["active"] is True


async def test_the_id_in_the_body_must_be_that_of_the_address(client):
    for body in ({"resourceType": "Patient"}, {"resourceType": "Patient", "id": "other"}):
        response = await client.put("Patient/address", json=body)
        assert response.status_code == 400
        assert response.json()["issue"][0]["expression"] == ["Patient.id"]


async def test_an_id_that_fhir_does_not_allow_is_refused(client):
    response = await client.put("Patient/a_b", json={"resourceType": "Patient", "id": "a_b"})
    assert response.status_code in (400, 422)


async def test_a_conditional_update_creates_then_updates(client):
    url = "Patient?identifier=urn:test|conditional-update"
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:test", "value": "conditional-update"}]}
    first = await client.put(url, json=patient)
    second = await client.put(url, json=patient | {"active": True})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]


async def test_a_conditional_update_that_matches_several_is_refused(client):
    patient = {"resourceType": "Patient", "identifier": [{"system": "urn:test", "value": "two"}]}
    for _ in range(2):
        await client.post("Patient", json=patient)
    assert (await client.put("Patient?identifier=urn:test|two", json=patient)).status_code == 412


async def test_an_update_of_a_type_without_condition_is_refused(client):
    assert (await client.put("Patient", json={"resourceType": "Patient"})).status_code == 400


@pytest.mark.parametrize(("header", "version"), [(None, None), ('W/"3"', 3), ('"12"', 12), ("4", 4)])
def test_if_match_names_a_version(header, version):
    assert version_of(header) == version


@pytest.mark.parametrize("header", ['W/"x"', "*", "", 'W/"99999999999999999999"', 'W/"²"'])
def test_a_tag_this_server_never_gave_fails_the_precondition(header):
    with pytest.raises(PreconditionFailed):
        version_of(header)


async def test_an_update_that_must_create_is_refused_when_there_is_something(client):
    """https://datatracker.ietf.org/doc/html/rfc9110#section-13.1.2."""
    body = {"resourceType": "Patient", "id": "must-create"}
    headers = {"If-None-Match": "*"}
    assert (await client.put("Patient/must-create", json=body, headers=headers)).status_code == 201
    response = await client.put("Patient/must-create", json=body | {"active": True}, headers=headers)
    assert (response.status_code, response.json()["issue"][0]["code"]) == (412, "conflict")
    await client.delete("Patient/must-create")
    again = await client.put("Patient/must-create", json=body, headers=headers)
    assert (again.status_code, again.headers["etag"]) == (201, 'W/"3"')
    assert (await client.put("Patient/must-create", json=body, headers={"If-None-Match": 'W/"1"'})).status_code == 400


async def test_of_many_updates_that_must_create_exactly_one_does(client):
    body = {"resourceType": "Patient", "id": "one-winner"}
    puts = (client.put("Patient/one-winner", json=body, headers={"If-None-Match": "*"}) for _ in range(12))
    statuses = sorted(response.status_code for response in await asyncio.gather(*puts))
    assert statuses == [201] + [412] * 11


async def test_an_entry_that_must_create_is_refused_when_there_is_something(client):
    request = {"method": "PUT", "url": "Patient/must-create-entry", "ifNoneMatch": "*"}
    entry = {"resource": {"resourceType": "Patient", "id": "must-create-entry"}, "request": request}
    statuses = []
    for kind in ("transaction", "batch"):
        answer = await client.post("", json={"resourceType": "Bundle", "type": kind, "entry": [entry]})
        statuses.append(answer.json()["entry"][0]["response"]["status"][:3])
    assert statuses == ["201", "412"]
