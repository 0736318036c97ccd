"""What all operations share: addresses, methods, scopes, audit, and their place in the CapabilityStatement."""

import pytest

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.operations import OPERATIONS

LEVELS = {"system": "", "type": "{type}/", "instance": "{type}/absent/", "version": "{type}/absent/_history/1/"}


def _addresses():
    """Every address of the table, with one type for the operations of all types."""
    for operation in OPERATIONS:
        for level in operation.access:
            for resource_type in sorted(operation.resource_types or {"Basic"}):
                yield operation, level, LEVELS[level].format(type=resource_type) + f"${operation.name}"


ADDRESSES = [pytest.param(*address, id=address[2]) for address in _addresses()]


def outcome(response):
    assert response.json()["resourceType"] == "OperationOutcome"
    return response.json()["issue"][0]


@pytest.fixture
def trail(database):
    async def rows(response):
        async with database.connection() as connection:
            cursor = await connection.execute(
                "SELECT action, outcome, resource_type, id FROM fhir.audit WHERE request_id = %s ORDER BY action",
                (response.headers["x-request-id"],),
            )
            return await cursor.fetchall()

    return rows


@pytest.mark.parametrize("url", ["$everythin", "Patient/$everythin", "Patient/1/$metta", "Patient/1/_history/1/$x"])
async def test_an_operation_there_is_not_is_not_found(client, url):
    for method in ("GET", "POST"):
        response = await client.request(method, url)
        assert response.status_code == 404
        outcome(response)


async def test_the_nearest_operation_is_named(client):
    assert "$everything" in outcome(await client.get("Patient/1/$everythin"))["diagnostics"]


@pytest.mark.parametrize(
    "url", ["$everything", "Basic/1/$everything", "Basic/$lastn", "$validate", "Patient/$document"]
)
async def test_an_operation_is_offered_at_its_own_places_only(client, url):
    assert (await client.get(url)).status_code == 404


async def test_a_type_there_is_not_has_no_operations(client):
    response = await client.get("Patent/$everything")
    assert response.status_code == 404
    assert "Patient" in outcome(response)["diagnostics"]


@pytest.mark.parametrize(("operation", "level", "url"), ADDRESSES)
async def test_other_methods_than_get_and_post_are_refused(client, operation, level, url):
    for method in ("PUT", "PATCH", "DELETE"):
        assert (await client.request(method, url)).status_code == 405
    if operation.affects_state:
        response = await client.get(url)
        assert response.status_code == 405
        outcome(response)


@pytest.mark.parametrize(("operation", "level", "url"), ADDRESSES)
async def test_no_operation_is_open_to_a_token_without_its_scopes(client, issue_token, operation, level, url):
    assert (await client.post(url, headers={"Authorization": ""})).status_code == 401
    assert operation.access[level], "an operation without letters would be open"
    others = "user/Basic.cruds" if operation.resource_types else "user/Account.cruds"
    scopes = "user/*.d" if level == "system" else others
    headers = {"Authorization": f"Bearer {await issue_token('Practitioner/1', scopes)}"}
    assert (await client.post(url, headers=headers)).status_code == 403


@pytest.mark.parametrize(("operation", "level", "url"), ADDRESSES)
async def test_every_letter_an_operation_needs_is_needed(client, issue_token, operation, level, url):
    for letter in operation.access[level]:
        rest = "".join(one for one in "cruds" if one != letter)
        headers = {"Authorization": f"Bearer {await issue_token('Practitioner/1', f'user/*.{rest}')}"}
        assert (letter, (await client.post(url, headers=headers)).status_code) == (letter, 403)


