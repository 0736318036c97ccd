import base64
import copy
import json

import pytest

from fhir_server.interactions.patches import fhirpath_patch, merge_patch
from fhir_server.interactions.patches.json_patch import apply
from fhir_server.kernel import xml_writer
from fhir_server.kernel.errors import InvalidRequest, Unprocessable

PATCH = {"Content-Type": "application/json-patch+json"}


@pytest.mark.parametrize(
    ("document", "operation", "expected"),
    [
        ({"a": 1}, {"op": "add", "path": "/b", "value": 2}, {"a": 1, "b": 2}),
        ({"a": [1, 3]}, {"op": "add", "path": "/a/1", "value": 2}, {"a": [1, 2, 3]}),
        ({"a": [1]}, {"op": "add", "path": "/a/-", "value": 2}, {"a": [1, 2]}),
        ({"a": 1}, {"op": "add", "path": "", "value": [1]}, [1]),
        ({"a": 1, "b": 2}, {"op": "remove", "path": "/a"}, {"b": 2}),
        ({"a": [1, 2]}, {"op": "remove", "path": "/a/0"}, {"a": [2]}),
        ({"a": {"b": 1}}, {"op": "replace", "path": "/a/b", "value": None}, {"a": {"b": None}}),
        ({"a": 1}, {"op": "move", "from": "/a", "path": "/b"}, {"b": 1}),
        ({"a": [1, 2, 3]}, {"op": "move", "from": "/a/0", "path": "/a/2"}, {"a": [2, 3, 1]}),
        ({"a": {"x": 1}}, {"op": "copy", "from": "/a", "path": "/b"}, {"a": {"x": 1}, "b": {"x": 1}}),
        ({"a/b": 1, "m~n": 2}, {"op": "remove", "path": "/a~1b"}, {"m~n": 2}),
        ({"m~n": 2}, {"op": "test", "path": "/m~0n", "value": 2}, {"m~n": 2}),
    ],
)
def test_an_operation_does_what_rfc_6902_says(document, operation, expected):
    assert apply(document, patch=[operation]) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "add", "path": "/list/9", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "remove", "path": "/list/-"},
        {"op": "add", "path": "/missing/deeper", "value": 1},
        {"op": "move", "from": "/list", "path": "/list/0"},
        {"op": "test", "path": "/flag", "value": 1},
        {"op": "test", "path": "/list", "value": [1, 2]},
        {"op": "remove", "path": ""},
    ],
)
def test_an_operation_that_does_not_fit_the_resource_is_unprocessable(operation):
    with pytest.raises(Unprocessable):
        apply({"list": [1], "flag": True}, patch=[operation])


@pytest.mark.parametrize(
    "patch",
    [{}, ["x"], [{"path": "/a"}], [{"op": "add", "path": "/a"}], [{"op": "merge", "path": "/a"}], [{"op": "remove"}]],
)
def test_what_is_not_a_json_patch_is_an_invalid_request(patch):
    with pytest.raises(InvalidRequest):
        apply({"a": 1}, patch=patch)


async def test_a_patch_changes_the_resource_and_makes_a_version(client):
    created = (await client.post("Patient", json={"resourceType": "Patient", "gender": "female"})).json()
    operations = [{"op": "replace", "path": "/gender", "value": "other"}]
    response = await client.patch(f"Patient/{created['id']}", json=operations, headers=PATCH)
    assert response.status_code == 200
    assert response.json()["gender"] == "other"
    assert response.headers["etag"] == 'W/"2"'


async def test_a_patch_keeps_decimals_digit_for_digit(client):
    body = '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.500}}'
    created = await client.post("Observation", content=body, headers={"Content-Type": "application/fhir+json"})
    operations = '[{"op":"add","path":"/valueQuantity/unit","value":"kg"}]'
    response = await client.patch(f"Observation/{created.json()['id']}", content=operations, headers=PATCH)
    assert '"value":1.500' in response.text


