"""Whatever comes in, the answer is a 4xx with an OperationOutcome, quickly: never a 5xx, never a hang.

https://hl7.org/fhir/R4/http.html#Status-Codes and https://hl7.org/fhir/R4/security.html
"""

import gzip
import json
import random
import time

import pytest

from fhir_server.kernel import xml

JSON = {"Content-Type": "application/fhir+json"}
XML = {"Content-Type": "application/fhir+xml"}
PATCH = {"Content-Type": "application/json-patch+json"}
MERGE = {"Content-Type": "application/merge-patch+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NS = 'xmlns="http://hl7.org/fhir"'
_slow_s = 5.0


def _patient(members):
    return b'{"resourceType":"Patient",' + members + b"}"


JSON_BODIES = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"1",
    b'"Patient"',
    b"{}",
    b"{",
    b'{"resourceType"',
    b'{"resourceType":}',
    b'{"resourceType":"Patient"',
    b'{"resourceType":"Patient"}}',
    b'{"resourceType":"Patient"}{"resourceType":"Patient"}',
    b'\xef\xbb\xbf{"resourceType":"Patient"}',
    '{"resourceType":"Patient"}'.encode("utf-16"),
    '{"resourceType":"Patient","language":"ä"}'.encode("latin-1"),
    b"{'resourceType':'Patient'}",
    b'{resourceType:"Patient"}',
    b'{"resourceType":"Patient",}',
    b'{"resourceType":"Patient"} // comment',
    b'{"resourceType":null}',
    b'{"resourceType":["Patient"]}',
    b'{"resourceType":"Pateint"}',
    b'{"resourceType":"Observation"}',
    b'{"resourceType":"Patient","resourceType":"Patient"}',
    _patient(b'"gender":"male","gender":"female"'),
    _patient(b'"gender":"male","\\u0067ender":"female"'),
    _patient(b'"name":[{"family":"a","family":"b"}]'),
    _patient(b'"multipleBirthInteger":NaN'),
    _patient(b'"multipleBirthInteger":Infinity'),
    _patient(b'"multipleBirthInteger":-'),
    _patient(b'"multipleBirthInteger":01'),
    _patient(b'"multipleBirthInteger":1.'),
    _patient(b'"multipleBirthInteger":0x1'),
    _patient(b'"multipleBirthInteger":1e400'),
    _patient(b'"multipleBirthInteger":' + b"9" * 5000),
    _patient(b'"multipleBirthInteger":' + b"9" * 20),
    _patient(b'"multipleBirthInteger":true'),
    _patient(b'"extension":[{"url":"urn:x","valueDecimal":' + b"9" * 5000 + b".0}]"),
    _patient(b'"extension":[{"url":"urn:x","valueDecimal":1e999999999}]'),
    _patient(b'"extension":[{"url":"urn:x","valueDecimal":1e-999999999999999999999}]'),
    _patient(b'"language":"\\ud800"'),
    _patient(b'"language":"\\udc00\\ud800"'),
    _patient(b'"language":"\xed\xa0\x80"'),
    _patient(b'"language":"\xff"'),
    _patient(b'"language":"a\x00b"'),
    _patient(b'"name":[{"text":"a\\u0000b"}]'),
    _patient(b'"language":"\\x41"'),
    _patient(b'"\\ud800":1'),
    _patient(b'"active":' + b"[" * 100_000),
    _patient(b'"active":' + b"[" * 100_000 + b"]" * 100_000),
    _patient(b'"extension":' + b'[{"extension":' * 100_000),
    _patient(b'"extension":' + b'[{"url":"u","extension":' * 300 + b"[]" + b"}]" * 300),
    _patient(b'"contained":' + b"[" * 900 + b"]" * 900),
    _patient(b'"contained":[' + b'{"resourceType":"Patient","contained":[' * 200 + b"]}" * 200 + b"]"),
    _patient(b'"name":null'),
    _patient(b'"name":{}'),
    _patient(b'"name":[]'),
    _patient(b'"name":[null]'),
    _patient(b'"name":[[]]'),
    _patient(b'"name":[{"given":[null]}]'),
    _patient(b'"_name":[{"id":"x"}]'),
    _patient(b'"__proto__":{"x":1}'),
    _patient(b'"":1'),
    _patient(b'"' + b"a" * 100_000 + b'":1'),
    _patient(b'"id":"../../etc/passwd","active":"x"'),
    _patient(b'"meta":[]'),
    _patient(b'"meta":"x"'),
    _patient(b'"meta":{"versionId":5}'),
    _patient(b'"text":{"status":"generated","div":"<script>"}'),
    _patient(b'"birthDate":"2024-02-30"'),
    _patient(b'"birthDate":"0000-00-00"'),
    _patient(b'"birthDate":"99999"'),
    _patient(b'"photo":[{"data":"!"}]'),
    b'{"resourceType":"Patient","active":' + b"true," * 1000 + b"}",
    b"\x00" * 1000,
    bytes(range(256)),
]
_attributes = " ".join(f"a{number}='1'" for number in range(10_000))
XML_BODIES = [
    b"",
    b"<",
    b"<Patient/>",
    b"<Patient>",
    b"<x/>",
    b"{}",
    b"\x00",
    f"<Patient {NS}/><Patient {NS}/>".encode(),
    f"<Patient {NS}>&nbsp;</Patient>".encode(),
    f"<Patient {NS}><gender value='male'/><gender value='male'/></Patient>".encode(),
    f"<Patient {NS}><gender>male</gender></Patient>".encode(),
    f"<Patient {NS}><active value='maybe'/></Patient>".encode(),
    f"<Patient {NS}><birthdate value='2024'/></Patient>".encode(),
    f"<Patient {NS}><multipleBirthInteger value='{'9' * 5000}'/></Patient>".encode(),
    f"<Patient {NS}><multipleBirthInteger value='NaN'/></Patient>".encode(),
    f"<Patient {NS}><text><status value='generated'/></text></Patient>".encode(),
    f"<Patient {NS} id='x'/>".encode(),
    f"<Observation {NS}/>".encode(),
    f"<Patient {NS}>{'<name>' * 100_000}".encode(),
    f"<Patient {NS}>{'<contained><Patient>' * 200}{'</Patient></contained>' * 200}</Patient>".encode(),
    f"<!DOCTYPE Patient [<!ENTITY a 'b'>]><Patient {NS}><gender value='&a;'/></Patient>".encode(),
    f"<!DOCTYPE Patient SYSTEM 'file:///etc/passwd'><Patient {NS}/>".encode(),
    f"<!DOCTYPE Patient [<!ENTITY % p SYSTEM 'http://127.0.0.1:1/'>%p;]><Patient {NS}/>".encode(),
    f"<?xml version='1.0' encoding='utf-7'?><Patient {NS}/>".encode(),
    f"<?xml version='1.1'?><Patient {NS}/>".encode(),
    f"<Patient {NS}/>".encode("utf-16"),
    f"<Patient {NS}><gender value='\xe4'/></Patient>".encode("latin-1"),
    f"<Patient {NS} {_attributes}/>".encode(),
    f"<Patient {NS}><i:include xmlns:i='http://www.w3.org/2001/XInclude' href='/etc/passwd'/></Patient>".encode(),
    b"<f:Patient xmlns:f='urn:other'/>",
]
PATCH_BODIES = [
    b"",
    b"{}",
    b"[1]",
    b'[{"op":"add"}]',
    b'[{"op":"add","path":"/x/y/z","value":1}]',
    b'[{"op":"remove","path":""}]',
    b'[{"op":"replace","path":"","value":null}]',
    b'[{"op":"replace","path":"","value":{"resourceType":"Basic","id":"p"}}]',
    b'[{"op":"copy","from":"","path":"/contained"}]',
    b'[{"op":"add","path":"/name/-1","value":{}}]',
    b'[{"op":"add","path":"/name/' + b"9" * 5000 + b'","value":{}}]',
    b'[{"op":"test","path":"/id","value":"x","value":"p"}]',
    b'[{"op":"add","path":"/~2","value":1}]',
    b"[" * 100_000,
]
MERGE_BODIES = [
    b"",
    b"[]",
    b"null",
    b"1",
    b'{"id":null}',
    b'{"resourceType":"Basic"}',
    b'{"a":' * 100_000,
    b'{"name":{"a":1}}',
]
FORM_BODIES = [
    b"\xff",
    b"a",
    b"%zz=1",
    b"name=%ff",
    b"&&&&",
    b"_count=-1",
    b"name",
    b"x=1&" * 2000,
    b"identifier=" + b"a," * 1_000_000,
]
WRITE_HEADERS = [
    {"If-Match": "W/"},
    {"If-Match": 'W/"' + "9" * 5000 + '"'},
    {"If-Match": "*"},
    {"If-None-Match": 'W/"1"'},
    {"Content-Type": ""},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/fhir+json; charset=utf-16"},
    {"Content-Type": "application/fhir+json; fhirVersion=5.0"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Encoding": "br"},
    {"Content-Encoding": "gzip"},
    {"Content-Encoding": "gzip, gzip"},
]
BUNDLES = [
    {"type": "transaction", "entry": "x"},
    {"type": "transaction", "entry": [1]},
    {"type": "transaction", "entry": [{}]},
    {"type": "transaction", "entry": [{"request": 1}]},
    {"type": "transaction", "entry": [{"request": {"method": "GET"}}]},
    {"type": "transaction", "entry": [{"request": {"method": "get", "url": "Patient"}}]},
    {"type": "transaction", "entry": [{"request": {"method": "POST", "url": "Patient"}}]},
    {"type": "transaction", "entry": [{"request": {"method": "GET", "url": ""}}]},
    {"type": "transaction", "entry": [{"request": {"method": "GET", "url": "../metadata"}}]},
    {"type": "transaction", "entry": [{"request": {"method": "GET", "url": "Patient?%FF"}}]},
    {"type": "transaction", "entry": [{"request": {"method": "GET", "url": "Patient/" + "a/" * 500}}]},
    {"type": "transaction", "entry": [{"request": {"method": "DELETE", "url": "Patient"}}]},
    {"type": "transaction", "entry": [{"request": {"method": "DELETE", "url": "Patient?"}}]},
    {
        "type": "transaction",
        "entry": [{"request": {"method": "PATCH", "url": "Patient/1"}, "resource": {"resourceType": "Binary"}}],
    },
    {
        "type": "transaction",
        "entry": [
            {"request": {"method": "PUT", "url": "Patient/1"}, "resource": {"resourceType": "Patient", "id": []}}
        ],
    },
    {
        "type": "transaction",
        "entry": [{"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": 5}}],
    },
    {
        "type": "transaction",
        "entry": [{"request": {"method": "POST", "url": "Basic"}, "resource": {"resourceType": "Patient"}}],
    },
    {
        "type": "transaction",
        "entry": [
            {"fullUrl": 5, "request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient"}}
        ],
    },
    {"type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient/\u0000"}}]},
    {"type": "batch", "entry": [{"request": {"method": "DELETE", "url": "Patient/\u0000"}}]},
    {"type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient/p/_history/\u0000"}}]},
    {"type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient?name=\u0000"}}]},
    {"type": "document"},
    {"type": 5},
    {},
]


