import pytest

from fhir_server.kernel.errors import BusinessRule
from fhir_server.kernel.subject import Subject
from fhir_server.operations.calls.operation import Inputs, Invocation
from fhir_server.operations.validate import validate
from fhir_server.store.database import Database
from fhir_server.store.wiring import Wiring

PATIENT = {"resourceType": "Patient", "gender": "female"}
BAD = {"resourceType": "Patient", "gender": "femal", "name": [{"family": "A"}, {"familly": "B"}]}
LAB = "http://example.org/StructureDefinition/our-patient"


def parameters(**values):
    def entry(name, value):
        return {"name": name, "resource": value} if isinstance(value, dict) else {"name": name, "valueCode": value}

    return {"resourceType": "Parameters", "parameter": [entry(name, value) for name, value in values.items()]}


def severities(response):
    assert response.status_code == 200
    assert response.json()["resourceType"] == "OperationOutcome"
    return [issue["severity"] for issue in response.json()["issue"]]


@pytest.fixture
async def headers_of(issue_token):
    async def headers(scopes, who="Practitioner/1"):
        return {"Authorization": f"Bearer {await issue_token(who, scopes)}"}

    return headers


async def test_a_valid_resource_has_no_errors(client):
    assert severities(await client.post("Patient/$validate", json=PATIENT)) == ["information"]
    assert severities(await client.post("Patient/$validate", json=parameters(resource=PATIENT))) == ["information"]


async def test_every_fault_is_an_issue_that_points_at_its_element(client):
    for body in (BAD, parameters(resource=BAD)):
        response = await client.post("Patient/$validate", json=body)
        assert severities(response) == ["error", "error"]
        assert [issue["expression"] for issue in response.json()["issue"]] == [
            ["Patient.gender"],
            ["Patient.name[1].familly"],
        ]


async def test_nothing_is_stored_whatever_the_mode(client):
    identifier = [{"system": "urn:validate", "value": "1"}]
    for mode in ("create", None):
        given = {"resource": PATIENT | {"identifier": identifier}} | ({"mode": mode} if mode else {})
        assert severities(await client.post("Patient/$validate", json=parameters(**given))) == ["information"]
    assert "entry" not in (await client.get("Patient?identifier=urn:validate|1")).json()


async def test_an_update_is_tried_against_what_is_stored(client):
    await client.put("Patient/tried", json=PATIENT | {"id": "tried"})
    changed = PATIENT | {"id": "tried", "active": True}
    url = "Patient/tried/$validate?mode=update"
    assert severities(await client.post(url, json=changed)) == ["information"]
    assert "active" not in (await client.get("Patient/tried")).json()
    assert (await client.get("Patient/tried/_history")).json()["total"] == 1
    stale = await client.post(url, json=changed, headers={"If-Match": 'W/"7"'})
    assert severities(stale) == ["error"]
    assert stale.json()["issue"][0]["code"] == "conflict"
    other = await client.post(url, json=changed | {"id": "another"})
    assert other.json()["issue"][0]["expression"] == ["Patient.id"]


async def test_an_update_of_nothing_says_it_would_create(client):
    response = await client.post("Patient/nobody/$validate?mode=update", json=PATIENT | {"id": "nobody"})
    assert severities(response) == ["information"]
    assert "create" in response.json()["issue"][0]["diagnostics"]
    assert (await client.get("Patient/nobody")).status_code == 404


async def test_a_delete_is_tried_and_taken_back(client):
    await client.put("Patient/kept", json=PATIENT | {"id": "kept"})
    assert severities(await client.post("Patient/kept/$validate", json=parameters(mode="delete"))) == ["information"]
    assert severities(await client.get("Patient/kept/$validate?mode=delete")) == ["information"]
    assert (await client.get("Patient/kept")).status_code == 200
    nothing = await client.get("Patient/unknown/$validate?mode=delete")
    assert "change nothing" in nothing.json()["issue"][0]["diagnostics"]


async def test_a_profile_that_cannot_be_checked_is_never_taken_for_met(client):
    response = await client.post(f"Patient/$validate?profile={LAB}", json=PATIENT)
    assert severities(response) == ["error"]
    assert response.json()["issue"][0]["code"] == "not-supported"
    base = "http://hl7.org/fhir/StructureDefinition/Patient"
    assert severities(await client.post(f"Patient/$validate?profile={base}", json=PATIENT)) == ["information"]


async def test_a_profile_the_resource_claims_is_a_warning(client):
    response = await client.post("Patient/$validate", json=PATIENT | {"meta": {"profile": [LAB]}})
    assert severities(response) == ["warning"]
    assert response.json()["issue"][0]["expression"] == ["Patient.meta.profile[0]"]