async def test_calls_and_refusals_are_in_the_audit_trail(client, trail, issue_token):
    await client.put("Patient/seen", json={"resourceType": "Patient", "id": "seen"})
    assert await trail(await client.get("Patient/seen/$everything")) == [("$everything", 200, "Patient", "seen")]
    assert await trail(await client.get("$meta")) == [("$meta", 200, None, None)]
    tags = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "a"}]}}]}
    assert await trail(await client.post("Patient/seen/$meta-add", json=tags)) == [
        ("$meta-add", 200, "Patient", "seen"),
        ("update", 200, "Patient", "seen"),
    ]
    headers = {"Authorization": f"Bearer {await issue_token('Practitioner/2', 'user/Basic.rs')}"}
    refused = await client.get("Patient/seen/$everything", headers=headers)
    assert await trail(refused) == [("$everything", 403, "Patient", "seen")]


async def test_a_trial_leaves_no_trace_of_a_write(client, trail):
    await client.put("Patient/tried", json={"resourceType": "Patient", "id": "tried"})
    changed = {"resourceType": "Patient", "id": "tried", "active": True}
    response = await client.post("Patient/tried/$validate?mode=update", json=changed)
    assert await trail(response) == [("$validate", 200, "Patient", "tried")]


async def test_a_document_named_by_parameter_is_audited_under_its_id(client, trail):
    body = {
        "resourceType": "Composition",
        "id": "named",
        "status": "final",
        "type": {"text": "x"},
        "date": "2024",
        "author": [{"display": "x"}],
        "title": "x",
    }
    await client.put("Composition/named", json=body)
    response = await client.get("Composition/$document?id=named")
    assert await trail(response) == [("$document", 200, "Composition", "named")]


async def test_the_capability_statement_lists_what_the_table_offers(client):
    rest = (await client.get("metadata")).json()["rest"][0]
    assert [one["name"] for one in rest["operation"]] == ["convert", "meta"]
    assert {one["type"] for one in rest["resource"]} == RESOURCE_TYPES
    for resource in rest["resource"]:
        names = [operation["name"] for operation in resource["operation"]]
        assert len(names) == len(set(names))
        assert set(names) >= {"meta", "meta-add", "meta-delete", "validate"}
    special = {
        (resource["type"], operation["definition"].rpartition("/")[2])
        for resource in rest["resource"]
        for operation in resource["operation"]
        if not operation["definition"].rpartition("/")[2].startswith("Resource-")
    }
    assert special == {
        ("Composition", "Composition-document"),
        ("Encounter", "Encounter-everything"),
        ("Observation", "Observation-lastn"),
        ("Patient", "Patient-everything"),
    }


async def test_every_operation_of_the_statement_answers(client):
    rest = (await client.get("metadata")).json()["rest"][0]
    for name in [one["name"] for one in rest["operation"]]:
        assert (await client.get(f"${name}")).status_code in (200, 400)
    for resource in rest["resource"]:
        for operation in resource["operation"]:
            found = set()
            for level in ("type", "instance"):
                url = LEVELS[level].format(type=resource["type"]) + f"${operation['name']}"
                response = await client.post(url)
                if "no operation of this name" not in response.text:
                    found.add(level)
            assert (resource["type"], operation["name"], bool(found)) == (resource["type"], operation["name"], True)


async def test_a_body_that_is_no_parameters_is_refused(client):
    response = await client.post("Patient/1/$everything", json={"resourceType": "Patient"})
    assert response.status_code == 400
    assert outcome(response)["expression"] == ["resourceType"]
    wrong = await client.post("Patient/1/$everything", content=b"<x/>", headers={"Content-Type": "text/plain"})
    assert wrong.status_code == 415


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"name": "_typ", "valueCode": "Patient"}, "Parameters.parameter[0].name"),
        ({"name": "_count", "valueString": "2"}, "Parameters.parameter[0]"),
        ({"name": "_count", "valueInteger": "2"}, "Parameters.parameter[0].value.ofType(integer)"),
        ({"name": "_since", "valueInstant": "yesterday"}, "Parameters.parameter[0].value.ofType(instant)"),
        ({"valueCode": "Patient"}, "Parameters.parameter[0].name"),
        ({"name": "_type"}, "Parameters.parameter[0]"),
        ({"name": "_type", "resource": {"resourceType": "Patient"}}, "Parameters.parameter[0]"),
    ],
)
async def test_a_malformed_parameter_is_refused_with_its_place(client, entry, place):
    response = await client.post("Patient/$everything", json={"resourceType": "Parameters", "parameter": [entry]})
    assert response.status_code == 400
    assert outcome(response)["expression"] == [place]


