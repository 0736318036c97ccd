from datetime import datetime

import pytest

from fhir_server.kernel.validation import validate
from fhir_server.operations import document


def composition(id="report", **more):
    return {
        "resourceType": "Composition",
        "id": id,
        "status": "final",
        "type": {"text": "Report"},
        "subject": {"reference": "Patient/p"},
        "date": "2024-03-01",
        "author": [{"reference": "Practitioner/author"}],
        "title": "Report",
        "section": [{"title": "Findings", "entry": [{"reference": "Observation/o"}]}],
        **more,
    }


WORLD = [
    {"resourceType": "Organization", "id": "clinic", "name": "Clinic"},
    {"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": "Organization/clinic"}},
    {"resourceType": "Practitioner", "id": "author"},
    {"resourceType": "Practitioner", "id": "bystander"},
    {
        "resourceType": "Observation",
        "id": "o",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/p"},
        "valueQuantity": {"value": 7},
    },
]
PARTS = ["Composition/report", "Patient/p", "Practitioner/author", "Observation/o", "Organization/clinic"]


async def put(client, *resources):
    for resource in resources:
        response = await client.put(f"{resource['resourceType']}/{resource['id']}", json=resource)
        assert response.status_code in (200, 201), response.text


@pytest.fixture
async def world(client):
    await put(client, *WORLD, composition())


def parts(bundle):
    return [entry["fullUrl"].partition("/fhir/")[2] for entry in bundle["entry"]]


async def test_the_document_begins_with_the_composition_and_holds_what_it_refers_to(client, world):
    response = await client.get("Composition/report/$document")
    assert response.status_code == 200
    bundle = response.json()
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "document")
    assert parts(bundle)[0] == PARTS[0]
    assert sorted(parts(bundle)) == sorted(PARTS)
    assert bundle["entry"][0]["resource"] == (await client.get("Composition/report")).json()


async def test_a_document_is_a_valid_bundle_with_identifier_and_timestamp(client, world):
    bundle = (await client.get("Composition/report/$document")).json()
    assert validate(bundle) == ()
    assert bundle["identifier"]["value"].startswith("urn:uuid:")
    assert datetime.fromisoformat(bundle["timestamp"])
    again = (await client.get("Composition/report/$document")).json()
    assert again["identifier"] != bundle["identifier"]


async def test_nothing_is_stored_unless_asked_for(client, world):
    before = (await client.get("Bundle?_summary=count")).json()["total"]
    await client.get("Composition/report/$document")
    await client.post("Composition/report/$document")
    assert (await client.get("Composition/report/$document?persist=true")).status_code == 405
    assert (await client.get("Bundle?_summary=count")).json()["total"] == before


async def test_a_persisted_document_is_found_where_location_says(client, world):
    body = {"resourceType": "Parameters", "parameter": [{"name": "persist", "valueBoolean": True}]}
    response = await client.post("Composition/report/$document", json=body)
    assert response.status_code == 200
    stored = await client.get(response.headers["Location"])
    assert stored.json() == response.json()
    assert sorted(parts(stored.json())) == sorted(PARTS)


async def test_the_composition_may_be_named_by_a_parameter(client, world):
    for given in ("report", "Composition/report", "http://127.0.0.1/fhir/Composition/report"):
        response = await client.get(f"Composition/$document?id={given}")
        assert sorted(parts(response.json())) == sorted(PARTS)
    assert (await client.get("Composition/$document")).status_code == 400
    assert (await client.get("Composition/report/$document?id=report")).status_code == 400
    elsewhere = await client.get("Composition/$document?id=https://elsewhere.example/fhir/Composition/1")
    assert elsewhere.status_code == 422
    assert (await client.get("Composition/$document?id=absent")).status_code == 404


async def test_a_reference_to_a_version_brings_that_version(client, world):
    old = (await client.get("Observation/o")).json()
    await put(client, old | {"status": "amended"})
    version = old["meta"]["versionId"]
    entry = [{"reference": f"Observation/o/_history/{version}"}, {"reference": "Observation/o"}]
    await put(client, composition("versioned", section=[{"title": "Both", "entry": entry}]))
    bundle = (await client.get("Composition/versioned/$document")).json()
    both = [one["resource"]["status"] for one in bundle["entry"] if one["resource"]["resourceType"] == "Observation"]
    assert sorted(both) == ["amended", "final"]
    await put(client, old)


