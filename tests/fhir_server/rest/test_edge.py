import gzip
import logging

import httpx
import pytest

from fhir_server.rest.app import build_app
from fhir_server.store.database import Database

FHIR = {"Content-Type": "application/fhir+json"}


def _client(app, **options):
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/fhir/", **options)


async def test_without_a_token_the_answer_is_401_with_a_challenge(client):
    for header in ("", "Basic dXNlcjpwYXNz", "Bearer", "Bearer nonsense"):
        response = await client.get("Patient/1", headers={"Authorization": header})
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.json()["issue"][0]["code"] == "login"


@pytest.mark.parametrize("path", ["Patient/1", "Patient", "Pateint/1", "Patient/1/_history", "nowhere/at/all", ""])
async def test_no_address_below_fhir_says_anything_without_a_token(client, path):
    method = "GET" if path else "POST"
    assert (await client.request(method, path, headers={"Authorization": ""})).status_code == 401


async def test_a_scope_that_was_not_granted_is_403(client, issue_token):
    token = await issue_token("Practitioner/1", "user/Observation.rs")
    headers = {"Authorization": f"Bearer {token}"}
    for method, path in (("GET", "Patient/1"), ("GET", "Patient"), ("DELETE", "Observation/1")):
        response = await client.request(method, path, headers=headers)
        assert response.status_code == 403
    response = await client.post("Observation", json={"resourceType": "Observation"}, headers=headers)
    assert response.status_code == 403


async def test_what_no_route_stands_for_is_404_or_405(client):
    assert (await client.get("nowhere/at/all")).status_code == 404
    assert (await client.post("Patient/1", json={})).status_code == 405
    assert (await client.put("", json={})).status_code == 405
    assert (await client.get("Patient/1/_history/1/more")).status_code == 405


async def test_an_unknown_host_is_refused(client):
    assert (await client.get("metadata", headers={"Host": "evil.example"})).status_code == 400


async def test_a_body_over_the_limit_is_413_packed_or_not(database, issue_token):
    token = await issue_token()
    app = build_app(database, base_url="http://127.0.0.1/fhir", body_limit_bytes=1000)
    bomb = gzip.compress(b" " * 1_000_000)
    async with _client(app, headers=FHIR | {"Authorization": f"Bearer {token}"}) as client:
        assert (await client.post("Patient", content=b" " * 1001)).status_code == 413
        packed = await client.post("Patient", content=bomb, headers={"Content-Encoding": "gzip"})
        assert packed.status_code == 413


async def test_a_packed_body_is_unpacked(client):
    body = gzip.compress(b'{"resourceType":"Patient"}')
    response = await client.post("Patient", content=body, headers=FHIR | {"Content-Encoding": "gzip"})
    assert response.status_code == 201
    for broken in (b"no gzip", body[:10]):
        response = await client.post("Patient", content=broken, headers=FHIR | {"Content-Encoding": "gzip"})
        assert response.status_code == 400
    response = await client.post("Patient", content=body, headers=FHIR | {"Content-Encoding": "br"})
    assert response.status_code == 415


async def test_a_large_answer_is_packed_for_who_takes_it(client):
    response = await client.get("metadata", headers={"Accept-Encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"resourceType":5}',
        b'{"resourceType":"Patient","a":NaN}',
        b'{"resourceType":"Patient","a":1e400}',
        b'{"resourceType":"Patient","a":"\xff"}',
        b'{"resourceType":"Patient","a":"\\ud800"}',
        b'{"resourceType":"Patient","active":' + b"[" * 100_000,
        b'{"resourceType":"Patient","contained":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 5000 + b"}",
        b'{"resourceType":"Patient","name":[{"text":"a\\u0000b"}]}',
    ],
)
async def test_no_body_makes_the_server_fail(client, body):
    response = await client.post("Patient", content=body, headers=FHIR)
    assert 400 <= response.status_code < 500
    assert response.json()["resourceType"] == "OperationOutcome"


async def test_an_unexpected_failure_gives_nothing_away(database, issue_token, caplog, monkeypatch):
    token = await issue_token()

    async def break_down(*_, **__):
        raise ValueError("Maria Alvarez")

    app = build_app(database, base_url="http://127.0.0.1/fhir")
    monkeypatch.setattr(Database, "run", break_down)
    async with _client(app, headers={"Authorization": f"Bearer {token}"}) as client:
        with caplog.at_level(logging.DEBUG):
            response = await client.delete("Patient/1")
    assert response.status_code == 500
    assert "Maria" not in response.text + caplog.text
    assert response.headers["x-request-id"] in response.text
    assert response.headers["x-request-id"] in caplog.text


async def test_no_answer_may_be_kept_by_a_cache(client):
    for path in ("Patient", "Patient/absent"):
        response = await client.get(path)
        assert response.headers["cache-control"] == "private, no-store"
        assert response.headers["x-content-type-options"] == "nosniff"


async def test_every_answer_carries_a_request_id(client):
    first, second = await client.get("metadata"), await client.get("Patient/absent")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
