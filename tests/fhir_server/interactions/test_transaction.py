import time
import uuid

import pytest


def _bundle(*entries, kind="transaction"):
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def _entry(method, url, resource=None, full_url=None, **request):
    entry = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        entry["resource"] = resource
    if full_url is not None:
        entry["fullUrl"] = full_url
    return entry


def _patient(value, **more):
    return {"resourceType": "Patient", "identifier": [{"system": "urn:tx", "value": value}], **more}


def _observation(subject, **more):
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
        **more,
    }


def _target(entry):
    """The reference in an entry's response location."""
    return "/".join(entry["response"]["location"].split("/")[-4:-2])


async def _count(client, value):
    bundle = (await client.get(f"Patient?identifier=urn:tx|{value}&_summary=count")).json()
    return bundle["total"]


async def test_links_by_urn_uuid_become_references(client):
    urn = f"urn:uuid:{uuid.uuid4()}"
    bundle = _bundle(_entry("POST", "Observation", _observation(urn)), _entry("POST", "Patient", _patient("a"), urn))
    response = (await client.post("", json=bundle)).json()
    assert response["type"] == "transaction-response"
    observation, patient = (_target(entry) for entry in response["entry"])
    stored = (await client.get(observation)).json()
    assert stored["subject"]["reference"] == patient


async def test_links_in_uris_and_narrative_are_resolved_and_names_are_not(client):
    urn, oid = f"urn:uuid:{uuid.uuid4()}", "urn:oid:1.2.3.4.5"
    document = {
        "resourceType": "DocumentReference",
        "status": "current",
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": urn},
        "subject": {"reference": oid},
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{urn}">x</a></div>',
        },
        "content": [{"attachment": {"contentType": "application/pdf", "url": urn}}],
    }
    bundle = _bundle(
        _entry("POST", "DocumentReference", document),
        _entry("POST", "Binary", {"resourceType": "Binary", "contentType": "application/pdf", "data": "JVBERg=="}, urn),
        _entry("POST", "Patient", _patient("uri"), oid),
    )
    response = (await client.post("", json=bundle)).json()
    reference, binary, patient = (_target(entry) for entry in response["entry"])
    stored = (await client.get(reference)).json()
    assert stored["content"][0]["attachment"]["url"] == binary
    assert f'href="{binary}"' in stored["text"]["div"]
    assert stored["subject"]["reference"] == patient
    assert stored["masterIdentifier"]["value"] == urn


async def test_a_document_bundle_inside_is_left_alone(client):
    urn = f"urn:uuid:{uuid.uuid4()}"
    document = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {
                "fullUrl": urn,
                "resource": {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": urn}},
            }
        ],
    }
    bundle = _bundle(_entry("POST", "Bundle", document), _entry("POST", "Patient", _patient("doc"), urn))
    response = (await client.post("", json=bundle)).json()
    stored = (await client.get(_target(response["entry"][0]))).json()
    assert stored["entry"][0]["resource"]["subject"]["reference"] == urn


async def test_one_bad_entry_and_nothing_stays(client):
    bundle = _bundle(
        _entry("POST", "Patient", _patient("nothing")),
        _entry("POST", "Patient", _patient("nothing", name=[{"given": "no list"}])),
    )
    response = await client.post("", json=bundle)
    assert response.status_code == 422
    assert response.json()["issue"][0]["expression"] == ["Bundle.entry[1].resource.name[0].given"]
    assert await _count(client, "nothing") == 0


async def test_a_conditional_create_finds_what_is_there_and_links_to_it(client):
    created = (await client.post("Patient", json=_patient("there"))).json()
    urn = f"urn:uuid:{uuid.uuid4()}"
    bundle = _bundle(
        _entry("POST", "Patient", _patient("there"), urn, ifNoneExist="identifier=urn:tx|there"),
        _entry("POST", "Observation", _observation(urn)),
    )
    response = (await client.post("", json=bundle)).json()
    patient, observation = response["entry"]
    assert patient["response"]["status"] == "200 OK"
    assert _target(patient) == f"Patient/{created['id']}"
    assert (await client.get(_target(observation))).json()["subject"]["reference"] == f"Patient/{created['id']}"