async def test_references_elsewhere_and_inside_stay_as_they_are(client, world):
    more = {
        "contained": [{"resourceType": "Practitioner", "id": "inside"}],
        "author": [{"reference": "#inside"}, {"reference": "https://elsewhere.example/fhir/Practitioner/1"}],
    }
    await put(client, composition("outward", **more))
    bundle = (await client.get("Composition/outward/$document")).json()
    assert "Practitioner/author" not in parts(bundle)
    assert bundle["entry"][0]["resource"]["author"] == more["author"]


async def test_references_in_a_circle_end(client, world):
    await put(client, composition("one", relatesTo=[_related("two")]), composition("two", relatesTo=[_related("one")]))
    await put(client, composition("one", relatesTo=[_related("two")]))
    bundle = (await client.get("Composition/one/$document")).json()
    assert len(parts(bundle)) == len(set(parts(bundle)))
    assert {"Composition/one", "Composition/two"} <= set(parts(bundle))


def _related(id):
    return {"code": "appends", "targetReference": {"reference": f"Composition/{id}"}}


async def test_a_document_that_would_lack_an_entry_is_refused_with_its_place(client, world):
    entry = [{"reference": "Observation/o"}, {"reference": "Observation/absent"}]
    await put(client, composition("lacking", section=[{"title": "A", "entry": entry}]))
    response = await client.get("Composition/lacking/$document")
    assert response.status_code == 422
    (issue,) = response.json()["issue"]
    assert issue["expression"] == ["Composition.section[0].entry[1]"]


async def test_absent_and_hidden_references_look_the_same(client, world, issue_token):
    token = await issue_token("Practitioner/1", "user/Composition.r user/Patient.r user/Practitioner.r")
    headers = {"Authorization": f"Bearer {token}"}
    response = await client.get("Composition/report/$document", headers=headers)
    assert response.status_code == 422
    (hidden,) = response.json()["issue"]
    await put(client, composition("absent", section=[{"title": "A", "entry": [{"reference": "Observation/absent"}]}]))
    (absent,) = (await client.get("Composition/absent/$document")).json()["issue"]
    assert hidden == absent


async def test_what_is_hidden_at_second_hand_is_left_out(client, world, issue_token):
    token = await issue_token(
        "Practitioner/1", "user/Composition.r user/Patient.r user/Practitioner.r user/Observation.r"
    )
    bundle = (await client.get("Composition/report/$document", headers={"Authorization": f"Bearer {token}"})).json()
    assert sorted(parts(bundle)) == sorted(set(PARTS) - {"Organization/clinic"})


async def test_reading_and_storing_need_their_scopes(client, world, issue_token):
    body = {"resourceType": "Parameters", "parameter": [{"name": "persist", "valueBoolean": True}]}
    for scopes, persist, status in (
        ("user/Patient.r", False, 403),
        ("user/*.r", False, 200),
        ("user/*.r", True, 403),
        ("user/*.cr", True, 200),
    ):
        headers = {"Authorization": f"Bearer {await issue_token('Practitioner/1', scopes)}"}
        call = {"json": body} if persist else {}
        response = await client.post("Composition/report/$document", headers=headers, **call)
        assert (scopes, persist, response.status_code) == (scopes, persist, status)


async def test_another_patients_composition_is_not_there(client, world, issue_token):
    headers = {"Authorization": f"Bearer {await issue_token('Patient/other', 'patient/*.rs')}"}
    assert (await client.get("Composition/report/$document", headers=headers)).status_code == 404


async def test_decimals_keep_their_digits_in_a_stored_document(client, world):
    quantity = '"valueQuantity":{"value":7.10}'
    text = '{"resourceType":"Observation","id":"exact","status":"final","code":{"text":"x"},' + quantity + "}"
    await client.put("Observation/exact", content=text, headers={"Content-Type": "application/fhir+json"})
    await put(client, composition("exact", section=[{"title": "A", "entry": [{"reference": "Observation/exact"}]}]))
    response = await client.post("Composition/exact/$document?persist=true")
    assert '"value":7.10' in response.text
    assert '"value":7.10' in (await client.get(response.headers["Location"])).text


async def test_a_document_without_end_is_refused_as_too_costly(client, world, monkeypatch):
    monkeypatch.setattr(document, "MOST_ENTRIES", 4)
    response = await client.get("Composition/report/$document")
    assert response.status_code == 422
    assert response.json()["issue"][0]["code"] == "too-costly"
