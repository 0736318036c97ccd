"""The records arrive by themselves: ADT, ORU, MDM and the CT, each with what it must lead to (steps 1 to 4 and 10)."""

import asyncio
from typing import Any

from konsil.demo.server import DemoError
from konsil.demo.story import MRN, SO, Story, api_of


async def admission(story: Story) -> None:
    """Step 1: ADT^A01, A03, A08."""
    console, lakeside = story.console, story.lakeside
    console.step("1", "LAKESIDE's interface engine tells of a stay (ADT)")
    await story.hl7(lakeside.admitted())
    encounters = await story.system.search("/Encounter?patient.identifier=" + f"{MRN}|00483921")
    console.became(f"Patient, Encounter {encounters[0]['status'] if encounters else 'absent'}, NK1, allergy, diagnosis")
    console.check("Encounter is in-progress after A01", [e["status"] for e in encounters] == ["in-progress"])
    await story.hl7(lakeside.discharged())
    encounters = await story.system.search("/Encounter?patient.identifier=" + f"{MRN}|00483921")
    console.check("the same Encounter is finished after A03", [e["status"] for e in encounters] == ["finished"])
    await story.hl7(lakeside.moved_to_providence())
    patients = await story.system.search(f"/Patient?identifier={MRN}|00483921")
    console.check(
        "there is one Patient, resident of RI", len(patients) == 1 and patients[0]["address"][0]["state"] == "RI"
    )
    if not patients:
        raise DemoError("The patient did not arrive; nothing further can be shown.")
    story.patient = patients[0]


async def results(story: Story) -> None:
    """Step 2: ORU^R01, pathology and laboratory, and the same message again."""
    console = story.console
    console.step("2", "Pathology and laboratory results arrive (ORU)")
    await story.hl7(story.lakeside.pathology())
    await story.hl7(story.lakeside.laboratory())
    patient = story.patient["id"]
    reports = await story.system.search(f"/DiagnosticReport?patient={patient}")
    values = await story.system.search(f"/Observation?patient={patient}&code=http://loinc.org|2160-0")
    console.became(
        f"{len(reports)} DiagnosticReports; creatinine {values[0]['valueQuantity']['value'] if values else '?'} mg/dL"
    )
    raw = await story.system.raw(f"/Observation?patient={patient}&code=http://loinc.org|2160-0")
    console.check("the value is exact: 0.80, not 0.8", '"value":0.80' in raw.text)
    before = await story.count(f"/Observation?patient={patient}")
    await story.hl7(story.lakeside.laboratory())
    console.check(
        "the resent message had no second effect", await story.count(f"/Observation?patient={patient}") == before
    )
    console.check("there is still one Patient", await story.count(f"/Patient?identifier={MRN}|00483921") == 1)


async def note(story: Story, pdf: bytes) -> None:
    """Step 3: MDM^T02 with an embedded PDF."""
    console = story.console
    console.step("3", "The oncologist's consult note arrives with a PDF (MDM)")
    await story.hl7(story.lakeside.consult_note(pdf))
    documents = await story.system.search(f"/DocumentReference?patient={story.patient['id']}")
    kinds = [content["attachment"].get("contentType") for d in documents for content in d["content"]]
    console.became(
        f"DocumentReference {documents[0]['status'] if documents else 'absent'} with {', '.join(map(str, kinds))}"
    )
    console.check("the note is one current DocumentReference", [d["status"] for d in documents] == ["current"])
    urls = [
        content["attachment"].get("url")
        for d in documents
        for content in d["content"]
        if content["attachment"].get("contentType") == "application/pdf"
    ]
    if console.check("its PDF is kept as a Binary", len(urls) == 1, urls):
        stored = await story.system.raw("/" + urls[0].split("/fhir/")[-1], "application/pdf")
        console.check("the PDF's bytes are those that were sent", stored.content == pdf)


