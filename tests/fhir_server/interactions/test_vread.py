async def test_each_version_stays_readable(client):
    created = (await client.post("Patient", json={"resourceType": "Patient", "gender": "female"})).json()
    address = f"Patient/{created['id']}"
    await client.put(address, json=created | {"gender": "other"})
    first = await client.get(f"{address}/_history/1")
    second = await client.get(f"{address}/_history/2")
    assert (first.json()["gender"], first.headers["etag"]) == ("female", 'W/"1"')
    assert (second.json()["gender"], second.headers["etag"]) == ("other", 'W/"2"')


async def test_a_version_that_never_was_is_not_found(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    for version in ("9", "x", "99999999999999999999999"):
        assert (await client.get(f"Patient/{created['id']}/_history/{version}")).status_code == 404


async def test_the_version_of_a_deletion_is_gone(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    address = f"Patient/{created['id']}"
    await client.delete(address)
    assert (await client.get(f"{address}/_history/2")).status_code == 410
    assert (await client.get(f"{address}/_history/1")).status_code == 200