async def test_conditional_references_find_their_target_on_the_server_or_in_the_bundle(client):
    created = (await client.post("Patient", json=_patient("known"))).json()
    bundle = _bundle(
        _entry("POST", "Observation", _observation("Patient?identifier=urn:tx|known")),
        _entry("POST", "Patient", _patient("new"), ifNoneExist="identifier=urn:tx|new"),
        _entry("POST", "Observation", _observation("Patient?identifier=urn:tx|new")),
    )
    response = (await client.post("", json=bundle)).json()
    known, patient, new = (_target(entry) for entry in response["entry"])
    assert (await client.get(known)).json()["subject"]["reference"] == f"Patient/{created['id']}"
    assert (await client.get(new)).json()["subject"]["reference"] == patient


async def test_a_conditional_reference_without_a_match_fails_the_transaction(client):
    bundle = _bundle(
        _entry("POST", "Patient", _patient("lost")),
        _entry("POST", "Observation", _observation("Patient?identifier=urn:tx|nobody")),
    )
    response = await client.post("", json=bundle)
    assert response.status_code == 412
    assert response.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]
    assert await _count(client, "lost") == 0


async def test_a_placeholder_that_leads_nowhere_is_refused(client):
    response = await client.post(
        "", json=_bundle(_entry("POST", "Observation", _observation(f"urn:uuid:{uuid.uuid4()}")))
    )
    assert response.status_code == 400
    assert response.json()["issue"][0]["expression"] == ["Bundle.entry[0]"]


async def test_two_entries_for_one_target_are_refused(client):
    one = {"resourceType": "Patient", "id": "twice"}
    for second in (_entry("PUT", "Patient/twice", one | {"active": True}), _entry("DELETE", "Patient/twice")):
        response = await client.post("", json=_bundle(_entry("PUT", "Patient/twice", one), second))
        assert response.status_code == 400
        assert "Bundle.entry[0]" in response.json()["issue"][0]["diagnostics"]


async def test_two_conditional_creates_with_one_condition_are_refused(client):
    entry = _entry("POST", "Patient", _patient("cond"), ifNoneExist="identifier=urn:tx|cond")
    assert (await client.post("", json=_bundle(entry, entry))).status_code == 400
    assert await _count(client, "cond") == 0


async def test_entries_run_in_the_order_of_the_specification_and_answer_in_their_own(client):
    old = (await client.post("Patient", json=_patient("order"))).json()
    bundle = _bundle(
        _entry("GET", "Patient?identifier=urn:tx|order&_total=accurate"),
        _entry("PUT", "Patient/order-put", _patient("order", id="order-put")),
        _entry("POST", "Patient", _patient("order"), ifNoneExist="identifier=urn:tx|order"),
        _entry("DELETE", f"Patient/{old['id']}"),
    )
    response = (await client.post("", json=bundle)).json()
    search, put, post, delete = response["entry"]
    assert [entry["response"]["status"] for entry in (search, put, post, delete)] == [
        "200 OK",
        "201 Created",
        "201 Created",
        "204 No Content",
    ]
    assert search["resource"]["total"] == 2


async def test_if_match_on_an_old_version_fails_the_whole(client):
    patient = (await client.post("Patient", json=_patient("match"))).json()
    address = f"Patient/{patient['id']}"
    bundle = _bundle(
        _entry("POST", "Patient", _patient("match-new")),
        _entry("PUT", address, patient | {"active": True}, ifMatch='W/"9"'),
    )
    response = await client.post("", json=bundle)
    assert response.status_code == 412
    assert response.json()["issue"][0]["expression"] == ["Bundle.entry[1]"]
    assert await _count(client, "match-new") == 0