async def test_a_patch_may_not_change_the_id(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    operations = [{"op": "replace", "path": "/id", "value": "other"}]
    response = await client.patch(f"Patient/{created['id']}", json=operations, headers=PATCH)
    assert response.status_code == 422


async def test_a_patch_against_an_old_version_is_refused(client):
    created = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    operations = [{"op": "add", "path": "/active", "value": True}]
    headers = PATCH | {"If-Match": 'W/"7"'}
    response = await client.patch(f"Patient/{created['id']}", json=operations, headers=headers)
    assert response.status_code == 412


async def test_a_patch_of_another_media_type_is_refused(client):
    response = await client.patch("Patient/1", json=[], headers={"Content-Type": "text/plain"})
    assert response.status_code == 415


async def test_a_conditional_patch_finds_its_target(client):
    identifier = {"system": "urn:test", "value": "conditional-patch"}
    await client.post("Patient", json={"resourceType": "Patient", "identifier": [identifier]})
    operations = [{"op": "add", "path": "/active", "value": False}]
    url = "Patient?identifier=urn:test|conditional-patch"
    response = await client.patch(url, json=operations, headers=PATCH)
    assert response.json()["active"] is False
    missing = await client.patch("Patient?identifier=urn:test|nobody", json=operations, headers=PATCH)
    assert missing.status_code == 404


def _operation(type, **parts):
    """Return one operation of a FHIRPath Patch; a part is (value[x] name, value), a list of parts, or a string."""
    rendered = [{"name": "type", "valueCode": type}]
    for name, part in parts.items():
        if isinstance(part, list):
            rendered.append({"name": name, "part": part})
        else:
            key, value = part if isinstance(part, tuple) else ("valueString", part)
            rendered.append({"name": name, key: value})
    return {"name": "operation", "part": rendered}


def _fhirpath(resource, *operations):
    patch = {"resourceType": "Parameters", "parameter": list(operations)}
    return fhirpath_patch.apply(copy.deepcopy(resource), patch=patch)


_patient = {
    "resourceType": "Patient",
    "id": "p",
    "identifier": [{"system": "urn:a", "value": "1"}, {"system": "urn:b", "value": "2"}],
    "name": [{"use": "official", "family": "Old", "given": ["Ann", "Bea"]}, {"use": "usual", "text": "Annie"}],
    "birthDate": "1961-03-12",
    "_birthDate": {"extension": [{"url": "urn:t", "valueCode": "x"}]},
    "deceasedBoolean": False,
    "contact": [{"name": {"text": "A"}}, {"name": {"text": "B"}}],
}


@pytest.mark.parametrize(
    ("operation", "path", "expected"),
    [
        (_operation("replace", path="Patient.birthDate", value=("valueDate", "1962")), "birthDate", "1962"),
        (_operation("replace", path="Patient.birthDate", value=("valueDate", "1962")), "_birthDate", None),
        (_operation("replace", path="Patient.deceased", value=("valueDateTime", "2026")), "deceasedDateTime", "2026"),
        (_operation("replace", path="Patient.deceased", value=("valueDateTime", "2026")), "deceasedBoolean", None),
        (
            _operation("replace", path="Patient.name.where(use = 'official').family", value=("valueString", "New")),
            "name",
            [{"use": "official", "family": "New", "given": ["Ann", "Bea"]}, _patient["name"][1]],
        ),
        (
            _operation("replace", path="Patient.name[0].given[1]", value=("valueString", "Cleo")),
            "name",
            [{"use": "official", "family": "Old", "given": ["Ann", "Cleo"]}, _patient["name"][1]],
        ),
        (_operation("add", path="Patient", name="active", value=("valueBoolean", True)), "active", True),
        (_operation("add", path="Patient", name="gender", value=("valueCode", "male")), "gender", "male"),
        (
            _operation("add", path="Patient", name="maritalStatus", value=("valueCodeableConcept", {"text": "x"})),
            "maritalStatus",
            {"text": "x"},
        ),
        (
            _operation("add", path="Patient.identifier.where(value = '2')", name="use", value=("valueCode", "old")),
            "identifier",
            [_patient["identifier"][0], {"system": "urn:b", "value": "2", "use": "old"}],
        ),
        (
            _operation(
                "add",
                path="Patient",
                name="contact",
                value=[
                    {"name": "name", "valueHumanName": {"text": "C"}},
                    {"name": "relationship", "valueCodeableConcept": {"text": "r"}},
                    {"name": "gender", "valueCode": "male"},
                ],
            ),
            "contact",
            [*_patient["contact"], {"name": {"text": "C"}, "relationship": [{"text": "r"}], "gender": "male"}],
        ),
        (
            _operation(
                "insert",
                path="Patient.identifier",
                index=("valueInteger", 1),
                value=("valueIdentifier", {"value": "n"}),
            ),
            "identifier",
            [_patient["identifier"][0], {"value": "n"}, _patient["identifier"][1]],
        ),
        (
            _operation(
                "insert", path="Patient.photo", index=("valueInteger", 0), value=("valueAttachment", {"title": "n"})
            ),
            "photo",
            [{"title": "n"}],
        ),
        (_operation("delete", path="Patient.birthDate"), "birthDate", None),
        (_operation("delete", path="Patient.birthDate"), "_birthDate", None),
        (_operation("delete", path="Patient.identifier[0]"), "identifier", [_patient["identifier"][1]]),
        (_operation("delete", path="Patient.address"), "address", None),
        (
            _operation("delete", path="Patient.contact.where(name.text = 'A' or name.family.exists())"),
            "contact",
            [_patient["contact"][1]],
        ),
        (
            _operation("delete", path="Patient.contact.where(name.family.empty() and name.text != 'A')"),
            "contact",
            [_patient["contact"][0]],
        ),
        (_operation("delete", path="Patient.contact.last()"), "contact", [_patient["contact"][0]]),
        (_operation("delete", path="Patient.birthDate.extension('urn:t')"), "birthDate", "1961-03-12"),
        (
            _operation("move", path="Patient.contact", source=("valueInteger", 1), destination=("valueInteger", 0)),
            "contact",
            [_patient["contact"][1], _patient["contact"][0]],
        ),
    ],
)
def test_a_fhirpath_patch_does_what_the_specification_says(operation, path, expected):
    """https://hl7.org/fhir/R4/fhirpatch.html."""
    assert _fhirpath(_patient, operation).get(path) == expected


def test_a_primitive_list_keeps_values_and_extensions_side_by_side():
    resource = {"resourceType": "Patient", "name": [{"given": ["a", "b"], "_given": [None, {"id": "of-b"}]}]}
    moved = _fhirpath(resource, _operation("delete", path="Patient.name.given[0]"))
    assert moved["name"] == [{"given": ["b"], "_given": [{"id": "of-b"}]}]
    inserted = _fhirpath(
        resource,
        _operation("insert", path="Patient.name.given", index=("valueInteger", 0), value=("valueString", "z")),
        _operation("move", path="Patient.name.given", source=("valueInteger", 2), destination=("valueInteger", 0)),
    )
    assert inserted["name"] == [{"given": ["b", "z", "a"], "_given": [{"id": "of-b"}, None, None]}]


@pytest.mark.parametrize(
    "operation",
    [
        _operation("replace", path="Patient.address", value=("valueAddress", {"text": "x"})),
        _operation("replace", path="Patient.identifier", value=("valueIdentifier", {"value": "x"})),
        _operation("replace", path="Patient", value=("valueString", "x")),
        _operation("replace", path="Patient.deceased", value=("valueString", "x")),
        _operation("add", path="Patient", name="birthDate", value=("valueDate", "1962")),
        _operation("add", path="Patient.address", name="city", value=("valueString", "x")),
        _operation("add", path="Patient.birthDate", name="id", value=("valueString", "x")),
        _operation("delete", path="Patient.identifier"),
        _operation("delete", path="Patient"),
        _operation("insert", path="Patient.identifier", index=("valueInteger", 3), value=("valueIdentifier", {})),
        _operation("insert", path="Patient.birthDate", index=("valueInteger", 0), value=("valueDate", "1962")),
        _operation("move", path="Patient.contact", source=("valueInteger", 0), destination=("valueInteger", 2)),
    ],
)
def test_a_fhirpath_operation_that_does_not_fit_is_unprocessable_and_named(operation):
    with pytest.raises(Unprocessable) as refused:
        _fhirpath(_patient, _operation("add", path="Patient", name="active", value=("valueBoolean", True)), operation)
    assert refused.value.issues[0].expression == "Parameters.parameter[1]"


@pytest.mark.parametrize(
    "operation",
    [
        {"name": "other", "part": []},
        {"name": "operation"},
        _operation("rename", path="Patient.name"),
        _operation("delete"),
        _operation("delete", path=""),
        _operation("delete", path="Patient.name["),
        _operation("delete", path="Patient.typo"),
        _operation("delete", path="Patient.name.children()"),
        _operation("delete", path="Patient.name | Patient.contact"),
        _operation("delete", path="Patient." + "name." * 1000),
        _operation("add", path="Patient", name="typo", value=("valueString", "x")),
        _operation("add", path="Patient", name="active"),
        _operation("insert", path="Patient.identifier", index=("valueInteger", -1), value=("valueIdentifier", {})),
        _operation("insert", path="Patient.identifier", index="1", value=("valueIdentifier", {})),
        _operation("add", path="Patient", name="contact", value=[]),
    ],
)
def test_what_is_no_fhirpath_patch_is_an_invalid_request(operation):
    with pytest.raises(InvalidRequest):
        _fhirpath(_patient, operation)


@pytest.mark.parametrize(
    ("target", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_what_rfc_7396_says(target, patch, expected):
    assert merge_patch.apply(target, patch=patch) == expected


def test_a_merge_patch_that_is_no_object_is_an_invalid_request():
    with pytest.raises(InvalidRequest):
        merge_patch.apply({"a": 1}, patch=["c"])


_parameters = {
    "resourceType": "Parameters",
    "parameter": [_operation("add", path="Patient", name="active", value=("valueBoolean", True))],
}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json-patch+json", b'[{"op":"add","path":"/active","value":true}]'),
        ("application/merge-patch+json", b'{"active":true}'),
        ("application/fhir+json", json.dumps(_parameters).encode()),
        ("application/fhir+xml", xml_writer.encode(_parameters)),
    ],
)
async def test_every_kind_of_patch_is_taken_alone_conditionally_and_in_bundles(client, content_type, body):
    made = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    address, headers = f"Patient/{made['id']}", {"Content-Type": content_type}

    async def took_effect(response):
        assert response.status_code == 200, response.text
        assert (await client.get(address)).json()["active"] is True
        await client.put(address, json=made)

    await took_effect(await client.patch(address, content=body, headers=headers))
    await took_effect(await client.patch(f"Patient?_id={made['id']}", content=body, headers=headers))
    binary = {"resourceType": "Binary", "contentType": content_type, "data": base64.b64encode(body).decode()}
    resource = _parameters if "fhir" in content_type else binary
    for kind in ("batch", "transaction"):
        entry = {"resource": resource, "request": {"method": "PATCH", "url": address}}
        response = await client.post("", json={"resourceType": "Bundle", "type": kind, "entry": [entry]})
        assert response.json()["entry"][0]["response"]["status"] == "200 OK"
        await took_effect(response)


async def test_a_patch_that_makes_the_resource_invalid_changes_nothing(client):
    made = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    for content_type, body in (
        ("application/merge-patch+json", {"gender": "unknowable"}),
        (
            "application/fhir+json",
            _parameters
            | {"parameter": [_operation("add", path="Patient", name="gender", value=("valueCode", "unknowable"))]},
        ),
    ):
        response = await client.patch(f"Patient/{made['id']}", json=body, headers={"Content-Type": content_type})
        assert (response.status_code, response.json()["issue"][0]["expression"]) == (422, ["Patient.gender"])
    assert (await client.get(f"Patient/{made['id']}")).json() == made


async def test_a_resource_that_is_no_patch_is_refused(client):
    made = (await client.post("Patient", json={"resourceType": "Patient"})).json()
    response = await client.patch(f"Patient/{made['id']}", json=made, headers={"Content-Type": "application/fhir+json"})
    assert response.status_code == 400
