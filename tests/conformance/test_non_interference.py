"""What a principal may not see changes nothing of what it is told: status, headers, body and counts.

The requests are sent twice, before and after hidden resources appear that match them. SMART App Launch, patient scopes:
https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

import pytest

MRN = "urn:mrn"
_silent = {"date", "x-request-id", "content-length"}


def _patient(id, **more):
    identifier = [{"system": MRN, "value": "1"}]
    return {"resourceType": "Patient", "id": id, "identifier": identifier, "gender": "female", **more}


def _observation(id, patient, **more):
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "718-7"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2026-03-01",
        "valueQuantity": {"value": 7.1, "unit": "g/dL", "system": "http://unitsofmeasure.org", "code": "g/dL"},
        **more,
    }


def _bundle(kind, *urls):
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


GETS = (
    "Patient",
    "Patient?_total=accurate",
    "Patient?_summary=count",
    f"Patient?identifier={MRN}|1&_total=accurate",
    "Patient?_id=hidden",
    "Patient?_sort=_id",
    "Patient?_sort=-_lastUpdated&_count=1",
    "Patient?gender=female&_count=1",
    "Patient?_has:Observation:subject:status=final",
    "Patient?_id=mine&_revinclude=Observation:focus",
    "Observation?_total=accurate",
    "Observation?_count=1",
    "Observation?_sort=-date&_count=1",
    "Observation?code=718-7&_summary=count",
    "Observation?subject=Patient/hidden",
    "Observation?subject=hidden",
    "Observation?focus=Patient/hidden",
    f"Observation?subject:identifier={MRN}|1",
    "Observation?subject:Patient.gender=female",
    f"Observation?subject:Patient.identifier={MRN}|2&_total=accurate",
    "Observation?value-quantity=gt7",
    "Observation?date=2026-03",
    "Observation?_include=Observation:subject",
    "Observation?_include=Observation:focus&_count=1",
    "Observation?_include=Observation:*",
    "Patient/hidden",
    "Patient/hidden/_history",
    "Patient/hidden/_history/1",
    "Patient/deleted",
    "Patient/deleted/_history",
    "Observation/hidden",
    "Observation/hidden/_history/1",
)
CONDITIONS = (
    ("GET", "Patient/hidden", {"If-None-Match": 'W/"1"'}),
    ("DELETE", "Observation/hidden", {}),
    ("DELETE", "Observation/hidden", {"If-Match": 'W/"1"'}),
    ("DELETE", "Observation?_id=hidden", {}),
    ("DELETE", f"Patient?identifier={MRN}|2", {}),
    ("HEAD", "Patient/hidden", {}),
)


@pytest.fixture
async def patient(client, issue_token):
    await client.put("Patient/mine", json=_patient("mine"))
    await client.put("Observation/mine", json=_observation("mine", "mine", focus=[{"reference": "Patient/hidden"}]))
    return {"Authorization": f"Bearer {await issue_token('Patient/mine', 'patient/*.cruds')}"}


async def _everything(client, headers):
    """Return all that the principal is told, request by request."""
    told = {}
    for url in GETS:
        told[url] = await client.get(url, headers=headers)
        told["batch", url] = await client.post("", json=_bundle("batch", url), headers=headers)
        told["transaction", url] = await client.post("", json=_bundle("transaction", url), headers=headers)
    for method, url, more in CONDITIONS:
        told[method, url, *more] = await client.request(method, url, headers=headers | more)
    return {request: _comparable(response) for request, response in told.items()}


def _comparable(response):
    headers = {name: value for name, value in response.headers.items() if name not in _silent}
    body = response.json() if response.content else None
    return response.status_code, headers, _without_cursors(body)


def _without_cursors(value):
    """Drop what a cursor holds, which is sealed, and keep that there is one."""
    if isinstance(value, dict):
        return {
            name: item.partition("_cursor=")[0] if name == "url" and isinstance(item, str) else _without_cursors(item)
            for name, item in value.items()
        }
    return [_without_cursors(item) for item in value] if isinstance(value, list) else value


async def test_hidden_resources_change_nothing_of_what_a_patient_is_told(client, patient):
    before = await _everything(client, patient)
    await client.put("Patient/hidden", json=_patient("hidden", identifier=[{"system": MRN, "value": "2"}]))
    await client.put("Patient/twin", json=_patient("twin"))
    await client.put("Patient/deleted", json=_patient("deleted"))
    await client.delete("Patient/deleted")
    for number in range(3):
        await client.put(f"Observation/other-{number}", json=_observation(f"other-{number}", "hidden"))
    focus = [{"reference": "Patient/mine"}]
    await client.put("Observation/hidden", json=_observation("hidden", "hidden", focus=focus))
    after = await _everything(client, patient)
    assert {request for request in before if before[request] != after[request]} == set()
    assert (await client.get("Observation/hidden")).status_code == 200
