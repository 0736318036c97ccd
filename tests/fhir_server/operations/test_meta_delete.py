def given(**meta):
    return {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": meta}]}


async def patient(client, id, **meta):
    body = {"resourceType": "Patient", "id": id} | ({"meta": meta} if meta else {})
    await client.put(f"Patient/{id}", json=body)


async def test_labels_are_taken_away_by_system_and_code(client):
    tags = [{"system": "urn:t", "code": "a", "display": "A"}, {"system": "urn:t", "code": "b"}, {"code": "a"}]
    await patient(client, "labelled", tag=tags, profile=["http://example.org/p|1", "http://example.org/p"])
    body = given(tag=[{"system": "urn:t", "code": "a"}], profile=["http://example.org/p"])
    meta = (await client.post("Patient/labelled/$meta-delete", json=body)).json()["parameter"][0]["valueMeta"]
    assert meta["tag"] == tags[1:]
    assert meta["profile"] == ["http://example.org/p|1"]
    assert (await client.get("Patient/labelled")).json()["meta"] == meta
    assert meta["versionId"] == "2"


async def test_the_last_label_leaves_no_empty_list_behind(client):
    await patient(client, "last", tag=[{"system": "urn:t", "code": "a"}])
    await client.post("Patient/last/$meta-delete", json=given(tag=[{"system": "urn:t", "code": "a"}]))
    assert (await client.get("Patient/last")).json()["meta"].keys() == {"versionId", "lastUpdated"}


async def test_what_is_not_there_is_no_error(client):
    await patient(client, "bare")
    response = await client.post("Patient/bare/$meta-delete", json=given(tag=[{"code": "x"}]))
    assert response.status_code == 200
    assert response.json()["parameter"][0]["valueMeta"]["versionId"] == "1"


async def test_the_version_before_keeps_its_labels(client):
    await patient(client, "kept", tag=[{"code": "a"}])
    await client.post("Patient/kept/$meta-delete", json=given(tag=[{"code": "a"}]))
    assert (await client.get("Patient/kept/_history/1")).json()["meta"]["tag"] == [{"code": "a"}]
