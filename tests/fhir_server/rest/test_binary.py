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
