"""The seventeen steps of Maria Alvarez's case as far as this release goes, each with what it must lead to."""

import asyncio
import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from konsil.demo import request
from konsil.demo.api import Api
from konsil.demo.console import Console
from konsil.demo.hospital import Inbox, send
from konsil.demo.messages import Lakeside, Message
from konsil.demo.server import DemoError, Server

MRN = "https://lakeside.example/mrn"
SO = f"{request.BASE}/CodeSystem"
RAO_NPI = "http://hl7.org/fhir/sid/us-npi|1234567893"


@dataclass
class Story:
    """One run: the console, the server, the hospital, the users' views of the API, and what was learnt on the way."""

    console: Console
    server: Server
    lakeside: Lakeside
    inbox: Inbox
    system: Api
    coordinator: Api
    imaging: "int | None"
    apis: dict[str, Api] = field(default_factory=dict)
    patient: dict[str, Any] = field(default_factory=dict)
    case: str = ""
    request: str = ""
    report: dict[str, Any] = field(default_factory=dict)

    async def hl7(self, message: Message, expected: str = "AA") -> None:
        """Send one message and show its acknowledgement."""
        self.console.sent("MLLP", f"{message.title}  {message.control_id}  {len(message.raw):,} bytes")
        code, text = await send(self.server.mllp_port, message)
        self.console.received("MLLP", f"{code} {text}".rstrip())
        self.console.check(f"{message.control_id} is answered {expected}", code == expected, code)

    async def count(self, path: str) -> int:
        """Return how many resources a search matches."""
        joint = "&" if "?" in path else "?"
        return int((await self.system.get(f"{path}{joint}_summary=count&_total=accurate")).get("total", -1))

    async def state(self, wanted: str, timeout_s: float = 30) -> bool:
        """Wait until the case is in ``status/businessStatus`` and show it."""
        found = await self.system.wait(
            f"/Task?_id={self.case}", lambda tasks: _state(tasks) == wanted, timeout_s=timeout_s
        )
        return self.console.check(f"the case is {wanted}", _state(found) == wanted, _state(found))

    async def rows(self) -> dict[str, dict[str, Any]]:
        """Return the record-request Tasks of the case by manifest row."""
        tasks = await self.system.search(f"/Task?part-of=Task/{self.case}&code={SO}/so-task|record-request&_count=50")
        return {_requirement(task): task for task in tasks}


def _state(tasks: list[dict[str, Any]]) -> str:
    if not tasks:
        return "absent"
    coding = tasks[0].get("businessStatus", {}).get("coding", [{}])
    return "/".join(filter(None, (tasks[0]["status"], coding[0].get("code"))))


def _requirement(task: dict[str, Any]) -> str:
    url = f"{request.BASE}/StructureDefinition/so-requirement"
    return next((str(item["valueCode"]) for item in task.get("extension", []) if item["url"] == url), "?")


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


async def submission(story: Story) -> None:
    """Steps 7 to 9: the physician submits, eligibility is decided, the manifest shows what is missing."""
    console = story.console
    console.step("8", "Dr Rao asks HARBOR for a second opinion (one FHIR transaction)")
    rao = await story.system.search(f"/Practitioner?identifier={RAO_NPI}")
    if not console.check("Dr Rao is known from the messages, once", len(rao) == 1, len(rao)):
        raise DemoError("The referring physician did not arrive with the messages.")
    requester = f"Practitioner/{rao[0]['id']}"
    physician = await story_api(story, requester, "user/*.cruds")
    bundle = request.submission(story.patient, requester, datetime.now().astimezone(), placer="PL-5567")
    console.sent(
        "FHIR", f"POST /fhir  transaction: {', '.join(entry['resource']['resourceType'] for entry in bundle['entry'])}"
    )
    answer = await physician.post("", bundle)
    console.received("FHIR", f"{answer.status_code}")
    if not console.check("the transaction is accepted", answer.status_code == 200, answer.text[:300]):
        raise DemoError("The case could not be submitted.")
    places = {
        entry["response"]["location"].split("/")[-4]: entry["response"]["location"].split("/")[-3]
        for entry in answer.json()["entry"]
    }
    story.case, story.request = places["Task"], places["ServiceRequest"]

    console.step("9", "Eligibility is decided from data; the record manifest becomes Tasks")
    await story.state("accepted/records-gathering")
    guidance = await story.system.search(f"/GuidanceResponse?patient={story.patient['id']}")
    console.became(
        f"GuidanceResponse {guidance[0]['status'] if guidance else 'absent'}: adult, resident of RI, not in hospital, not an emergency"
    )
    rows = await story.system.wait(
        f"/Task?part-of=Task/{story.case}&code={SO}/so-task|record-request&_count=50",
        lambda tasks: len([t for t in tasks if t["status"] == "completed"]) >= 3,
    )
    for task in rows:
        console.note(f"{_requirement(task):<18} {task['status']}")
    done = {_requirement(task) for task in rows if task["status"] == "completed"}
    console.check(
        "what had arrived before closed its rows by itself", {"pathology-report", "consult-note", "labs"} <= done, done
    )
    console.check("the NGS report is still missing", "ngs-report" not in done)


