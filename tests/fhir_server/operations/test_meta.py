import pytest

LABELS = {
    "profile": ["http://example.org/p1"],
    "tag": [{"system": "urn:t", "code": "a", "display": "A"}],
    "security": [{"system": "urn:s", "code": "R"}],
}


def meta_of(response):
    assert response.status_code == 200
    (entry,) = response.json()["parameter"]
    assert entry["name"] == "return"
    return entry["valueMeta"]


async def put(client, address, meta=LABELS):
    resource_type, _, id = address.partition("/")
    body = {"resourceType": resource_type, "id": id, "meta": meta}
    if resource_type == "Basic":
        body["code"] = {"text": "x"}
    assert (await client.put(address, json=body)).status_code in (200, 201)


async def test_a_resource_shows_the_meta_it_has(client):
    await put(client, "Patient/one")
    stored = (await client.get("Patient/one")).json()["meta"]
    assert meta_of(await client.get("Patient/one/$meta")) == stored
    assert meta_of(await client.post("Patient/one/$meta")) == stored
    assert stored["versionId"] == "1"


async def test_an_old_version_shows_the_meta_it_had(client):
    await put(client, "Patient/twice")
    await put(client, "Patient/twice", {"tag": [{"system": "urn:t", "code": "b"}]})
    old = meta_of(await client.get("Patient/twice/_history/1/$meta"))
    assert (old["versionId"], old["tag"][0]["code"]) == ("1", "a")
    assert (await client.get("Patient/twice/_history/9/$meta")).status_code == 404


async def test_a_type_sums_up_what_labels_are_in_use(client):
    await put(client, "Basic/a")
    await put(client, "Basic/b", {"tag": [{"system": "urn:t", "code": "a"}, {"code": "bare"}, {"system": "urn:only"}]})
    await put(client, "Basic/gone", {"tag": [{"system": "urn:t", "code": "gone"}]})
    await client.delete("Basic/gone")
    assert meta_of(await client.get("Basic/$meta")) == {
        "profile": ["http://example.org/p1"],
        "security": [{"system": "urn:s", "code": "R"}],
        "tag": [{"code": "bare"}, {"system": "urn:t", "code": "a"}],
    }


async def test_a_type_without_labels_returns_nothing(client):
    response = await client.get("Substance/$meta")
    assert response.json() == {"resourceType": "Parameters"}


async def test_the_system_sums_up_every_type(client):
    await put(client, "Patient/one")
    await put(client, "Basic/other", {"tag": [{"system": "urn:t", "code": "other"}]})
    tags = meta_of(await client.get("$meta"))["tag"]
    assert {"system": "urn:t", "code": "a"} in tags
    assert {"system": "urn:t", "code": "other"} in tags


@pytest.mark.parametrize(
    ("scopes", "url", "status"),
    [
        ("user/Patient.r", "Patient/one/$meta", 200),
        ("user/Patient.s", "Patient/one/$meta", 403),
        ("user/Patient.r", "Patient/$meta", 403),
        ("user/Patient.s", "Patient/$meta", 200),
        ("user/Basic.s", "Patient/$meta", 403),
        ("user/Basic.s", "$meta", 200),
        ("user/Basic.cru", "$meta", 403),
    ],
)
async def test_every_level_needs_its_scope(client, issue_token, scopes, url, status):
    await put(client, "Patient/one")
    headers = {"Authorization": f"Bearer {await issue_token('Practitioner/1', scopes)}"}
    assert (await client.get(url, headers=headers)).status_code == status


async def test_labels_of_hidden_resources_are_not_told(client, issue_token):
    await put(client, "Patient/mine", {"tag": [{"system": "urn:t", "code": "mine"}]})
    await put(client, "Patient/theirs", {"tag": [{"system": "urn:t", "code": "theirs"}]})
    headers = {"Authorization": f"Bearer {await issue_token('Patient/mine', 'patient/*.rs')}"}
    for url in ("Patient/$meta", "$meta"):
        assert meta_of(await client.get(url, headers=headers)) == {"tag": [{"system": "urn:t", "code": "mine"}]}
    assert (await client.get("Patient/theirs/$meta", headers=headers)).status_code == 404