async def bad_message(story: Story) -> None:
    """A message that cannot be filed is refused with a reason and kept."""
    console = story.console
    console.step("·", "A message without PID-3 is refused, and kept")
    await story.hl7(story.lakeside.without_patient_id(), expected="AE")
    listed = story.server.command("messages", "list", "--status", "failed")
    console.note("konsil messages list --status failed")
    for line in listed.splitlines():
        console.note(line)
    console.check("it is listed with its reason, to be replayed after a fix", "LKS-BAD-1" in listed)


async def images(story: Story) -> None:
    """Step 4: the study is pulled from Orthanc and readable through Konsil's own WADO-RS."""
    console = story.console
    console.step("4", "The CT is found in the hospital's PACS and pulled (DICOMweb)")
    if story.imaging is None:
        console.note("Orthanc is not installed here: the imaging steps are left out. Everything else goes on.")
        await waive_images(story)
        return
    total = story.imaging
    path = f"/ImagingStudy?patient={story.patient['id']}"
    console.sent("QIDO", "GET …/studies?PatientID=00483921")
    with console.progress("instances pulled", total) as bar:
        found: list[dict[str, Any]] = []
        for _ in range(600):
            found = await story.system.search(path)
            bar.to(total if found else min(total - 1, pulled(story)), total)
            if found:
                break
            await asyncio.sleep(0.1)
    if not console.check("one ImagingStudy exists", len(found) == 1, len(found)):
        return
    study = found[0]
    console.became(
        f"ImagingStudy {study.get('description', '')}: "
        f"{study['numberOfSeries']} series, {study['numberOfInstances']} instances"
    )
    console.check("every instance arrived", study["numberOfInstances"] == total, study["numberOfInstances"])
    uid = next(item["value"] for item in study["identifier"] if item.get("system") == "urn:dicom:uid").removeprefix(
        "urn:oid:"
    )
    root = f"{story.server.url}/dicomweb/studies/{uid}"
    metadata = (await story.system.raw(f"{root}/metadata", "application/dicom+json")).json()
    console.check("its metadata is readable through Konsil's own WADO-RS", len(metadata) == total, len(metadata))
    stranger = await api_of(story, "Patient/nobody", "patient/*.rs")
    hidden = (await stranger.raw(f"{root}/metadata", "application/dicom+json")).status_code
    console.check("a stranger's token finds no such study: 404", hidden == 404, hidden)
    aside = story.server.command("studies", "list", "--quarantined")
    console.note("konsil studies list --quarantined")
    console.note(aside)
    shown = await story.count(f"/ImagingStudy?patient={story.patient['id']}")
    held = "birth-date-mismatch" in aside and shown == 1
    console.check("the study with another birth date under her number is quarantined", held, shown)


def pulled(story: Story) -> int:
    """Return how many instances have been stored so far."""
    folder = story.server.folder / "data" / "blobs"
    return sum(1 for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


async def waive_images(story: Story) -> None:
    """Without a PACS the coordinator waives the row, with a reason."""
    task = (await story.rows())["ct-chest"]
    task["status"] = "cancelled"
    task["statusReason"] = {
        "coding": [{"system": f"{SO}/so-reason", "code": "waived"}],
        "text": "No archive in this demo.",
    }
    answer = await story.coordinator.put(task)
    story.console.check(
        "the coordinator waives the images, with a reason", answer.status_code == 200, answer.text[:200]
    )


async def sequencing(story: Story) -> None:
    """Step 10: the missing report arrives and closes its row by itself."""
    console = story.console
    console.step("10", "The missing NGS report arrives and closes its row by itself")
    await story.hl7(story.lakeside.sequencing())
    rows: dict[str, dict[str, Any]] = {}
    for _ in range(300):
        rows = await story.rows()
        if rows.get("ngs-report", {}).get("status") == "completed":
            break
        await asyncio.sleep(0.1)
    task = rows.get("ngs-report", {})
    console.check("record-request ngs-report is completed", task.get("status") == "completed", task.get("status"))
    provenance = await story.system.search(f"/Provenance?target=Task/{task.get('id')}")
    console.check("with Provenance", len(provenance) >= 1, len(provenance))
