def _batch(*entries):
    return {"resourceType": "Bundle", "type": "batch", "entry": list(entries)}


def _post(resource):
    return {"request": {"method": "POST", "url": resource["resourceType"]}, "resource": resource}


async def test_each_entry_stands_alone(client):
    bundle = _batch(
        _post({"resourceType": "Patient"}),
        _post({"resourceType": "Patient", "name": "no list"}),
        {"request": {"method": "GET", "url": "Patient/absent"}},
        "not an entry",
        {"request": {"method": "GET", "url": "Patient?_count=1"}},
    )
    response = (await client.post("", json=bundle)).json()
    assert response["type"] == "batch-response"
    statuses = [entry["response"]["status"][:3] for entry in response["entry"]]
    assert statuses == ["201", "422", "404", "400", "200"]


async def test_a_failed_entry_points_at_its_fault(client):
    response = (await client.post("", json=_batch(_post({"resourceType": "Patient", "name": "no list"})))).json()
    outcome = response["entry"][0]["response"]["outcome"]
    assert outcome["issue"][0]["expression"] == ["Bundle.entry[0].resource.name"]


async def test_an_entry_sees_what_the_one_before_it_committed(client):
    bundle = _batch(
        {"request": {"method": "PUT", "url": "Patient/b"}, "resource": {"resourceType": "Patient", "id": "b"}},
        {"request": {"method": "GET", "url": "Patient/b"}},
        {"request": {"method": "GET", "url": "Patient/b", "ifNoneMatch": 'W/"1"'}},
        {"request": {"method": "DELETE", "url": "Patient/b"}},
        {"request": {"method": "GET", "url": "Patient/b/_history"}},
        {"request": {"method": "GET", "url": "Patient/b/_history/1"}},
    )
    response = (await client.post("", json=bundle)).json()
    statuses = [entry["response"]["status"][:3] for entry in response["entry"]]
    assert statuses == ["201", "200", "304", "204", "200", "200"]
    assert response["entry"][4]["resource"]["total"] == 2


async def test_scopes_are_asked_for_each_entry(client, issue_token):
    token = await issue_token("Practitioner/1", "user/Patient.cruds")
    bundle = _batch(_post({"resourceType": "Patient"}), _post({"resourceType": "Basic", "code": {"text": "x"}}))
    response = await client.post("", json=bundle, headers={"Authorization": f"Bearer {token}"})
    assert [entry["response"]["status"] for entry in response.json()["entry"]] == ["201 Created", "403 Forbidden"]
