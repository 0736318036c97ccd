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


QUESTIONNAIRE = {
    "resourceType": "Questionnaire",
    "status": "draft",
    "title": "t",
    "purpose": "p",
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">words</div>'},
    "code": [{"system": "urn:s", "code": "c"}],
    "item": [{"linkId": "1", "type": "string"}],
}


async def _seen(client, address, query):
    response = await client.get(f"{address}?{query}")
    assert response.status_code == 200, response.text
    resource = response.json()
    tags = [tag["code"] for tag in resource["meta"].get("tag", ())]
    return {name for name in resource if name not in ("resourceType", "id", "meta")}, tags


async def test_a_read_is_cut_down_by_summary_and_elements(client):
    """https://hl7.org/fhir/R4/search.html#summary: mandatory elements stay, and a part is tagged SUBSETTED."""
    made = (await client.post("Questionnaire", json=QUESTIONNAIRE)).json()["id"]
    for address in (f"Questionnaire/{made}", f"Questionnaire/{made}/_history/1"):
        assert await _seen(client, address, "_summary=true") == ({"status", "title", "code"}, ["SUBSETTED"])
        assert await _seen(client, address, "_summary=text") == ({"status", "text"}, ["SUBSETTED"])
        assert await _seen(client, address, "_elements=purpose,item") == ({"status", "purpose", "item"}, ["SUBSETTED"])
        whole, tags = await _seen(client, address, "_summary=data")
        assert (whole, tags) == ({"status", "title", "purpose", "code", "item"}, ["SUBSETTED"])
        assert await _seen(client, address, "_summary=false") == (whole | {"text"}, [])


async def test_a_summary_goes_all_the_way_down(client):
    photo = {"contentType": "image/png", "data": "SGVsbG8=", "title": "t"}
    document = {"resourceType": "DocumentReference", "status": "current", "content": [{"attachment": photo}]}
    made = (await client.post("DocumentReference", json=document)).json()["id"]
    seen = (await client.get(f"DocumentReference/{made}?_summary=true")).json()
    assert seen["content"] == [{"attachment": {"contentType": "image/png", "title": "t"}}]


async def test_elements_name_a_choice_by_its_stem(client):
    body = {"resourceType": "Patient", "deceasedBoolean": False, "gender": "male"}
    made = (await client.post("Patient", json=body)).json()["id"]
    assert await _seen(client, f"Patient/{made}", "_elements=deceased") == ({"deceasedBoolean"}, ["SUBSETTED"])


async def test_a_read_refuses_what_it_does_not_know_unless_it_may_be_lenient(client):
    made = (await client.post("Patient", json={"resourceType": "Patient"})).json()["id"]
    for query in ("_summary=count", "_summary=some", "_elements=nam", "name=x"):
        assert (await client.get(f"Patient/{made}?{query}")).status_code == 400
    lenient = {"Prefer": "handling=lenient"}
    assert (await client.get(f"Patient/{made}?name=x", headers=lenient)).status_code == 200


async def test_a_read_that_knows_the_version_or_its_date_gets_304(client):
    """https://hl7.org/fhir/R4/http.html#cread."""
    made = (await client.post("Patient", json={"resourceType": "Patient"})).json()["id"]
    full = await client.get(f"Patient/{made}")
    modified, etag = full.headers["last-modified"], full.headers["etag"]
    for headers, status in (
        ({"If-Modified-Since": modified}, 304),
        ({"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-None-Match": etag, "If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 304),
        ({"If-None-Match": 'W/"9"', "If-Modified-Since": modified}, 200),
        ({"If-None-Match": f'W/"9", {etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
    ):
        response = await client.get(f"Patient/{made}", headers=headers)
        assert (headers, response.status_code) == (headers, status)
        assert response.headers["etag"] == etag
