"""One run of the demo: the hospital, the server, each user's view of the API, and what was learnt on the way."""

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from konsil.demo import request
from konsil.demo.api import Api
from konsil.demo.console import Console
from konsil.demo.hospital import Inbox, send
from konsil.demo.messages import Lakeside, Message
from konsil.demo.server import Server

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
            f"/Task?_id={self.case}", lambda tasks: state_of(tasks) == wanted, timeout_s=timeout_s
        )
        return self.console.check(f"the case is {wanted}", state_of(found) == wanted, state_of(found))

    async def rows(self) -> dict[str, dict[str, Any]]:
        """Return the record-request Tasks of the case by manifest row."""
        tasks = await self.system.search(f"/Task?part-of=Task/{self.case}&code={SO}/so-task|record-request&_count=50")
        return {requirement(task): task for task in tasks}


def state_of(tasks: list[dict[str, Any]]) -> str:
    """Return ``status/businessStatus`` of the first Task."""
    if not tasks:
        return "absent"
    coding = tasks[0].get("businessStatus", {}).get("coding", [{}])
    return "/".join(filter(None, (tasks[0]["status"], coding[0].get("code"))))


def places(answer: httpx.Response) -> dict[str, str]:
    """Return type → id of what a transaction wrote, from its entries' ``location``."""
    locations = (entry["response"]["location"].split("/_history/")[0].split("/") for entry in answer.json()["entry"])
    return {location[-2]: location[-1] for location in locations}


def requirement(task: dict[str, Any]) -> str:
    """Return the manifest row a record-request Task stands for."""
    url = f"{request.BASE}/StructureDefinition/so-requirement"
    return next((str(item["valueCode"]) for item in task.get("extension", []) if item["url"] == url), "?")


async def api_of(story: Story, reference: str, scope: str) -> Api:
    """Return the API as seen by a FHIR user; one token for each user and scope."""
    key = json.dumps([reference, scope])
    if key not in story.apis:
        token = await asyncio.to_thread(story.server.token, reference, scope)
        story.apis[key] = Api(f"{story.server.url}/fhir", token)
    return story.apis[key]


async def report_pdf(story: Story) -> bytes:
    """Return the PDF of the DiagnosticReport as FHIR gives it."""
    form = story.report["presentedForm"][0]
    if "data" in form:
        return base64.b64decode(form["data"])
    return (await story.system.raw("/" + form["url"].split("/fhir/")[-1], "application/pdf")).content


async def sign_in_link(story: Story, page: str) -> str:
    """Return a link that signs a browser in once, as the coordinator, and leads to ``page``."""
    answer = await story.coordinator.post(f"{story.server.url}/app/login/link?next={page}", {})
    answer.raise_for_status()
    return str(answer.json()["url"])
