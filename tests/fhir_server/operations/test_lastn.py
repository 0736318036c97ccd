import pytest

from fhir_server.store.latest import newest

VITALS = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}]


def codes(*names, text=None):
    codings = [{"system": "http://loinc.org", "code": name} for name in names]
    return ({"coding": codings} if codings else {}) | ({"text": text} if text else {})


def observation(id, code, when, patient="p", **more):
    effective = {"effectiveDateTime": when} if when else {}
    subject = {"reference": f"Patient/{patient}"}
    body = {"resourceType": "Observation", "id": id, "status": "final", "category": VITALS, "subject": subject}
    return body | {"code": code} | effective | more


async def put(client, *resources):
    for resource in resources:
        response = await client.put(f"Observation/{resource['id']}", json=resource)
        assert response.status_code in (200, 201), response.text


async def ids(client, url, **options):
    response = await client.get(url, **options)
    assert response.status_code == 200, response.text
    bundle = response.json()
    assert bundle["type"] == "searchset"
    found = [entry["resource"]["id"] for entry in bundle.get("entry", ())]
    assert bundle["total"] == len(found)
    return found


@pytest.fixture
async def vitals(client):
    for day in (1, 2, 3, 4):
        await put(
            client,
            observation(f"pulse-{day}", codes("8867-4"), f"2024-03-0{day}T10:00:00Z"),
            observation(f"weight-{day}", codes("29463-7"), f"2024-02-0{day}"),
        )
    await put(client, observation("other", codes("8867-4"), "2024-04-01", patient="q"))


async def test_without_max_the_newest_of_each_code_is_returned(client, vitals):
    assert await ids(client, "Observation/$lastn?patient=p&category=vital-signs") == ["pulse-4", "weight-4"]


async def test_max_newest_of_each_code_come_newest_first(client, vitals):
    found = await ids(client, "Observation/$lastn?subject=Patient/p&category=vital-signs&max=2")
    assert found == ["pulse-4", "pulse-3", "weight-4", "weight-3"]


async def test_search_parameters_narrow_what_is_looked_at(client, vitals):
    url = "Observation/$lastn?patient=p&code=http://loinc.org|8867-4"
    assert await ids(client, url) == ["pulse-4"]
    assert await ids(client, f"{url}&date=lt2024-03-03&max=5") == ["pulse-2", "pulse-1"]
    assert await ids(client, f"{url}&status=preliminary") == []


async def test_post_takes_the_same_as_parameters(client, vitals):
    given = {"patient": "p", "category": "vital-signs"}
    parameter = [{"name": name, "valueString": value} for name, value in given.items()]
    body = {"resourceType": "Parameters", "parameter": [*parameter, {"name": "max", "valuePositiveInt": 2}]}
    posted = await client.post("Observation/$lastn", json=body)
    asked = await client.get("Observation/$lastn?patient=p&category=vital-signs&max=2")
    assert posted.json() == asked.json()


async def test_ties_for_the_last_place_all_come(client):
    await put(
        client,
        observation("tie-1", codes("t"), "2024-01-01", "tied"),
        observation("tie-2", codes("t"), "2024-01-01", "tied"),
        observation("tie-3", codes("t"), "2023-01-01", "tied"),
    )
    url = "Observation/$lastn?patient=tied&category=vital-signs"
    assert await ids(client, url) == ["tie-1", "tie-2"]
    assert await ids(client, f"{url}&max=3") == ["tie-1", "tie-2", "tie-3"]


async def test_an_observation_without_a_time_is_the_oldest(client):
    await put(client, observation("timeless", codes("u"), None, "u"), observation("timed", codes("u"), "1999", "u"))
    url = "Observation/$lastn?patient=u&category=vital-signs"
    assert await ids(client, url) == ["timed"]
    assert await ids(client, f"{url}&max=2") == ["timed", "timeless"]


async def test_subjects_are_not_mixed(client, vitals):
    assert await ids(client, "Observation/$lastn?patient=p,q&code=8867-4") == ["other", "pulse-4"]


async def test_no_match_is_an_empty_searchset(client):
    assert await ids(client, "Observation/$lastn?patient=nobody&category=vital-signs") == []


@pytest.mark.parametrize(
    "query",
    [
        "category=vital-signs",
        "patient=p",
        "patient=p&status=final",
        "patient:missing=false&category=vital-signs",
        "patient=p&category=vital-signs&max=0",
        "patient=p&category=vital-signs&max=two",
        "patient=p&category=vital-signs&max=1&max=2",
        "patient=p&category=vital-signs&_sort=date",
        "patient=p&category=vital-signs&_include=Observation:subject",
        "patient=p&categry=vital-signs",
    ],
)
async def test_what_is_missing_or_unknown_is_refused(client, query):
    response = await client.get(f"Observation/$lastn?{query}")
    assert response.status_code == 400
    assert response.json()["issue"][0]["diagnostics"]


async def test_hidden_observations_are_neither_returned_nor_counted(client, vitals, issue_token):
    token = await issue_token("Practitioner/1", "user/Observation.s?code=http://loinc.org|29463-7")
    url = "Observation/$lastn?patient=p&category=vital-signs"
    assert await ids(client, url, headers={"Authorization": f"Bearer {token}"}) == ["weight-4"]
    own = {"Authorization": f"Bearer {await issue_token('Patient/q', 'patient/*.rs')}"}
    assert await ids(client, url, headers=own) == []
    reading = {"Authorization": f"Bearer {await issue_token('Practitioner/1', 'user/Observation.r')}"}
    assert (await client.get(url, headers=reading)).status_code == 403


async def test_it_is_offered_for_observations_only(client):
    assert (await client.get("Condition/$lastn?patient=p&category=x")).status_code == 404
    assert (await client.get("Observation/1/$lastn")).status_code == 404


@pytest.mark.parametrize(
    ("observed", "groups"),
    [
        ([codes("a"), codes("b"), codes("c")], 3),
        ([codes("a"), codes("b"), codes("a", "c")], 2),
        ([codes("a"), codes("b"), codes("a", "b")], 1),
        ([codes(text="text"), codes(text="Text"), codes(text="t e x t")], 3),
        ([codes("a", text="same"), codes("b", text="same")], 2),
    ],
)
def test_codes_are_grouped_as_the_specifications_table_shows(observed, groups):
    from fhir_server.kernel import json  # noqa: PLC0415 - the one test that needs it

    candidates = [(str(place), None, None, json.encode_text(code)) for place, code in enumerate(observed)]
    assert len(newest(candidates, 1)) == groups
