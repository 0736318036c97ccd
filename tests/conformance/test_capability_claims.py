"""The CapabilityStatement is walked, and every claim in it is tried.

https://hl7.org/fhir/R4/http.html#capabilities and https://hl7.org/fhir/R4/capabilitystatement.html
"""

import json

import pytest

from fhir_server.definitions import RESOURCE_TYPES, elements, is_complex
from fhir_server.definitions.elements import data_file
from fhir_server.kernel import xml, xml_writer

_values = {
    "token": "x",
    "string": "x",
    "reference": "Patient/1",
    "date": "2026-03-01",
    "number": "1",
    "quantity": "1",
    "uri": "urn:x",
}
_patches = {
    "application/json-patch+json": b'[{"op":"add","path":"/language","value":"de"}]',
    "application/merge-patch+json": b'{"language":"de"}',
    "application/fhir+json": None,
    "application/fhir+xml": None,
}
_operation = {
    "name": "operation",
    "part": [
        {"name": "type", "valueCode": "add"},
        {"name": "path", "valueString": "Basic"},
        {"name": "name", "valueString": "language"},
        {"name": "value", "valueCode": "de"},
    ],
}
_fhirpath = {"resourceType": "Parameters", "parameter": [_operation]}


_primitives = {
    "boolean": True,
    "date": "2024-02-29",
    "dateTime": "2024-02-29",
    "decimal": 1,
    "instant": "2024-02-29T10:30:00Z",
    "integer": 1,
    "positiveInt": 1,
    "unsignedInt": 1,
    "uri": "urn:x",
    "url": "urn:x",
    "canonical": "urn:x",
    "xhtml": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>',
}
_codes = json.loads(data_file("codes.json.gz"))


def _smallest(type_name):
    """Return an object with what is mandatory in a type and nothing else."""
    made = {}
    for element in dict.fromkeys(elements(type_name).values()):
        if element.min:
            key, code = min(element.variants.items())
            value = _value(element, code)
            made[key] = [value] if element.many else value
    return made or {"id": "x"}


def _value(element, code):
    if code == "Resource":
        return {"resourceType": "Basic", "code": {"text": "x"}}
    if is_complex(code):
        return _smallest(code)
    return _codes[element.binding][0] if element.binding in _codes else _primitives.get(code, "x")


@pytest.fixture
async def statement(client):
    return (await client.get("metadata", headers={"Authorization": ""})).json()


async def _basic(client, id, **more):
    body = {"resourceType": "Basic", "id": id, "code": {"text": "x"}, **more}
    assert (await client.put(f"Basic/{id}", json=body)).status_code in (200, 201)
    return body


async def _interactions(client, resource_type, body):
    """Try each interaction of a type and yield its code and whether the answer is the one it is for."""
    address = f"{resource_type}/claim"
    yield "update", (await client.put(address, json=body)).status_code == 201
    yield "create", (await client.post(resource_type, json=body)).status_code == 201
    yield "read", (await client.get(address)).status_code == 200
    yield "vread", (await client.get(f"{address}/_history/1")).status_code == 200
    patch = {
        "content": _patches["application/json-patch+json"],
        "headers": {"Content-Type": "application/json-patch+json"},
    }
    yield "patch", (await client.patch(address, **patch)).status_code == 200
    yield "search-type", (await client.get(f"{resource_type}?_id=claim&_total=accurate")).json().get("total") == 1
    yield "history-instance", (await client.get(f"{address}/_history")).json().get("total") == 2
    entries = (await client.get(f"{resource_type}/_history")).json().get("entry", ())
    yield "history-type", len(entries) == 3
    yield "delete", (await client.delete(address)).status_code == 204


async def test_every_interaction_claimed_for_a_type_works_and_no_other_does(client, statement):
    claimed = {one["type"]: {each["code"] for each in one["interaction"]} for one in statement["rest"][0]["resource"]}
    assert claimed.keys() == RESOURCE_TYPES
    for resource_type in sorted(RESOURCE_TYPES):
        body = _smallest(resource_type) | {"resourceType": resource_type, "id": "claim"}
        works = {code async for code, well in _interactions(client, resource_type, body) if well}
        assert (resource_type, works) == (resource_type, claimed[resource_type])


async def test_every_search_parameter_claimed_can_be_searched(client, statement):
    refused = []
    for resource in statement["rest"][0]["resource"]:
        for parameter in resource.get("searchParam", ()):
            value = _values.get(parameter["type"])
            if parameter["name"] == "_id" or value is None:
                value = "x"
            if parameter["type"] in ("composite", "special"):
                continue  # their values have a form of their own, which the search tests know
            response = await client.get(f"{resource['type']}?{parameter['name']}={value}&_count=1")
            if response.status_code != 200:
                refused.append((resource["type"], parameter["name"], response.text[:200]))
    assert refused == []


