from urllib.parse import urlsplit

import pytest

from fhir_server.definitions import RESOURCE_TYPES, compartment_parameters
from fhir_server.store.compartments import compartment_types


def observation(id, patient, **more):
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def practice(owner):
    """A patient with an encounter, what was observed, and who did it where."""
    role = {"practitioner": {"reference": "Practitioner/dr"}, "location": [{"reference": "Location/ward"}]}
    encounter = {"status": "finished", "class": {"code": "IMP"}, "subject": {"reference": f"Patient/{owner}"}}
    return [
        {"resourceType": "Organization", "id": "clinic", "name": "Clinic"},
        {"resourceType": "Location", "id": "ward", "managingOrganization": {"reference": "Organization/clinic"}},
        {"resourceType": "Practitioner", "id": "dr"},
        {"resourceType": "PractitionerRole", "id": "role", **role},
        {"resourceType": "Practitioner", "id": "stranger"},
        {"resourceType": "Medication", "id": "drug"},
        {"resourceType": "Binary", "id": "letter", "contentType": "text/plain", "data": "eA=="},
        {"resourceType": "Patient", "id": owner},
        {"resourceType": "Encounter", "id": f"{owner}-stay", **encounter},
        observation(f"{owner}-1", owner, performer=[{"reference": "PractitionerRole/role"}]),
        observation(f"{owner}-2", owner, encounter={"reference": f"Encounter/{owner}-stay"}),
        {
            "resourceType": "MedicationRequest",
            "id": f"{owner}-order",
            "status": "active",
            "intent": "order",
            "medicationReference": {"reference": "Medication/drug"},
            "subject": {"reference": f"Patient/{owner}"},
        },
        {
            "resourceType": "DocumentReference",
            "id": f"{owner}-letter",
            "status": "current",
            "subject": {"reference": f"Patient/{owner}"},
            "content": [{"attachment": {"url": "Binary/letter"}}],
        },
    ]


def members(owner):
    return {
        f"Patient/{owner}",
        f"Encounter/{owner}-stay",
        f"Observation/{owner}-1",
        f"Observation/{owner}-2",
        f"MedicationRequest/{owner}-order",
        f"DocumentReference/{owner}-letter",
    }


SUPPORTING = {"PractitionerRole/role", "Practitioner/dr", "Location/ward", "Organization/clinic", "Medication/drug"}


@pytest.fixture
async def world(client):
    for resource in practice("mine") + practice("theirs"):
        response = await client.put(f"{resource['resourceType']}/{resource['id']}", json=resource)
        assert response.status_code in (200, 201), response.text


def found(bundle, mode):
    return [
        entry["fullUrl"].partition("/fhir/")[2] for entry in bundle.get("entry", ()) if entry["search"]["mode"] == mode
    ]


async def get(client, url, **options):
    response = await client.get(url, **options)
    assert response.status_code == 200, response.text
    bundle = response.json()
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "searchset")
    return bundle


async def walk(client, url, **options):
    """Follow the pages; return the matches and the includes of all of them."""
    matches, includes, pages = [], [], 0
    while url:
        bundle = await get(client, url, **options)
        matches += found(bundle, "match")
        includes += found(bundle, "include")
        pages += 1
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    return matches, includes, pages


async def test_a_patient_comes_with_the_whole_compartment_and_what_it_refers_to(client, world):
    bundle = await get(client, "Patient/mine/$everything")
    matches = found(bundle, "match")
    assert set(matches) == members("mine")
    assert matches[0] == "Patient/mine"
    assert set(found(bundle, "include")) == SUPPORTING
    assert bundle["total"] == len(matches)
    assert bundle["link"][0]["url"].endswith("/Patient/mine/$everything")
    assert bundle["entry"][0]["resource"] == (await client.get("Patient/mine")).json()


async def test_get_and_post_answer_the_same(client, world):
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "_type", "valueCode": "Observation"}, {"name": "_count", "valueInteger": 1}],
    }
    posted = (await client.post("Patient/mine/$everything", json=body)).json()
    asked = await get(client, "Patient/mine/$everything?_type=Observation&_count=1")
    assert posted == asked