async def ineligible(story: Story) -> None:
    """Step 1, variant: a resident of Massachusetts is refused."""
    console = story.console
    console.step("9b", "A resident of Massachusetts is refused, with the reason")
    await story.hl7(story.lakeside.massachusetts_patient())
    patients = await story.system.search(f"/Patient?identifier={MRN}|00512277")
    rao = await story.system.search(f"/Practitioner?identifier={RAO_NPI}")
    bundle = request.submission(
        patients[0], f"Practitioner/{rao[0]['id']}", datetime.now().astimezone(), placer="PL-5568"
    )
    answer = await story.system.post("", bundle)
    task = next(
        entry["response"]["location"].split("/")[-3]
        for entry in answer.json()["entry"]
        if "/Task/" in entry["response"]["location"]
    )
    found = await story.system.wait(f"/Task?_id={task}", lambda tasks: tasks and tasks[0]["status"] == "rejected")
    console.received("FHIR", f"Task {_state(found)}: {found[0].get('statusReason', {}).get('text', '')}")
    console.check("the case is rejected/ineligible", _state(found) == "rejected/ineligible", _state(found))


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
        f"ImagingStudy {study.get('description', '')}: {study['numberOfSeries']} series, {study['numberOfInstances']} instances"
    )
    console.check("every instance arrived", study["numberOfInstances"] == total, study["numberOfInstances"])
    uid = next(item["value"] for item in study["identifier"] if item.get("system") == "urn:dicom:uid").removeprefix(
        "urn:oid:"
    )
    root = f"{story.server.url}/dicomweb/studies/{uid}"
    metadata = (await story.system.raw(f"{root}/metadata", "application/dicom+json")).json()
    console.check("its metadata is readable through Konsil's own WADO-RS", len(metadata) == total, len(metadata))
    stranger = await story_api(story, "Patient/nobody", "patient/*.rs")
    hidden = (await stranger.raw(f"{root}/metadata", "application/dicom+json")).status_code
    console.check("a stranger's token finds no such study: 404", hidden == 404, hidden)
    quarantined = await story.count("/ImagingStudy?identifier=https://lakeside.example/accession|A26-11999")
    console.check("the study with another birth date under her number is quarantined", quarantined == 0)


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


async def offer(story: Story) -> None:
    """Steps 12 and 13: complete, due date, offer, decline, accept."""
    console = story.console
    console.step("12", "Records complete: the clock starts, a specialist is asked")
    await story.state("accepted/offered", timeout_s=90)
    task = await story.system.get(f"/Task/{story.case}")
    due = task.get("restriction", {}).get("period", {}).get("end", "")
    console.became(f"due {due[:16]} (five business days of HARBOR's calendar)")
    console.check(
        "the due date lies on the business calendar", bool(due) and datetime.fromisoformat(due).weekday() < 5, due
    )

    console.step("13", "Dr Lin declines, Dr Cole accepts; what is not allowed is refused")
    answer = await story.coordinator.put({**task, "status": "completed"})
    console.check("completing the case by hand is refused with 422", answer.status_code == 422, answer.status_code)
    lin = await review_of(story, "lin")
    lin["status"] = "rejected"
    lin["statusReason"] = {"text": "Conflict of interest: I know the patient's family."}
    answer = await (await story_api(story, "Practitioner/james-lin", "user/Task.rus")).put(lin)
    console.sent("FHIR", f"PUT /fhir/Task/…  rejected, by Dr Lin → {answer.status_code}")
    cole = await review_of(story, "cole")
    cole["status"] = "accepted"
    api = await story_api(story, "Practitioner/hannah-cole", "user/*.rs user/Task.u user/QuestionnaireResponse.cu")
    answer = await api.put(cole)
    console.sent("FHIR", f"PUT /fhir/Task/…  accepted, by Dr Cole → {answer.status_code}")
    await story.state("in-progress/in-review")


