"""Whatever an address or a header says, the answer is an OperationOutcome, quickly: never a 5xx, never a hang.

https://hl7.org/fhir/R4/http.html#Status-Codes and https://hl7.org/fhir/R4/security.html
"""

import time

import pytest

_slow_s = 5.0
SEARCHES = [
    "typo=1",
    "name",
    "name=%FF",
    "name=%00",
    "_id=%00",
    "name=%",
    "name:bad=x",
    "birthdate=zz2024",
    "birthdate=ge",
    "birthdate=2024-99-99",
    "birthdate=ge99999999999999999999",
    "_count=1000000000",
    "_count=-1",
    "_count=1e9",
    "_count=" + "9" * 5000,
    "_cursor=AAAA",
    "_cursor=%00",
    "_cursor=" + "A" * 10_000,
    "_sort=typo",
    "_sort=--birthdate",
    "_elements=typo",
    "_summary=all",
    "_total=many",
    "_include=Patient",
    "_include=Nothing:x",
    "_include=Patient:birthdate",
    "_include:loop=Patient:link",
    "_revinclude=Observation:code",
    "_has:Observation",
    "_has:Observation:code:code=x",
    "general-practitioner.typo=x",
    "link." * 50 + "name=x",
    "_has:Patient:link:" * 50 + "name=x",
    "_filter=name eq",
    "identifier=" + "a," * 30_000,
    "name=" + "%2C" * 5000,
    "name=" + "(" * 3000,
    "gender=" + "%5C" * 4001,
    "_lastUpdated=nonsense",
    "address:exact:exact=x",
    "=x",
    "&=&=",
    "_format=ttl",
    "_id=" + "a" * 10_000 + "&_id:typo=1",
]
PATHS = [
    "Patient/",
    "Patient//",
    "/Patient",
    "Patient/%00",
    "Patient/%2e%2e%2fmetadata",
    "Patient/..%2f..%2fetc%2fpasswd",
    "Patient/%FF",
    "Patient/" + "a" * 65,
    "Patient/" + "a" * 20_000,
    "Patient/absent/_history/" + "9" * 100,
    "Patient/absent/_history/-1",
    "Patient/absent/_history/%00",
    "Patient/absent/_history/x/y",
    "Patient/absent/$nothing",
    "Patient/$nothing",
    "$nothing",
    "Patient/_history?_since=x",
    "Patient/_history?_cursor=x",
    "Patient/_history?_at=x",
    "_history?_count=x",
    "patient/1",
    "PATIENT",
    "Patient;a=b/1",
    "Nothing",
    "Nothing/1/_history",
    "Patient%2f1",
    "a/" * 2000,
    "Patient/absent?_format=ttl",
    "Patient/absent?_summary=x",
    "%E2%80%AE",
]
HEADERS = [
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer " + "a" * 20_000},
    {"Authorization": "Bearer \xff".encode("latin-1")},
    {"Authorization": "Basic Og=="},
    {"Authorization": "Bearer a b c"},
    {"Accept": "text/turtle"},
    {"Accept": "application/fhir+json;fhirVersion=9.9"},
    {"Accept": ";;;,,,"},
    {"Accept": "a/b," * 5000},
    {"Accept": "application/json;q=NaN"},
    {"Prefer": "return=everything"},
    {"Prefer": "handling=loose"},
]
_harmless = {"name=%", "_sort=--birthdate", "&=&=", "gender=" + "%5C" * 4001}


def _requests():
    yield from (("GET", f"Patient?{query}", {}) for query in SEARCHES)
    yield from (("GET", path, {}) for path in PATHS)
    yield from (("GET", "Patient/p", headers) for headers in HEADERS)
    yield from ((method, "metadata", {}) for method in ("TRACE", "CONNECT", "PROPFIND", "POST", "PUT", "DELETE"))


@pytest.fixture
async def patient(client):
    await client.put("Patient/p", json={"resourceType": "Patient", "id": "p"})


async def test_no_address_or_header_makes_the_server_fail_or_wait(client, patient):
    wrong = []
    for number, (method, path, headers) in enumerate(_requests()):
        started = time.perf_counter()
        response = await client.request(method, path, headers=headers)
        took = time.perf_counter() - started
        told = response.status_code < 400 or b"OperationOutcome" in response.content
        if response.status_code >= 500 or took > _slow_s or not told:
            wrong.append((number, method, path[:80], str(headers)[:80], response.status_code, round(took, 2)))
    assert wrong == []


@pytest.mark.parametrize("query", [query for query in SEARCHES if query not in _harmless], ids=lambda query: query[:40])
async def test_a_malformed_search_is_a_4xx(client, query):
    response = await client.get(f"Patient?{query}")
    assert 400 <= response.status_code < 500
    assert response.json()["issue"][0]["diagnostics"]