async def test_head_answers_as_get_without_a_body(client):
    response = await client.head("$meta")
    assert (response.status_code, response.content) == (200, b"")


async def test_a_percent_encoded_dollar_is_a_dollar(client):
    assert (await client.get("Patient/%24meta")).status_code == 200


async def test_operations_are_counted_by_their_name(client):
    await client.get("Patient/$meta")
    await client.get("Patient/$nonsense-of-a-client")
    root = str(client.base_url).removesuffix("fhir/")
    text = (await client.get(f"{root}metrics")).text
    assert "$meta" in text
    assert "nonsense" not in text


def batch(*entries, kind="batch"):
    entry = []
    for method, url, resource in entries:
        entry.append({"request": {"method": method, "url": url}} | ({"resource": resource} if resource else {}))
    return {"resourceType": "Bundle", "type": kind, "entry": entry}


async def test_a_batch_calls_operations(client, trail, issue_token):
    patient = {"resourceType": "Patient", "id": "batched"}
    await client.put("Patient/batched", json=patient)
    tags = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "a"}]}}]}
    calls = (
        ("GET", "Patient/batched/$everything?_type=Patient", None),
        ("POST", "Patient/$validate", {"resourceType": "Patient", "gender": "femal"}),
        ("POST", "Patient/batched/$meta-add", tags),
        ("GET", "Patient/batched/$meta-add", None),
        ("GET", "Patient/absent/$meta", None),
        ("GET", "Patient/batched/$nothing", None),
    )
    response = await client.post("", json=batch(*calls))
    entries = response.json()["entry"]
    assert [entry["response"]["status"][:3] for entry in entries] == ["200", "200", "200", "405", "404", "404"]
    everything, outcome, meta = (entry["resource"] for entry in entries[:3])
    assert everything["entry"][0]["resource"]["id"] == "batched"
    assert everything["link"][0]["url"].endswith("/Patient/batched/$everything?_type=Patient")
    assert outcome["issue"][0]["expression"] == ["Patient.gender"]
    assert meta["parameter"][0]["valueMeta"]["tag"] == [{"code": "a"}]
    rows = await trail(response)
    assert [row[0] for row in rows] == ["$everything", "$meta-add", "$validate", "update"]
    headers = {"Authorization": f"Bearer {await issue_token('Practitioner/2', 'user/Basic.rs')}"}
    refused = await client.post("", json=batch(*calls[:2]), headers=headers)
    assert [entry["response"]["status"][:3] for entry in refused.json()["entry"]] == ["403", "403"]
    assert await trail(refused) == [("$everything", 403, "Patient", "batched"), ("$validate", 403, "Patient", None)]


async def test_a_transaction_holds_no_operations(client):
    for entry in (("GET", "Patient/1/$everything", None), ("POST", "Patient/$validate", {"resourceType": "Patient"})):
        response = await client.post("", json=batch(entry, kind="transaction"))
        assert response.status_code == 405
        assert outcome(response)["expression"] == ["Bundle.entry[0]"]


async def test_operations_speak_xml_too(client):
    await client.put("Patient/xml", json={"resourceType": "Patient", "id": "xml"})
    headers = {"Accept": "application/fhir+xml"}
    response = await client.get("Patient/xml/$everything", headers=headers)
    assert response.headers["content-type"].startswith("application/fhir+xml")
    assert '<Bundle xmlns="http://hl7.org/fhir">' in response.text
    mode = '<parameter><name value="mode"/><valueCode value="delete"/></parameter>'
    body = f'<Parameters xmlns="http://hl7.org/fhir">{mode}</Parameters>'
    sent = {"Content-Type": "application/fhir+xml", **headers}
    response = await client.post("Patient/xml/$validate", content=body, headers=sent)
    assert (response.status_code, '<severity value="information"/>' in response.text) == (200, True)
