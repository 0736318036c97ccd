"""https://hl7.org/fhir/R4/http.html#mime-type and #pretty: one resource, JSON and XML, both ways."""

import base64

import pytest

from fhir_server.kernel import xml, xml_writer

XML = {"Accept": "application/fhir+xml", "Content-Type": "application/fhir+xml"}
PATIENT = '<Patient xmlns="http://hl7.org/fhir"><gender value="female"/><birthDate value="1961-03-12"/></Patient>'


def _resource(response):
    assert response.headers["content-type"] == "application/fhir+xml; charset=utf-8"
    if "content-encoding" not in response.headers:
        assert int(response.headers["content-length"]) == len(response.content)
    return xml.decode_resource(response.content)


async def _created(client, body=PATIENT):
    response = await client.post("Patient", content=body, headers=XML)
    assert response.status_code == 201, response.text
    return _resource(response)


async def test_a_resource_sent_as_xml_is_the_same_in_json(client):
    made = await _created(client)
    read = (await client.get(f"Patient/{made['id']}")).json()
    assert read == made
    assert (read["gender"], read["birthDate"]) == ("female", "1961-03-12")


async def test_a_resource_sent_as_json_is_read_as_xml(client):
    body = '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.50}}'
    made = await client.post("Observation", content=body, headers={"Content-Type": "application/fhir+json"})
    for address in (f"Observation/{made.json()['id']}", f"Observation/{made.json()['id']}/_history/1"):
        for options in ({"headers": XML}, {"params": {"_format": "xml"}}, {"params": {"_format": "text/xml"}}):
            response = await client.get(address, **options)
            assert b'<value value="1.50"/>' in response.content
            assert response.headers["etag"] == 'W/"1"'


async def test_an_update_and_a_conditional_update_take_xml(client):
    made = await _created(client)
    made["active"] = True
    response = await client.put(f"Patient/{made['id']}", content=xml_writer.encode(made), headers=XML)
    assert (response.status_code, _resource(response)["active"]) == (200, True)
    made["active"] = False
    url = f"Patient?_id={made['id']}"
    response = await client.put(url, content=xml_writer.encode(made), headers=XML)
    assert (response.status_code, _resource(response)["active"]) == (200, False)


async def test_searches_and_histories_come_as_xml_bundles(client):
    made = await _created(client)
    for address in (f"Patient?_id={made['id']}", f"Patient/{made['id']}/_history", "Patient/_history?_count=1"):
        bundle = _resource(await client.get(address, headers=XML))
        assert bundle["resourceType"] == "Bundle"
        assert bundle["entry"][0]["resource"]["id"] == made["id"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    found = await client.post("Patient/_search", content=f"_id={made['id']}&_format=xml", headers=form)
    assert _resource(found)["entry"][0]["resource"]["id"] == made["id"]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_a_bundle_is_taken_and_answered_as_xml(client, kind):
    entry = {
        "fullUrl": "urn:uuid:0a7f5a11-0000-4000-8000-000000000001",
        "resource": {"resourceType": "Patient", "gender": "male"},
        "request": {"method": "POST", "url": "Patient"},
    }
    bundle = xml_writer.encode({"resourceType": "Bundle", "type": kind, "entry": [entry]})
    answer = _resource(await client.post("", content=bundle, headers=XML))
    assert answer["type"] == f"{kind}-response"
    assert answer["entry"][0]["response"]["status"] == "201 Created"


async def test_the_capabilities_and_every_error_come_as_xml(client):
    assert _resource(await client.get("metadata", headers=XML))["fhirVersion"] == "4.0.1"
    for path, status in (
        ("Patient/absent", 404),
        ("Patient?typo=1", 400),
        ("Nothing/1", 404),
        ("Patient/1/x/y/z", 405),
    ):
        response = await client.get(path, headers=XML)
        assert response.status_code == status
        assert _resource(response)["issue"][0]["severity"] == "error"
    response = await client.get("Patient/1", headers=XML | {"Authorization": ""})
    assert (response.status_code, _resource(response)["issue"][0]["code"]) == (401, "login")


async def test_a_fault_in_an_xml_body_is_told_with_its_place(client):
    body = PATIENT.replace("female", "unknowable")
    response = await client.post("Patient", content=body, headers=XML)
    assert (response.status_code, _resource(response)["issue"][0]["expression"]) == (422, ["Patient.gender"])
    response = await client.post("Patient", content="<Patient", headers=XML)
    assert response.status_code == 400
    assert "line 1" in _resource(response)["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    "prolog",
    [
        "<!DOCTYPE Patient [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
        "<!DOCTYPE l [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;'>]>",
        "<!DOCTYPE Patient SYSTEM 'http://127.0.0.1:1/patient.dtd'>",
    ],
)
async def test_a_dtd_is_refused(client, prolog):
    response = await client.post("Patient", content=prolog + PATIENT, headers=XML)
    assert response.status_code == 400
    assert "document type" in _resource(response)["issue"][0]["diagnostics"]


async def test_pretty_lays_json_and_xml_out_and_changes_no_digit(client):
    body = '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":0.10}}'
    made = (await client.post("Observation", content=body, headers={"Content-Type": "application/json"})).json()["id"]
    plain = await client.get(f"Observation/{made}")
    pretty = await client.get(f"Observation/{made}?_pretty=true")
    assert '\n    "value": 0.10\n' in pretty.text
    assert pretty.json() == plain.json()
    assert int(pretty.headers["content-length"]) == len(pretty.content)
    laid_out = await client.get(f"Observation/{made}?_pretty=true&_format=xml")
    assert '\n    <value value="0.10"/>\n' in laid_out.text
    assert (await client.get(f"Observation/{made}?_pretty=false")).text == plain.text


async def test_a_head_of_xml_has_the_length_and_no_body(client):
    made = await _created(client)
    full = await client.get(f"Patient/{made['id']}", headers=XML)
    head = await client.head(f"Patient/{made['id']}", headers=XML)
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in ("etag", "last-modified", "content-type", "content-length")} == {
        name: full.headers[name] for name in ("etag", "last-modified", "content-type", "content-length")
    }


async def test_the_content_of_a_binary_is_never_turned_into_xml(client):
    content = b'{"resourceType": "Patient"}'
    data = base64.b64encode(content).decode()
    binary = {"resourceType": "Binary", "contentType": "application/fhir+json; charset=utf-8", "data": data}
    made = (await client.post("Binary", json=binary, headers={"Content-Type": "application/fhir+json"})).json()["id"]
    plain = await client.get(f"Binary/{made}", headers={"Accept": "*/*"})
    assert plain.content == content
    assert _resource(await client.get(f"Binary/{made}", headers=XML))["data"] == data


async def test_an_operation_takes_and_answers_xml(client):
    parameters = {
        "resourceType": "Parameters",
        "parameter": [{"name": "resource", "resource": {"resourceType": "Patient", "gender": "male"}}],
    }
    response = await client.post("Patient/$validate", content=xml_writer.encode(parameters), headers=XML)
    assert _resource(response)["resourceType"] == "OperationOutcome"