async def review_of(story: Story, who: str) -> dict[str, Any]:
    """Return the open specialist-review Task owned by ``who``."""

    def theirs(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [t for t in tasks if who in t.get("owner", {}).get("reference", "") and t["status"] == "requested"]

    path = f"/Task?part-of=Task/{story.case}&code={SO}/so-task|specialist-review&_count=50"
    found = theirs(await story.system.wait(path, theirs))
    if not story.console.check(f"a specialist-review Task asks Dr {who.capitalize()}", len(found) == 1, len(found)):
        raise DemoError("The offer did not come.")
    return found[0]


async def report(story: Story) -> None:
    """Step 16: an unanswered question is refused; the complete opinion becomes a signed report."""
    console = story.console
    console.step("16", "Dr Cole writes her opinion; it becomes the signed report")
    api = await story_api(story, "Practitioner/hannah-cole", "user/*.rs user/Task.u user/QuestionnaireResponse.cu")
    subject, order = f"Patient/{story.patient['id']}", f"ServiceRequest/{story.request}"
    now = datetime.now().astimezone()
    partial = {n: text for n, text in request.ANSWERS.items() if n != 3}
    answer = await api.post(
        "/QuestionnaireResponse", request.opinion(order, subject, "Practitioner/hannah-cole", now, partial)
    )
    issue = answer.json().get("issue", [{}])[0]
    console.received("FHIR", f"{answer.status_code} {issue.get('diagnostics', '')}")
    console.check("an unanswered question is refused with 422", answer.status_code == 422, answer.status_code)
    whole = request.opinion(order, subject, "Practitioner/hannah-cole", now, request.ANSWERS)
    answer = await api.post("/QuestionnaireResponse", whole)
    console.sent("FHIR", f"POST /fhir/QuestionnaireResponse  all questions answered → {answer.status_code}")
    console.check("the complete opinion is accepted", answer.status_code == 201, answer.text[:300])
    found = await story.system.wait(f"/DiagnosticReport?based-on=ServiceRequest/{story.request}&status=final", bool)
    if not console.check("a final DiagnosticReport exists", len(found) == 1, len(found)):
        raise DemoError("The report was not made.")
    story.report = found[0]
    conclusion = story.report.get("conclusionCode", [{}])[0].get("coding", [{}])[0]
    console.became(
        f"DiagnosticReport {story.report['status']}, outcome {conclusion.get('code')}, PDF, document Bundle, Provenance.signature"
    )
    verified = story.server.command("report", "verify", f"DiagnosticReport/{story.report['id']}")
    console.note(f"konsil report verify → {verified.splitlines()[-1] if verified else ''}")
    console.check("the signature verifies", "valid" in verified.lower())


async def delivery(story: Story) -> None:
    """Step 17: ORU^R01 and MDM^T02 into the physician's inbox, once each, although the receiver was down."""
    console = story.console
    console.step("17", "The report goes into Dr Rao's results inbox, although the interface was down")
    console.note("the hospital's receiver (python-hl7) is down; Konsil retries")
    await asyncio.sleep(2)
    console.check("nothing was delivered to a closed port", not story.inbox.messages)
    await story.inbox.start()
    for _ in range(600):
        if story.inbox.of("ORU^R01") and story.inbox.of("MDM^T02"):
            break
        await asyncio.sleep(0.1)
    for message in story.inbox.messages:
        console.received("MLLP", f"{message.event}  {message.control_id}  PDF {len(message.pdf or b''):,} bytes")
    pdf = await report_pdf(story)
    hashes = {hashlib.sha256(m.pdf or b"").hexdigest() for m in story.inbox.messages}
    console.check("ORU^R01 came once", len(story.inbox.of("ORU^R01")) == 1, len(story.inbox.of("ORU^R01")))
    console.check("MDM^T02 came once", len(story.inbox.of("MDM^T02")) == 1, len(story.inbox.of("MDM^T02")))
    console.check("both carry the very PDF of the DiagnosticReport", hashes == {hashlib.sha256(pdf).hexdigest()})
    await story.state("completed/delivered", timeout_s=60)
    order = await story.system.wait(
        f"/ServiceRequest?_id={story.request}", lambda r: r and r[0]["status"] == "completed"
    )
    console.check("the ServiceRequest is completed", order[0]["status"] == "completed", order[0]["status"])
    task = await story.system.get(f"/Task/{story.case}")
    console.check("the Task has output", bool(task.get("output")))


async def report_pdf(story: Story) -> bytes:
    """Return the PDF of the DiagnosticReport as FHIR gives it."""
    form = story.report["presentedForm"][0]
    if "data" in form:
        return base64.b64decode(form["data"])
    return (await story.system.raw("/" + form["url"].split("/fhir/")[-1], "application/pdf")).content


async def timeline(story: Story) -> None:
    """Print the history of the case from its Provenance and the Task's versions."""
    story.console.step("·", "The case's timeline")
    history = await story.system.get(f"/Task/{story.case}/_history?_count=100")
    rows = []
    for entry in reversed(history.get("entry", [])):
        task = entry.get("resource")
        if task:
            rows.append((task["meta"]["lastUpdated"][11:19], _state([task]), f"version {task['meta']['versionId']}"))
    story.console.timeline(rows)


async def sign_in_link(story: Story, page: str) -> str:
    """Return a link that signs a browser in once, as the coordinator, and leads to ``page``."""
    answer = await story.coordinator.post(f"{story.server.url}/app/login/link?next={page}", {})
    answer.raise_for_status()
    return str(answer.json()["url"])


async def story_api(story: Story, reference: str, scope: str) -> Api:
    """Return the API as seen by a FHIR user; one token for each user and scope."""
    key = json.dumps([reference, scope])
    if key not in story.apis:
        token = await asyncio.to_thread(story.server.token, reference, scope)
        story.apis[key] = Api(f"{story.server.url}/fhir", token)
    return story.apis[key]
