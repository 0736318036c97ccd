import json

import pytest

JSON = "application/fhir+json"
XML = "application/fhir+xml"
TEXT = (
    '{"resourceType":"Observation","status":"final","code":{"text":"Weight & more"},'
    '"_effectiveDateTime":{"extension":[{"url":"http://example.org/e","valueString":"unknown"}]},'
    '"valueQuantity":{"value":71.50,"unit":"kg"},"note":[{"text":"a"},{"text":"b"}]}'
)


async def convert(client, body, sent, wanted):
    headers = {"Content-Type": sent, "Accept": wanted}
    return await client.post("$convert", content=body, headers=headers)


async def test_json_becomes_xml_and_the_same_json_again(client):
    there = await convert(client, TEXT, JSON, XML)
    assert there.status_code == 200
    assert there.headers["content-type"].startswith(XML)
    assert '<value value="71.50"/>' in there.text
    back = await convert(client, there.text, XML, JSON)
    assert json.loads(back.text) == json.loads(TEXT)
    assert '"value":71.50' in back.text


async def test_the_same_format_is_allowed_too(client):
    assert json.loads((await convert(client, TEXT, JSON, JSON)).text) == json.loads(TEXT)


async def test_the_resource_may_come_as_a_parameter(client):
    body = {"resourceType": "Parameters", "parameter": [{"name": "input", "resource": json.loads(TEXT)}]}
    response = await convert(client, json.dumps(body), JSON, XML)
    assert response.text.count("<Observation ") == 1
    assert "Parameters" not in response.text


async def test_nothing_is_stored(client):
    before = (await client.get("Observation?_summary=count")).json()["total"]
    await convert(client, TEXT, JSON, XML)
    assert (await client.get("Observation?_summary=count")).json()["total"] == before


@pytest.mark.parametrize("wanted", [JSON, XML])
async def test_what_r4_does_not_have_is_refused_with_its_place(client, wanted):
    for extra, place in (('"valu":1', "Observation.valu"), ('"note":[{"txt":"a"}]', "Observation.note[0].txt")):
        body = '{"resourceType":"Observation","status":"final","code":{"text":"x"},' + extra + "}"
        response = await convert(client, body, JSON, wanted)
        assert response.status_code == 422
        assert place in response.text


async def test_there_has_to_be_something_to_convert(client):
    assert (await client.get("$convert")).status_code == 400
    assert (await client.post("$convert")).status_code == 400
    assert (await client.post("Patient/$convert", json={"resourceType": "Patient"})).status_code == 404


async def test_a_token_that_may_read_nothing_converts_nothing(client, issue_token):
    headers = {"Authorization": f"Bearer {await issue_token('Practitioner/1', 'user/*.c')}"}
    assert (await client.post("$convert", content=TEXT, headers=headers)).status_code == 403
