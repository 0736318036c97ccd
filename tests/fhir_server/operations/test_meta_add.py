import asyncio

import pytest


def given(**meta):
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


def tag(code, **more):
    return {"system": "urn:t", "code": code, **more}


async def patient(client, id, **meta):
    body = {"resourceType": "Patient", "id": id, "gender": "male"} | ({"meta": meta} if meta else {})
    await client.put(f"Patient/{id}", json=body)


async def test_labels_are_added_as_a_new_version(client):
    await patient(client, "added", tag=[tag("a", display="A")], source="http://example.org")
    labels = given(
        tag=[tag("a", display="B"), tag("b"), tag("b")],
        profile=["http://example.org/p"],
        security=[tag("s")],
        versionId="9",
        lastUpdated="2001-01-01T00:00:00Z",
    )
    response = await client.post("Patient/added/$meta-add", json=labels)
    assert response.status_code == 200
    meta = response.json()["parameter"][0]["valueMeta"]
    stored = (await client.get("Patient/added")).json()
    assert stored["meta"] == meta
    assert stored["gender"] == "male"
    assert meta["tag"] == [tag("a", display="A"), tag("b")]
    assert meta["profile"] == ["http://example.org/p"]
    assert meta["security"] == [tag("s")]
    assert (meta["versionId"], meta["source"]) == ("2", "http://example.org")
    assert len((await client.get("Patient?_tag=urn:t|b&_id=added")).json()["entry"]) == 1


async def test_what_is_there_already_makes_no_version(client):
    await patient(client, "same", tag=[tag("a")])
    response = await client.post("Patient/same/$meta-add", json=given(tag=[tag("a")]))
    assert response.json()["parameter"][0]["valueMeta"]["versionId"] == "1"


async def test_a_malformed_meta_is_refused_with_its_place(client):
    await patient(client, "malformed")
    for meta, place in (
        ({"tag": {"code": "a"}}, "tag"),
        ({"tag": [{"code": 1}]}, "tag[0].code"),
        ({"tagg": []}, "tagg"),
    ):
        response = await client.post("Patient/malformed/$meta-add", json=given(**meta))
        assert response.status_code == 400
        assert response.json()["issue"][0]["expression"][0].endswith(place)
    assert (await client.get("Patient/malformed/_history")).json()["total"] == 1


async def test_get_changes_nothing_and_a_meta_is_needed(client):
    await patient(client, "asked")
    assert (await client.get("Patient/asked/$meta-add")).status_code == 405
    assert (await client.post("Patient/asked/$meta-add")).status_code == 400
    wrong = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueString": "x"}]}
    assert (await client.post("Patient/asked/$meta-add", json=wrong)).status_code == 400
    assert (await client.post("Patient/$meta-add", json=given(tag=[tag("a")]))).status_code == 404


async def test_if_match_must_name_the_current_version(client):
    await patient(client, "versioned")
    url, body = "Patient/versioned/$meta-add", given(tag=[tag("a")])
    assert (await client.post(url, json=body, headers={"If-Match": 'W/"4"'})).status_code == 412
    assert (await client.post(url, json=body, headers={"If-Match": 'W/"1"'})).status_code == 200


async def test_absent_and_deleted_resources_have_no_labels(client):
    assert (await client.post("Patient/absent/$meta-add", json=given(tag=[tag("a")]))).status_code == 404
    await patient(client, "gone")
    await client.delete("Patient/gone")
    assert (await client.post("Patient/gone/$meta-add", json=given(tag=[tag("a")]))).status_code == 410


@pytest.mark.parametrize("scopes", ["user/Patient.rs", "user/Patient.u", "user/Basic.cruds"])
async def test_adding_needs_read_and_update(client, issue_token, scopes):
    await patient(client, "guarded")
    headers = {"Authorization": f"Bearer {await issue_token('Practitioner/1', scopes)}"}
    response = await client.post("Patient/guarded/$meta-add", json=given(tag=[tag("a")]), headers=headers)
    assert response.status_code == 403


async def test_labels_added_at_the_same_time_are_all_there(client):
    await patient(client, "busy")
    calls = (client.post("Patient/busy/$meta-add", json=given(tag=[tag(f"t{n}")])) for n in range(8))
    assert {response.status_code for response in await asyncio.gather(*calls)} == {200}
    stored = (await client.get("Patient/busy")).json()["meta"]
    assert {one["code"] for one in stored["tag"]} == {f"t{n}" for n in range(8)}
