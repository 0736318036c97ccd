from urllib.parse import parse_qs, urlsplit


async def _patients(client, label, count):
    for number in range(count):
        identifier = [{"system": f"urn:{label}", "value": str(number)}]
        await client.post("Patient", json={"resourceType": "Patient", "identifier": identifier, "gender": "female"})


async def test_a_search_returns_a_searchset_with_what_was_searched(client):
    await _patients(client, "self", 2)
    bundle = (await client.get("Patient?identifier=urn:self|1")).json()
    assert bundle["type"] == "searchset"
    (entry,) = bundle["entry"]
    assert entry["fullUrl"] == f"http://127.0.0.1/fhir/Patient/{entry['resource']['id']}"
    assert entry["search"]["mode"] == "match"
    (link,) = bundle["link"]
    assert link["relation"] == "self"
    assert parse_qs(urlsplit(link["url"]).query)["identifier"] == ["urn:self|1"]


async def test_pages_follow_each_other_without_loss_or_repetition(client):
    await _patients(client, "pages", 5)
    seen, url = [], "Patient?identifier=urn:pages|&_count=2"
    while url:
        bundle = (await client.get(url)).json()
        seen += [entry["resource"]["id"] for entry in bundle["entry"]]
        assert len(bundle["entry"]) <= 2
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    assert len(seen) == len(set(seen)) == 5


async def test_a_cursor_of_our_own_making_is_refused(client):
    assert (await client.get("Patient?_cursor=AAAA")).status_code == 400


async def test_post_search_reads_the_form_and_the_address(client):
    await _patients(client, "form", 2)
    response = await client.post("Patient/_search?gender=female", data={"identifier": "urn:form|1"})
    assert response.status_code == 200
    assert len(response.json()["entry"]) == 1
    wrong = await client.post("Patient/_search", json={})
    assert wrong.status_code == 415


async def test_an_unknown_parameter_is_refused_and_the_nearest_is_named(client):
    response = await client.get("Patient?identifer=x")
    assert response.status_code == 400
    assert "identifier" in response.json()["issue"][0]["diagnostics"]


async def test_a_lenient_search_says_what_it_left_out(client):
    await _patients(client, "lenient", 1)
    response = await client.get("Patient?identifier=urn:lenient|0&typo=x", headers={"Prefer": "handling=lenient"})
    *matches, outcome = response.json()["entry"]
    assert len(matches) == 1
    assert outcome["search"]["mode"] == "outcome"
    assert "typo" in outcome["resource"]["issue"][0]["diagnostics"]
    assert "typo" not in response.json()["link"][0]["url"]


async def test_an_empty_result_has_no_entries(client):
    bundle = (await client.get("Patient?identifier=urn:nothing|0&_total=accurate")).json()
    assert bundle["total"] == 0
    assert "entry" not in bundle


async def test_elements_cut_the_resource_down_and_say_so(client):
    await _patients(client, "elements", 1)
    bundle = (await client.get("Patient?identifier=urn:elements|0&_elements=identifier")).json()
    resource = bundle["entry"][0]["resource"]
    assert resource.keys() == {"resourceType", "id", "meta", "identifier"}
    assert resource["meta"]["tag"][0]["code"] == "SUBSETTED"


async def test_summary_count_returns_the_count_alone(client):
    await _patients(client, "count", 3)
    bundle = (await client.get("Patient?identifier=urn:count|&_summary=count")).json()
    assert bundle["total"] == 3
    assert "entry" not in bundle


async def test_a_search_keeps_decimals_digit_for_digit(client):
    body = '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":7.10}}'
    headers = {"Content-Type": "application/fhir+json"}
    made = (await client.post("Observation", content=body, headers=headers)).json()["id"]
    assert '"value":7.10' in (await client.get(f"Observation?_id={made}")).text


async def test_the_format_parameter_is_not_searched_by(client):
    assert (await client.get("Patient?_format=json&_pretty=true")).status_code == 200


async def test_a_compartment_and_several_types_are_searched_by_their_own_addresses(client):
    """https://hl7.org/fhir/R4/http.html#search and #vsearch."""
    for id in ("one", "two"):
        await client.put(f"Patient/{id}", json={"resourceType": "Patient", "id": id})
        about = {"subject": {"reference": f"Patient/{id}"}}
        await client.put(f"Condition/of-{id}", json={"resourceType": "Condition", "id": f"of-{id}", **about})
    found = (await client.get("Patient/one/Condition", params={"_id:not": "x"})).json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == ["of-one"]
    assert found["link"][0]["url"].endswith("/fhir/Patient/one/Condition?_id:not=x")
    found = (await client.get("Patient/one/*", params={"_count": "1", "_total": "accurate"})).json()
    assert [entry["fullUrl"].rpartition("fhir/")[2] for entry in found["entry"]] == ["Condition/of-one"]
    assert found["total"] == 2
    found = (await client.get(found["link"][1]["url"])).json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == ["one"]
    found = (await client.get("", params={"_type": "Patient,Condition", "_id": "one,of-two"})).json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == ["of-two", "one"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    posted = (await client.post("_search", content="_type=Patient&_id=two", headers=form)).json()
    assert [entry["resource"]["id"] for entry in posted["entry"]] == ["two"]
    assert (await client.get("Patient/one/Conditon")).status_code == 404
    assert (await client.get("Patient/one/Location")).status_code == 400
    assert (await client.get("Location/one/Patient")).status_code == 400