async def test_pages_follow_each_other_without_loss_or_repetition(client, world):
    for count in (1, 2, 5):
        matches, includes, pages = await walk(client, f"Patient/mine/$everything?_count={count}")
        assert len(matches) == len(set(matches))
        assert set(matches) == members("mine")
        assert set(includes) == SUPPORTING
        assert pages == -(-len(members("mine")) // count)


async def test_pages_stay_in_place_while_others_write(client, world):
    first = await get(client, "Patient/mine/$everything?_count=3")
    await client.put("Account/mine-new", json={"resourceType": "Account", "id": "mine-new", "status": "active"})
    await client.delete("MedicationRequest/mine-order")
    url = next(link["url"] for link in first["link"] if link["relation"] == "next")
    rest, _, _ = await walk(client, url)
    assert set(found(first, "match")) | set(rest) >= members("mine") - {"MedicationRequest/mine-order"}


async def test_a_cursor_is_good_for_its_own_call_only(client, world, issue_token):
    first = await get(client, "Patient/mine/$everything?_count=1")
    url = next(link["url"] for link in first["link"] if link["relation"] == "next")
    cursor = urlsplit(url).query.partition("_cursor=")[2]
    assert (await client.get(f"Patient/theirs/$everything?_cursor={cursor}")).status_code == 400
    assert (await client.get(f"Patient/mine/$everything?_type=Observation&_cursor={cursor}")).status_code == 400
    headers = {"Authorization": f"Bearer {await issue_token('Practitioner/2', 'user/*.rs')}"}
    assert (await client.get(url, headers=headers)).status_code == 400


async def test_types_narrow_matches_and_includes(client, world):
    bundle = await get(client, "Patient/mine/$everything?_type=Observation,Practitioner")
    assert set(found(bundle, "match")) == {"Observation/mine-1", "Observation/mine-2"}
    assert found(bundle, "include") == []
    twice = await get(client, "Patient/mine/$everything?_type=Observation&_type=PractitionerRole")
    assert found(twice, "include") == ["PractitionerRole/role"]


async def test_attachments_come_when_they_are_named(client, world):
    bundle = await get(client, "Patient/mine/$everything?_type=DocumentReference,Binary")
    assert found(bundle, "include") == ["Binary/letter"]


async def test_since_leaves_out_what_did_not_change(client, world):
    latest = (await client.get("Observation/mine-2")).json()
    moment = latest["meta"]["lastUpdated"]
    await client.put("Observation/mine-2", json=latest | {"status": "amended"})
    bundle = await get(client, f"Patient/mine/$everything?_since={moment}")
    assert "Observation/mine-2" in found(bundle, "match")
    assert "Patient/mine" not in found(bundle, "match")
    assert found(bundle, "include") == []


async def test_care_dates_narrow_what_has_a_date(client):
    await client.put("Patient/dated", json={"resourceType": "Patient", "id": "dated", "birthDate": "1950-01-01"})
    subject = {"subject": {"reference": "Patient/dated"}}
    for year in (2021, 2022, 2023):
        resource = observation(f"in-{year}", "dated", effectiveDateTime=f"{year}-06-01")
        await client.put(f"Observation/in-{year}", json=resource)
    await client.put("Observation/undated", json=observation("undated", "dated"))
    for id, span in (
        ("chronic", {"onsetDateTime": "2001"}),
        ("over", {"onsetDateTime": "2001", "abatementDateTime": "2002"}),
        ("later", {"onsetDateTime": "2024"}),
    ):
        await client.put(f"Condition/{id}", json={"resourceType": "Condition", "id": id, **subject, **span})
    always = {"Patient/dated", "Observation/undated", "Condition/chronic"}
    for query, more in (
        ("start=2022-06-01&end=2022-06-01", {"Observation/in-2022"}),
        ("start=2022-07", {"Observation/in-2023", "Condition/later"}),
        ("end=2021", {"Observation/in-2021", "Condition/over"}),
    ):
        bundle = await get(client, f"Patient/dated/$everything?{query}")
        assert (query, set(found(bundle, "match"))) == (query, always | more)


@pytest.mark.parametrize(
    "query",
    [
        "_since=yesterday",
        "_type=Observatio",
        "_type=CodeSystem",
        "_count=0",
        "_count=-1",
        "_cnt=1",
        "_cursor=AA",
        "start=today",
    ],
)
async def test_what_is_malformed_or_unknown_is_refused(client, world, query):
    response = await client.get(f"Patient/mine/$everything?{query}")
    assert response.status_code == 400
    assert response.json()["issue"][0]["diagnostics"]


async def test_an_absent_patient_has_nothing(client):
    assert (await client.get("Patient/absent/$everything")).status_code == 404
    await client.put("Patient/gone", json={"resourceType": "Patient", "id": "gone"})
    await client.delete("Patient/gone")
    assert (await client.get("Patient/gone/$everything")).status_code == 410


async def test_a_patients_token_gets_its_own_everything_and_no_other(client, world, issue_token):
    headers = {"Authorization": f"Bearer {await issue_token('Patient/mine', 'patient/*.rs')}"}
    bundle = await get(client, "Patient/mine/$everything", headers=headers)
    assert set(found(bundle, "match")) == members("mine")
    assert (await client.get("Patient/theirs/$everything", headers=headers)).status_code == 404
    whole, _, _ = await walk(client, "Patient/$everything?_count=2", headers=headers)
    assert set(whole) == members("mine")


async def test_all_patients_a_user_may_see_come_at_type_level(client, world):
    matches, includes, _ = await walk(client, "Patient/$everything?_count=4")
    assert set(matches) >= members("mine") | members("theirs")
    assert not [one for one in matches if one.startswith(("Practitioner/", "Organization/"))]
    assert len(matches) == len(set(matches))
    assert set(includes) >= SUPPORTING


async def test_types_without_a_scope_are_left_out_and_said_to_be(client, world, issue_token):
    token = await issue_token("Practitioner/1", "user/Patient.rs user/Observation.rs user/Practitioner.r")
    headers = {"Authorization": f"Bearer {token}"}
    bundle = await get(client, "Patient/mine/$everything", headers=headers)
    assert set(found(bundle, "match")) == {"Patient/mine", "Observation/mine-1", "Observation/mine-2"}
    assert found(bundle, "include") == []
    (outcome,) = [entry for entry in bundle["entry"] if entry["search"]["mode"] == "outcome"]
    (issue,) = outcome["resource"]["issue"]
    assert (issue["severity"], issue["code"]) == ("information", "suppressed")
    assert "MedicationRequest" in issue["diagnostics"]
    refused = await client.get("Patient/mine/$everything?_type=MedicationRequest", headers=headers)
    assert refused.status_code == 403


@pytest.mark.parametrize("scopes", ["user/Patient.r", "user/Patient.s", "user/Observation.rs"])
async def test_reading_and_searching_patients_are_both_needed(client, world, issue_token, scopes):
    headers = {"Authorization": f"Bearer {await issue_token('Practitioner/1', scopes)}"}
    assert (await client.get("Patient/mine/$everything", headers=headers)).status_code == 403


async def test_a_scope_with_a_query_narrows_everything(client, world, issue_token):
    await client.put("Observation/mine-3", json=observation("mine-3", "mine", status="preliminary"))
    token = await issue_token("Practitioner/1", "user/Patient.rs user/Observation.rs?status=preliminary")
    bundle = await get(client, "Patient/mine/$everything", headers={"Authorization": f"Bearer {token}"})
    assert set(found(bundle, "match")) == {"Patient/mine", "Observation/mine-3"}


async def test_an_encounter_comes_with_its_compartment_its_patient_and_who_took_part(client, world):
    bundle = await get(client, "Encounter/mine-stay/$everything")
    assert found(bundle, "match") == ["Encounter/mine-stay", "Observation/mine-2"]
    assert found(bundle, "include") == ["Patient/mine"]
    assert (await client.get("Encounter/$everything")).status_code == 404


async def test_references_of_a_stranger_do_not_lead_out_of_the_encounter(client, world):
    stay = (await client.get("Encounter/mine-stay")).json() | {"partOf": {"reference": "Encounter/theirs-stay"}}
    await client.put("Encounter/mine-stay", json=stay)
    bundle = await get(client, "Encounter/mine-stay/$everything")
    assert "Encounter/theirs-stay" not in found(bundle, "include")
    await client.put("Encounter/mine-stay", json={name: stay[name] for name in stay if name != "partOf"})


def test_every_type_of_the_compartment_definitions_is_gathered():
    for compartment in ("Patient", "Encounter"):
        types = {name for name in RESOURCE_TYPES if compartment_parameters(compartment, name)}
        assert set(compartment_types(compartment)) == types | {compartment}
        assert compartment_types(compartment)[0] == compartment
