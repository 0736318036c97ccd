import base64

PDF = b"%PDF-1.7\n\x00\xff synthetic"
RESOURCE = {
    "resourceType": "Binary",
    "contentType": "application/pdf",
    "securityContext": {"reference": "Patient/binary-owner"},
    "data": base64.b64encode(PDF).decode(),
}
FHIR = {"Content-Type": "application/fhir+json"}


async def test_a_binary_is_read_as_its_content_unless_fhir_is_asked_for(client):
    created = await client.post("Binary", json=RESOURCE, headers=FHIR)
    assert created.status_code == 201, created.text
    path = f"Binary/{created.json()['id']}"
    for accept in ("*/*", "application/pdf"):
        content = await client.get(path, headers={"Accept": accept})
        assert content.content == PDF
        assert content.headers["content-type"] == "application/pdf"
    for accept in ("application/fhir+json", "application/json"):
        assert (await client.get(path, headers={"Accept": accept})).json()["data"] == RESOURCE["data"]
    assert (await client.get(f"{path}?_format=json")).json()["resourceType"] == "Binary"


async def test_content_is_served_so_that_no_browser_runs_it(client):
    page = base64.b64encode(b"<script>alert(1)</script>").decode()
    created = await client.post("Binary", json=RESOURCE | {"contentType": "text/html", "data": page}, headers=FHIR)
    content = await client.get(f"Binary/{created.json()['id']}", headers={"Accept": "text/html"})
    assert content.headers["x-content-type-options"] == "nosniff"
    assert content.headers["content-security-policy"].startswith("sandbox")
    assert content.headers["content-disposition"] == "attachment"


async def test_any_content_type_can_be_posted_and_put_as_content(client):
    headers = {"Content-Type": "application/pdf", "X-Security-Context": "Patient/binary-owner"}
    created = await client.post("Binary", content=PDF, headers=headers)
    assert created.status_code == 201
    assert created.json()["securityContext"] == {"reference": "Patient/binary-owner"}
    path = f"Binary/{created.json()['id']}"
    assert (await client.get(path, headers={"Accept": "application/pdf"})).content == PDF
    updated = await client.put(path, content=PDF + b"2", headers={"Content-Type": "application/pdf"})
    assert updated.status_code == 200
    assert (await client.get(path)).content == PDF + b"2"


async def test_a_patient_reads_the_binaries_of_their_own_context_only(client, issue_token):
    created = await client.post("Binary", json=RESOURCE, headers=FHIR)
    assert created.status_code == 201, created.text
    path = f"Binary/{created.json()['id']}"
    for patient, status in (("Patient/binary-owner", 200), ("Patient/stranger", 404)):
        token = await issue_token(patient, "patient/*.rs")
        answer = await client.get(path, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status


async def test_a_version_of_content_is_content_as_well(client):
    created = await client.post("Binary", content=PDF, headers={"Content-Type": "application/pdf"})
    path = f"Binary/{created.json()['id']}"
    await client.put(path, content=PDF + b"2", headers={"Content-Type": "application/pdf"})
    first = await client.get(f"{path}/_history/1", headers={"Accept": "application/pdf"})
    assert (first.content, first.headers["etag"]) == (PDF, 'W/"1"')
    resource = await client.get(f"{path}/_history/2", headers={"Accept": "application/fhir+json"})
    assert resource.json()["meta"]["versionId"] == "2"


async def test_content_the_client_has_already_is_not_sent_again(client):
    created = await client.post("Binary", content=PDF, headers={"Content-Type": "application/pdf"})
    path = f"Binary/{created.json()['id']}"
    content = await client.get(path, headers={"Accept": "application/pdf"})
    for name, value in (
        ("If-None-Match", content.headers["etag"]),
        ("If-Modified-Since", content.headers["last-modified"]),
    ):
        again = await client.get(path, headers={"Accept": "application/pdf", name: value})
        assert (again.status_code, again.content) == (304, b"")


async def test_the_security_context_travels_in_its_header_both_ways(client):
    headers = {"Content-Type": "text/plain", "X-Security-Context": "Patient/binary-owner"}
    created = await client.post("Binary", content=b"words", headers=headers)
    content = await client.get(f"Binary/{created.json()['id']}", headers={"Accept": "text/plain"})
    assert content.headers["x-security-context"] == "Patient/binary-owner"


async def test_empty_content_is_a_binary_without_data(client):
    created = await client.post("Binary", content=b"", headers={"Content-Type": "text/plain"})
    assert created.status_code == 201
    assert "data" not in created.json()
    assert (await client.get(f"Binary/{created.json()['id']}", headers={"Accept": "text/plain"})).content == b""


async def test_the_content_type_of_content_cannot_smuggle_a_header(client):
    binary = RESOURCE | {"contentType": "text/plain\r\nSet-Cookie: a=b"}
    created = await client.post("Binary", json=binary, headers=FHIR)
    assert created.status_code == 422


async def test_content_can_be_put_where_nothing_is_and_only_there(client):
    headers = {"Content-Type": "text/plain", "If-None-Match": "*"}
    assert (await client.put("Binary/only-once", content=b"1", headers=headers)).status_code == 201
    assert (await client.put("Binary/only-once", content=b"2", headers=headers)).status_code == 412
