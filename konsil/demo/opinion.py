"""The case: submitted, decided, offered, answered, signed, delivered (steps 8 to 17)."""

import asyncio
import hashlib
from datetime import datetime
from typing import Any

import httpx

from konsil.demo import request
from konsil.demo.messages import EASTERN
from konsil.demo.server import DemoError
from konsil.demo.story import MRN, RAO_NPI, SO, Story, api_of, places, report_pdf, requirement, state_of


async def submission(story: Story) -> None:
    """Steps 7 to 9: the physician submits, eligibility is decided, the manifest shows what is missing."""
    console = story.console
    console.step("8", "Dr Rao asks HARBOR for a second opinion (one FHIR transaction)")
    rao = await story.system.search(f"/Practitioner?identifier={RAO_NPI}")
    if not console.check("Dr Rao is known from the messages, once", len(rao) == 1, len(rao)):
        raise DemoError("The referring physician did not arrive with the messages.")
    requester = f"Practitioner/{rao[0]['id']}"
    physician = await api_of(story, requester, "user/*.cruds")
    bundle = request.submission(story.patient, requester, datetime.now(EASTERN), placer="PL-5567")
    console.sent(
        "FHIR", f"POST /fhir  transaction: {', '.join(entry['resource']['resourceType'] for entry in bundle['entry'])}"
    )
    answer = await physician.post("", bundle)
    console.received("FHIR", f"{answer.status_code}")
    if not console.check("the transaction is accepted", answer.status_code == 200, answer.text[:300]):
        raise DemoError("The case could not be submitted.")
    made = places(answer)
    story.case, story.request = made["Task"], made["ServiceRequest"]

    console.step("9", "Eligibility is decided from data; the record manifest becomes Tasks")
    await story.state("accepted/records-gathering")
    guidance = await story.system.search(f"/GuidanceResponse?patient={story.patient['id']}")
    console.became(f"GuidanceResponse {guidance[0]['status'] if guidance else 'absent'}: adult, in RI, not in hospital")
    rows = await story.system.wait(
        f"/Task?part-of=Task/{story.case}&code={SO}/so-task|record-request&_count=50",
        lambda tasks: len([t for t in tasks if t["status"] == "completed"]) >= 3,
    )
    for task in rows:
        console.note(f"{requirement(task):<18} {task['status']}")
    done = {requirement(task) for task in rows if task["status"] == "completed"}
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
    bundle = request.submission(patients[0], f"Practitioner/{rao[0]['id']}", datetime.now(EASTERN), placer="PL-5568")
    answer = await story.system.post("", bundle)
    if not console.check("the transaction is accepted", answer.status_code == httpx.codes.OK, answer.text[:300]):
        return
    task = places(answer)["Task"]
    found = await story.system.wait(f"/Task?_id={task}", lambda tasks: tasks and tasks[0]["status"] == "rejected")
    console.received("FHIR", f"Task {state_of(found)}: {found[0].get('statusReason', {}).get('text', '')}")
    console.check("the case is rejected/ineligible", state_of(found) == "rejected/ineligible", state_of(found))


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
    answer = await (await api_of(story, "Practitioner/james-lin", "user/Task.rus")).put(lin)
    console.sent("FHIR", f"PUT /fhir/Task/…  rejected, by Dr Lin → {answer.status_code}")
    cole = await review_of(story, "cole")
    cole["status"] = "accepted"
    api = await api_of(story, "Practitioner/hannah-cole", "user/*.rs user/Task.u user/QuestionnaireResponse.cu")
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
    api = await api_of(story, "Practitioner/hannah-cole", "user/*.rs user/Task.u user/QuestionnaireResponse.cu")
    subject, order = f"Patient/{story.patient['id']}", f"ServiceRequest/{story.request}"
    now = datetime.now(EASTERN)
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
        f"DiagnosticReport {story.report['status']}, outcome {conclusion.get('code')}, PDF, signed document Bundle"
    )
    verified = story.server.command("report", "verify", f"DiagnosticReport/{story.report['id']}")
    console.note(f"konsil report verify → {verified.splitlines()[-1] if verified else ''}")
    console.check("the signature verifies", "valid" in verified.lower())


async def delivery(story: Story) -> None:
    """Step 17: ORU^R01 and MDM^T02 into the physician's inbox, once each, although the receiver was down."""
    console = story.console
    console.step("17", "The report goes into Dr Rao's inbox, although it was down")
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


async def timeline(story: Story) -> None:
    """Print the history of the case: the versions of its Task, and who moved it by the Provenance of each."""
    story.console.step("·", "The timeline: the Task's history and its Provenance")
    history = await story.system.get(f"/Task/{story.case}/_history?_count=100")
    provenance = await story.system.search(f"/Provenance?target=Task/{story.case}&_count=100")
    why = {
        target["reference"].partition("/_history/")[2]: item for item in provenance for target in item.get("target", [])
    }
    rows = []
    for entry in reversed(history.get("entry", [])):
        task = entry.get("resource")
        if task:
            cause = why.get(task["meta"]["versionId"], {})
            activity = cause.get("activity", {}).get("coding", [{}])[0].get("code", "")
            agent = cause.get("agent", [{}])[0].get("who", {})
            who = agent.get("display") or agent.get("reference") or agent.get("identifier", {}).get("value", "")
            rows.append((task["meta"]["lastUpdated"][11:19], state_of([task]), f"{activity}  {who}".strip()))
    story.console.timeline(rows)
