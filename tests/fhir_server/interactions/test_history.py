async def test_history_lists_every_version_newest_first(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    address = f"Patient/{created['id']}"
    await client.put(address, json=created | {"active": True})
    await client.delete(address)
    bundle = (await client.get(f"{address}/_history")).json()
    assert (bundle["type"], bundle["total"]) == ("history", 3)
    assert [entry["request"]["method"] for entry in bundle["entry"]] == ["DELETE", "PUT", "POST"]
    assert [entry["response"]["etag"] for entry in bundle["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']
    assert ["resource" in entry for entry in bundle["entry"]] == [False, True, True]


async def test_history_comes_in_pages(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    address = f"Patient/{created['id']}"
    for number in range(4):
        await client.put(address, json=created | {"multipleBirthInteger": number})
    seen, url = [], f"{address}/_history?_count=2"
    while url:
        bundle = (await client.get(url)).json()
        seen += [entry["response"]["etag"] for entry in bundle["entry"]]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    assert seen == [f'W/"{version}"' for version in (5, 4, 3, 2, 1)]


async def test_the_history_of_what_never_was_is_not_found(client):
    assert (await client.get("Patient/never/_history")).status_code == 404


async def test_history_refuses_what_it_does_not_know(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    for query in ("typo=1", "_count=x", "_count=-1"):
        assert (await client.get(f"Patient/{created['id']}/_history?{query}")).status_code == 400