async def test_a_stored_resource_is_checked_without_sending_it(client):
    await client.put("Patient/stored", json=PATIENT | {"id": "stored"})
    assert severities(await client.get("Patient/stored/$validate")) == ["information"]
    assert severities(await client.get(f"Patient/stored/$validate?mode=profile&profile={LAB}")) == ["error"]
    assert (await client.get("Patient/absent/$validate")).status_code == 404


async def test_another_type_than_the_address_says_is_an_issue(client):
    response = await client.post("Observation/$validate", json=PATIENT)
    assert response.json()["issue"][0]["expression"] == ["resourceType"]
    unknown = await client.post("Patient/$validate", json={"resourceType": "Pateint"})
    assert severities(unknown) == ["error"]


async def test_what_cannot_be_processed_is_an_error_of_the_request(client):
    for url, body in (
        ("Patient/$validate", None),
        ("Patient/$validate?mode=update", PATIENT),
        ("Patient/$validate?mode=destroy", PATIENT),
        ("Patient/1/$validate?mode=profile", None),
        ("Patient/$validate", parameters(resource=PATIENT, profil="x")),
        ("Patient/$validate", {"resourceType": "Parameters", "parameter": [{"name": "mode"}]}),
        ("Patient/$validate", {"resourceType": "Parameters", "parameter": {"name": "mode"}}),
    ):
        response = await (client.post(url, json=body) if body else client.post(url))
        assert (url, response.status_code) == (url, 400)
        assert response.json()["resourceType"] == "OperationOutcome"
    broken = await client.post("Patient/$validate", content=b"{", headers={"Content-Type": "application/fhir+json"})
    assert broken.status_code == 400


async def test_each_mode_needs_the_letter_of_its_interaction(client, headers_of):
    await client.put("Patient/scoped", json=PATIENT | {"id": "scoped"})
    reading = await headers_of("user/Patient.rs")
    assert (await client.post("Patient/$validate", json=PATIENT, headers=reading)).status_code == 403
    assert severities(await client.get("Patient/scoped/$validate", headers=reading)) == ["information"]
    for mode, method, body in (("update", "POST", PATIENT | {"id": "scoped"}), ("delete", "GET", None)):
        response = await client.request(method, f"Patient/scoped/$validate?mode={mode}", json=body, headers=reading)
        assert (mode, response.status_code) == (mode, 403)
    creating = await headers_of("user/Patient.c")
    assert severities(await client.post("Patient/$validate?mode=create", json=PATIENT, headers=creating)) == [
        "information"
    ]


async def test_a_create_outside_the_compartment_is_refused_as_the_create_would_be(client, headers_of):
    own = await headers_of("patient/*.cruds", "Patient/mine")
    for owner, expected in (("mine", "information"), ("theirs", "error")):
        observation = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": f"Patient/{owner}"},
        }
        response = await client.post("Observation/$validate?mode=create", json=observation, headers=own)
        assert severities(response) == [expected]


async def test_a_guard_says_no_to_a_trial_as_to_the_write(database_url):
    async def no_more_patients(change, tx):
        if change.new and change.new.get("active"):
            raise BusinessRule("No more active patients.")

    database = await Database.open(database_url, wiring=Wiring(guards=(no_more_patients,)))
    try:
        subject = Subject.system("tester", "system/*.cruds")
        for active, texts in ((False, []), (True, ["No more active patients."])):
            given = {"resource": (PATIENT | {"active": active},), "mode": ("create",)}
            call = Invocation("Patient", inputs=Inputs(given))
            async with database.transaction(subject) as tx:
                answer = await validate(tx, call)
            assert [issue.diagnostics for issue in answer.content] == texts
    finally:
        await database.close()


async def test_the_jobs_of_a_tried_write_are_never_queued(database_url):
    queued = []

    async def enqueue(connection, job, arguments, lock):
        await connection.execute("INSERT INTO fhir.setting VALUES (%s, '')", (job,))
        queued.append(job)

    database = await Database.open(database_url, wiring=Wiring(reactions={"Patient": ("react",)}, enqueue=enqueue))
    try:
        subject = Subject.system("tester", "system/*.cruds")
        call = Invocation("Patient", inputs=Inputs({"resource": (PATIENT,), "mode": ("create",)}))
        async with database.transaction(subject) as tx:
            assert (await validate(tx, call)).content == ()
        async with database.connection() as connection:
            rows = await (await connection.execute("SELECT name FROM fhir.setting WHERE name = 'react'")).fetchall()
        assert (queued, rows) == (["react"], [])
    finally:
        await database.close()
