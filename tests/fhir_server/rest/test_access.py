"""A patient's token sees that patient's compartment and nothing else, by whatever interaction."""

import pytest

OTHERS = "Patient/theirs", "Observation/theirs"


@pytest.fixture
async def mine(client, issue_token):
    for owner in ("mine", "theirs"):
        await client.put(f"Patient/{owner}", json={"resourceType": "Patient", "id": owner})
        observation = {
            "resourceType": "Observation",
            "id": owner,
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": f"Patient/{owner}"},
        }
        await client.put(f"Observation/{owner}", json=observation)
    focus = observation | {
        "id": "crossing",
        "subject": {"reference": "Patient/mine"},
        "focus": [{"reference": OTHERS[0]}],
    }
    await client.put("Observation/crossing", json=focus)
    token = await issue_token("Patient/mine", "patient/*.cruds")
    return {"Authorization": f"Bearer {token}"}


async def test_reads_reach_the_own_compartment_only(client, mine):
    assert (await client.get("Patient/mine", headers=mine)).status_code == 200
    assert (await client.get("Observation/mine", headers=mine)).status_code == 200
    absent = (await client.get("Observation/absent", headers=mine)).text
    for address in OTHERS:
        for path in (address, f"{address}/_history", f"{address}/_history/1"):
            response = await client.get(path, headers=mine)
            assert response.status_code == 404
            assert response.text == absent.replace("Observation/absent", address)


async def test_searches_find_and_count_the_own_compartment_only(client, mine):
    bundle = (await client.get("Observation?_total=accurate", headers=mine)).json()
    assert {entry["resource"]["id"] for entry in bundle["entry"]} == {"mine", "crossing"}
    assert bundle["total"] == 2
    for query in ("Observation?subject=Patient/theirs", "Observation?_id=theirs", "Patient?_id=theirs"):
        assert "entry" not in (await client.get(query, headers=mine)).json()


async def test_includes_do_not_cross_into_another_compartment(client, mine):
    for query in (
        "Observation?_id=crossing&_include=Observation:focus",
        "Observation?_id=crossing&_include=Observation:*",
    ):
        bundle = (await client.get(query, headers=mine)).json()
        found = {entry["fullUrl"].partition("/fhir/")[2] for entry in bundle["entry"]}
        assert "Patient/theirs" not in found
    everyone = (await client.get("Observation?_id=crossing&_include=Observation:focus")).json()
    assert len(everyone["entry"]) == 2


async def test_transactions_and_batches_read_no_more_than_single_requests(client, mine):
    for address in OTHERS:
        for kind, status in (("transaction", 404), ("batch", 200)):
            bundle = {"resourceType": "Bundle", "type": kind, "entry": [{"request": {"method": "GET", "url": address}}]}
            response = await client.post("", json=bundle, headers=mine)
            assert response.status_code == status
            if kind == "batch":
                assert response.json()["entry"][0]["response"]["status"] == "404 Not Found"


async def test_writes_reach_the_own_compartment_only(client, mine):
    theirs = (await client.get("Observation/theirs")).json()
    update = await client.put("Observation/theirs", json=theirs | {"status": "amended"}, headers=mine)
    assert update.status_code in (403, 404)
    stolen = theirs | {"subject": {"reference": "Patient/mine"}}
    assert (await client.put("Observation/theirs", json=stolen, headers=mine)).status_code in (403, 404)
    await client.delete("Observation/theirs", headers=mine)
    assert (await client.get("Observation/theirs")).json() == theirs


async def test_a_resource_cannot_be_moved_into_another_compartment(client, mine):
    own = (await client.get("Observation/mine")).json()
    moved = own | {"subject": {"reference": "Patient/theirs"}}
    assert (await client.put("Observation/mine", json=moved, headers=mine)).status_code in (403, 404)


async def test_conditions_do_not_tell_of_hidden_resources(client, mine):
    hidden = {"resourceType": "Patient", "identifier": [{"system": "urn:hidden", "value": "1"}]}
    await client.post("Patient", json=hidden)
    response = await client.delete("Patient?identifier=urn:hidden|1", headers=mine)
    assert response.status_code == 204
    assert len((await client.get("Patient?identifier=urn:hidden|1")).json()["entry"]) == 1


async def test_a_patient_scope_without_a_patient_sees_nothing(client, issue_token, database):
    from fhir_server.kernel.errors import InvalidRequest  # noqa: PLC0415 - only this test speaks of it

    with pytest.raises(InvalidRequest):
        await issue_token("Practitioner/1", "patient/*.rs")


async def test_a_scope_with_a_query_narrows_what_is_seen(client, issue_token):
    for code in ("laboratory", "vital-signs"):
        category = [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": code}]}
        ]
        observation = {"resourceType": "Observation", "id": code, "status": "final", "code": {"text": "x"}}
        await client.put(f"Observation/{code}", json=observation | {"category": category})
    token = await issue_token("Practitioner/1", "user/Observation.rs?category=laboratory")
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.get("Observation/laboratory", headers=headers)).status_code == 200
    assert (await client.get("Observation/vital-signs", headers=headers)).status_code == 404
