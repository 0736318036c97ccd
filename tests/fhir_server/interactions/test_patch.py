import pytest

from fhir_server.interactions.patches.json_patch import apply
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
