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


async def _walk(client, url, key=lambda entry: (entry["request"]["url"], entry["response"]["etag"])):
    """Return what every page lists, following the next links."""
    seen = []
    while url:
        bundle = (await client.get(url)).json()
        assert bundle["type"] == "history", bundle
        seen += [key(entry) for entry in bundle.get("entry", ())]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    return seen


async def _changed(client, resource_type, count, **more):
    """Write ``count`` resources, each twice and the last one deleted; return their ids in order."""
    ids = []
    for number in range(count):
        body = {"resourceType": resource_type, **more}
        made = (await client.post(resource_type, json=body)).json()
        ids.append(made["id"])
        await client.put(f"{resource_type}/{made['id']}", json=made | {"language": f"de-{number}"})
    await client.delete(f"{resource_type}/{ids[-1]}")
    return ids


async def test_the_history_of_a_type_lists_what_happened_newest_first(client):
    """https://hl7.org/fhir/R4/http.html#history."""
    first, last = await _changed(client, "Basic", 2, code={"text": "x"})
    seen = await _walk(client, "Basic/_history")
    assert seen == [
        (f"Basic/{last}", 'W/"3"'),
        (f"Basic/{last}", 'W/"2"'),
        ("Basic", 'W/"1"'),
        (f"Basic/{first}", 'W/"2"'),
        ("Basic", 'W/"1"'),
    ]


async def test_the_history_of_a_type_and_of_all_come_in_pages_without_loss(client):
    await _changed(client, "Flag", 7, status="active", code={"text": "x"}, subject={"reference": "Patient/1"})
    whole = await _walk(client, "Flag/_history?_count=1000")
    assert len(whole) == 15
    for count in (1, 2, 7, 14, 15, 16):
        assert await _walk(client, f"Flag/_history?_count={count}") == whole
    everything = await _walk(client, "_history?_count=3")
    assert [entry for entry in everything if entry in whole] == whole
    assert len(everything) > len(whole)


async def test_pages_stay_stable_while_others_write(client):
    await _changed(client, "Account", 3, status="active")
    first = (await client.get("Account/_history?_count=4")).json()
    await _changed(client, "Account", 1, status="active")
    rest = await _walk(client, next(link["url"] for link in first["link"] if link["relation"] == "next"))
    assert len(first["entry"]) + len(rest) == 7


async def test_since_and_at_choose_versions_by_time(client):
    """``_since``: made at or after; ``_at``: current at some time of the span."""
    made = (
        await client.post("Media", json={"resourceType": "Media", "status": "completed", "content": {"title": "1"}})
    ).json()
    address, moments = f"Media/{made['id']}", [made["meta"]["lastUpdated"]]
    for title in ("2", "3"):
        put = await client.put(address, json=made | {"content": {"title": title}})
        moments.append(put.json()["meta"]["lastUpdated"])

    def version(entry):
        return int(entry["response"]["etag"].strip('W/"'))

    for history in (f"{address}/_history", "Media/_history", "_history"):
        for query, expected in (
            (f"_since={moments[1]}", [3, 2]),
            (f"_since={moments[2]}", [3]),
            ("_since=2001-01-01", [3, 2, 1]),
            ("_since=2999", []),
            (f"_at={moments[1]}", [2]),
            (f"_at={moments[0]}", [1]),
            ("_at=2001", []),
            (f"_at={moments[2][:4]}", [3, 2, 1]),
        ):
            walked = await _walk(client, f"{history}?_count=1000&{query}", lambda e: (e["fullUrl"], version(e)))
            seen = [number for url, number in walked if url.endswith(address)]
            assert (history, query, seen) == (history, query, expected)


async def test_a_history_is_cut_down_by_summary_and_elements(client):
    made = (await client.post("Patient", json={"resourceType": "Patient", "gender": "male", "active": True})).json()[
        "id"
    ]
    for url in (f"Patient/{made}/_history?_elements=gender", "Patient/_history?_elements=gender&_count=1"):
        resource = (await client.get(url)).json()["entry"][0]["resource"]
        assert resource.keys() == {"resourceType", "id", "meta", "gender"}
        assert resource["meta"]["tag"][0]["code"] == "SUBSETTED"


async def test_a_type_history_shows_a_patient_their_own_versions_only(client, issue_token):
    for owner in ("history-me", "history-other"):
        await client.put(f"Patient/{owner}", json={"resourceType": "Patient", "id": owner})
        observation = {"resourceType": "Observation", "id": owner, "status": "final", "code": {"text": "x"}}
        await client.put(f"Observation/{owner}", json=observation | {"subject": {"reference": f"Patient/{owner}"}})
    moved = {"resourceType": "Observation", "id": "history-moved", "status": "final", "code": {"text": "x"}}
    for owner in ("history-other", "history-me"):
        await client.put("Observation/history-moved", json=moved | {"subject": {"reference": f"Patient/{owner}"}})
    headers = {"Authorization": f"Bearer {await issue_token('Patient/history-me', 'patient/*.rs')}"}
    for url, expected in (
        ("Observation/_history", [("history-moved", 'W/"2"'), ("history-me", 'W/"1"')]),
        ("_history?_count=1000", None),
    ):
        entries = (await client.get(url, headers=headers)).json()["entry"]
        seen = [(entry["resource"]["id"], entry["response"]["etag"]) for entry in entries]
        assert "history-other" not in {id for id, _ in seen}
        assert expected is None or seen == expected
    narrow = {"Authorization": f"Bearer {await issue_token('Practitioner/1', 'user/Patient.rs')}"}
    assert (await client.get("Observation/_history", headers=narrow)).status_code == 403
    types = {
        entry["fullUrl"].split("/")[-2] for entry in (await client.get("_history", headers=narrow)).json()["entry"]
    }
    assert types == {"Patient"}


async def test_a_history_cursor_is_of_no_use_to_another_query_or_token(client, issue_token):
    await _changed(client, "List", 2, status="current", mode="working")
    first = (await client.get("List/_history?_count=1")).json()
    following = next(link["url"] for link in first["link"] if link["relation"] == "next")
    assert (await client.get(following.replace("List/_history", "Basic/_history"))).status_code == 400
    headers = {"Authorization": f"Bearer {await issue_token('Practitioner/2', 'user/*.rs')}"}
    assert (await client.get(following, headers=headers)).status_code == 400
    assert (await client.get("List/_history?_cursor=AAAA")).status_code == 400


async def test_a_type_history_refuses_what_it_does_not_know(client):
    for query in ("typo=1", "_count=x", "_since=soon", "_at=", "_elements=typo"):
        assert (await client.get(f"Patient/_history?{query}")).status_code == 400
    assert (await client.get("Patient/_history?typo=1", headers={"Prefer": "handling=lenient"})).status_code == 200
    assert (await client.get("Nothing/_history")).status_code == 404


async def test_a_bundle_can_ask_for_the_history_of_a_type(client):
    await client.post("Patient", json={"resourceType": "Patient"})
    entry = {"request": {"method": "GET", "url": "Patient/_history?_count=1"}}
    answer = (await client.post("", json={"resourceType": "Bundle", "type": "batch", "entry": [entry]})).json()
    assert answer["entry"][0]["resource"]["type"] == "history"