def _bodies():
    for body in JSON_BODIES:
        yield "POST", "Patient", body, JSON
        yield "PUT", "Patient/p", body, JSON
        yield "POST", "", body, JSON
        yield "POST", "Patient/$validate", body or b"{", JSON
    for body in XML_BODIES:
        yield "POST", "Patient", body, XML
        yield "POST", "", body, XML
    yield from (("PATCH", "Patient/p", body, PATCH) for body in PATCH_BODIES)
    yield from (("PATCH", "Patient/p", body, MERGE) for body in MERGE_BODIES)
    yield from (("POST", "Patient/_search", body, FORM) for body in FORM_BODIES)
    good = b'{"resourceType":"Patient","id":"p"}'
    yield from (("PUT", "Patient/p", good, JSON | headers) for headers in WRITE_HEADERS)
    for bundle in BUNDLES:
        yield "POST", "", json.dumps({"resourceType": "Bundle", **bundle}).encode(), JSON


@pytest.fixture
async def patient(client):
    await client.put("Patient/p", json={"resourceType": "Patient", "id": "p"})


async def test_no_body_of_the_corpus_makes_the_server_fail_or_wait(client, patient):
    wrong = []
    for number, (method, path, body, headers) in enumerate(_bodies()):
        started = time.perf_counter()
        response = await client.request(method, path, content=body, headers=headers)
        took = time.perf_counter() - started
        told = response.status_code < 400 or b"OperationOutcome" in response.content
        if response.status_code >= 500 or took > _slow_s or not told:
            wrong.append((number, method, path, body[:80], response.status_code, round(took, 2)))
    assert wrong == []