async def test_conditional_update_patch_and_delete_work_in_a_transaction(client):
    for value in ("cu", "cp", "cd"):
        await client.post("Patient", json=_patient(value))
    patch = {"resourceType": "Binary", "contentType": "application/json-patch+json"}
    patch["data"] = "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2FjdGl2ZSIsInZhbHVlIjp0cnVlfV0="
    bundle = _bundle(
        _entry("PUT", "Patient?identifier=urn:tx|cu", _patient("cu", active=True)),
        _entry("PATCH", "Patient?identifier=urn:tx|cp", patch),
        _entry("DELETE", "Patient?identifier=urn:tx|cd"),
    )
    response = (await client.post("", json=bundle)).json()
    update, patched, _ = response["entry"]
    assert (await client.get(_target(update))).json()["active"] is True
    assert (await client.get(_target(patched))).json()["active"] is True
    assert await _count(client, "cd") == 0


async def test_prefer_decides_what_the_entries_carry(client):
    bundle = _bundle(_entry("POST", "Patient", _patient("prefer")))
    plain = (await client.post("", json=bundle)).json()["entry"][0]
    assert plain["response"].keys() == {"status", "location", "etag", "lastModified"}
    assert "resource" not in plain
    full = (await client.post("", json=bundle, headers={"Prefer": "return=representation"})).json()["entry"][0]
    assert full["resource"]["resourceType"] == "Patient"
    outcome = (await client.post("", json=bundle, headers={"Prefer": "return=OperationOutcome"})).json()["entry"][0]
    assert outcome["response"]["outcome"]["resourceType"] == "OperationOutcome"


_PATIENT, _BASIC = {"resourceType": "Patient"}, {"resourceType": "Basic"}


@pytest.mark.parametrize(
    ("entry", "expression"),
    [
        ("text", ""),
        ({}, ""),
        ({"request": {"method": "POST"}}, ".request.url"),
        ({"request": {"method": "BREW", "url": "Patient"}}, ""),
        ({"request": {"method": "POST", "url": "Pateint"}, "resource": _PATIENT}, ".request.url"),
        ({"request": {"method": "POST", "url": "Patient"}}, ".resource"),
        ({"request": {"method": "POST", "url": "Patient"}, "resource": _BASIC}, ".resource.resourceType"),
        ({"request": {"method": "POST", "url": 5}}, ".request.url"),
    ],
)
async def test_a_malformed_entry_is_refused_by_its_place(client, entry, expression):
    response = await client.post("", json=_bundle(entry))
    assert response.status_code == 400
    assert response.json()["issue"][0]["expression"] == [f"Bundle.entry[0]{expression}"]


async def test_an_empty_transaction_does_nothing(client):
    response = await client.post("", json={"resourceType": "Bundle", "type": "transaction"})
    assert response.json() == {"resourceType": "Bundle", "type": "transaction-response"}


async def test_the_base_is_found_with_and_without_a_slash(client):
    for url in ("http://127.0.0.1/fhir", "http://127.0.0.1/fhir/"):
        assert (await client.post(url, json=_bundle())).status_code == 200


async def test_the_base_takes_no_other_bundle(client):
    for body in ({"resourceType": "Bundle", "type": "document"}, {"resourceType": "Patient"}):
        assert (await client.post("", json=body)).status_code == 400


async def test_time_grows_with_the_entries_and_not_with_their_square(client):
    async def seconds(count):
        urn = f"urn:uuid:{uuid.uuid4()}"
        entries = [_entry("POST", "Observation", _observation(urn), f"urn:uuid:{uuid.uuid4()}") for _ in range(count)]
        began = time.perf_counter()
        response = await client.post("", json=_bundle(_entry("POST", "Patient", _patient("many"), urn), *entries))
        assert response.status_code == 200
        return time.perf_counter() - began

    await seconds(50)
    small, large = await seconds(150), await seconds(900)
    assert large < small * 6 * 3