async def test_every_format_claimed_is_spoken_both_ways(client, statement):
    body = await _basic(client, "claim-format")
    for format in statement["format"]:
        response = await client.get("Basic/claim-format", params={"_format": format})
        is_xml = "xml" in format
        assert response.headers["content-type"].startswith(
            "application/fhir+xml" if is_xml else "application/fhir+json"
        )
        if "/" in format:
            content = xml_writer.encode(body) if is_xml else json.dumps(body).encode()
            put = await client.put("Basic/claim-format", content=content, headers={"Content-Type": format})
            assert put.status_code == 200


async def test_every_patch_format_claimed_is_applied(client, statement):
    assert set(statement["patchFormat"]) == set(_patches)
    for number, content_type in enumerate(statement["patchFormat"]):
        await _basic(client, f"claim-patch-{number}")
        content = _patches[content_type] or (
            xml_writer.encode(_fhirpath) if "xml" in content_type else json.dumps(_fhirpath).encode()
        )
        headers = {"Content-Type": content_type}
        patched = await client.patch(f"Basic/claim-patch-{number}", content=content, headers=headers)
        assert (content_type, patched.json().get("language")) == (content_type, "de")


async def test_the_system_interactions_claimed_work_and_no_other_does(client, statement):
    entry = {"request": {"method": "GET", "url": "Basic?_count=1"}}
    bundles = {kind: {"resourceType": "Bundle", "type": kind, "entry": [entry]} for kind in ("batch", "transaction")}
    works = {kind for kind, bundle in bundles.items() if (await client.post("", json=bundle)).status_code == 200}
    if (await client.get("_history?_count=1")).status_code == 200:
        works.add("history-system")
    if (await client.get("?_type=Basic")).status_code == 200:
        works.add("search-system")
    assert works == {one["code"] for one in statement["rest"][0]["interaction"]}


async def test_the_conditions_claimed_are_kept(client, statement):
    basic = next(one for one in statement["rest"][0]["resource"] if one["type"] == "Basic")
    identifier = [{"system": "urn:claim", "value": "1"}]
    body = await _basic(client, "claim-condition", identifier=identifier)
    query = "identifier=urn:claim|1"
    assert basic["versioning"] == "versioned-update"
    assert (await client.put("Basic/claim-condition", json=body, headers={"If-Match": 'W/"9"'})).status_code == 412
    assert basic["updateCreate"] is True
    assert basic["conditionalCreate"] is True
    assert (await client.post("Basic", json=body, headers={"If-None-Exist": query})).status_code == 200
    assert basic["conditionalRead"] == "full-support"
    full = await client.get("Basic/claim-condition")
    for name, value in (("If-None-Match", full.headers["etag"]), ("If-Modified-Since", full.headers["last-modified"])):
        assert (await client.get("Basic/claim-condition", headers={name: value})).status_code == 304
    assert basic["conditionalUpdate"] is True
    assert (await client.put(f"Basic?{query}", json=body | {"language": "de"})).status_code == 200
    assert basic["conditionalDelete"] == "single"
    await _basic(client, "claim-condition-2", identifier=identifier)
    assert (await client.delete(f"Basic?{query}")).status_code == 412
    await client.delete("Basic/claim-condition-2")
    assert (await client.delete(f"Basic?{query}")).status_code == 204
    assert basic["readHistory"] is True
    assert (await client.get("Basic/claim-condition/_history/1")).status_code == 200


async def test_every_include_claimed_is_included(client, statement):
    for resource in statement["rest"][0]["resource"]:
        for name, control in (("searchInclude", "_include"), ("searchRevInclude", "_revinclude")):
            for value in resource.get(name, ()):
                response = await client.get(f"{resource['type']}?{control}={value}&_count=1")
                assert (value, response.status_code) == (value, 200)


async def test_every_operation_claimed_has_an_address(client, statement):
    rest = statement["rest"][0]
    places = [("", rest.get("operation", ()))]
    places += [(f"{one['type']}/", one.get("operation", ())) for one in rest["resource"]]
    for place, offered in places:
        for operation in offered:
            told = [
                (await client.post(f"{place}{instance}${operation['name']}", json={})).json()["issue"][0]
                for instance in ("", "absent/" if place else "")
            ]
            unknown = ["has no operation" in issue.get("diagnostics", "") for issue in told]
            assert (place, operation["name"], all(unknown)) == (place, operation["name"], False)


async def test_the_statement_comes_as_xml_and_is_the_same(client, statement):
    response = await client.get("metadata", headers={"Accept": "application/fhir+xml"})
    assert xml.decode_resource(response.content) == statement