async def test_every_malformed_json_body_is_a_4xx(client, patient):
    for body in JSON_BODIES:
        response = await client.post("Patient", content=body, headers=JSON)
        assert (body[:80], 400 <= response.status_code < 500) == (body[:80], True)
        assert response.json()["issue"][0]["diagnostics"]


async def test_every_malformed_xml_body_is_a_4xx(client, patient):
    for body in XML_BODIES:
        response = await client.post("Patient", content=body, headers=XML | {"Accept": "application/fhir+xml"})
        assert (body[:80], 400 <= response.status_code < 500) == (body[:80], True)
        assert xml.decode_resource(response.content)["issue"][0]["diagnostics"]


async def test_syntax_faults_are_told_with_line_and_column(client):
    for body, place in (
        (b'{"resourceType": "Patient",\n  "active": ?}', "line 2, column 13"),
        (b'{"resourceType": "Patient",\n"gender": "male",\n"gender": "female"}', "line 3, column 1"),
        (b'{"resourceType": "Patient", "active": NaN}', "line 1, column 39"),
    ):
        response = await client.post("Patient", content=body, headers=JSON)
        assert (response.status_code, place in response.text) == (400, True), response.text


async def test_a_gzip_bomb_is_refused_before_it_unfolds(client):
    bomb = gzip.compress(gzip.compress(b"\x00" * 200_000_000, 9), 9)
    for body in (bomb, gzip.compress(b" " * 200_000_000, 9)):
        started = time.perf_counter()
        response = await client.post("Patient", content=body, headers=JSON | {"Content-Encoding": "gzip"})
        assert response.status_code in (400, 413)
        assert time.perf_counter() - started < _slow_s


async def test_random_changes_to_a_good_request_never_make_a_5xx(client):
    chance = random.Random(7)  # noqa: S311 - the same requests every time
    good = json.dumps({
        "resourceType": "Patient", "id": "p", "active": True, "name": [{"family": "a", "given": ["b"]}],
        "birthDate": "1961-03-12", "contained": [{"resourceType": "Basic", "code": {"text": "x"}}],
    }).encode()  # fmt: skip
    for _ in range(300):
        body = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(body))
            kind = chance.randrange(3)
            if kind == 0:
                body[at] = chance.randrange(256)
            elif kind == 1:
                del body[at : at + chance.randint(1, 5)]
            else:
                body[at:at] = chance.choice((b"{", b"}", b"[", b'"', b":", b",", b"\\u", b"null", b"1e9", b"\x00"))
        response = await client.put("Patient/p", content=bytes(body), headers=JSON)
        assert response.status_code < 500, bytes(body)
