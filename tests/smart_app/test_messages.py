"""The operations pages, on messages a real intake received and a real API tells of."""

import httpx
import pytest

from adapters.hl7v2 import delivery
from adapters.hl7v2.peer import Peer
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.routes import Service
from adapters.hl7v2.routes import build_routes as build_hl7v2
from adapters.hl7v2.sites import Sites, site_from
from fhir_server.auth.tokens import authenticate
from fhir_server.rest.app import build_app
from smart_app.routes import build_routes, in_process
from smart_app.session import Sessions

ROOT = "http://127.0.0.1:8000"
OPERATOR = "system/MessageHeader.rus system/Patient.r"
SITE = {
    "senders": [{"application": "*", "facility": "LAKESIDE"}],
    "mapping": {"namespace": "https://lakeside.example", "authorities": {"LAKESIDE": "https://lakeside.example/mrn"}},
}


def adt(control_id: str, mrn: str, family: str = "ALVAREZ") -> bytes:
    return (
        f"MSH|^~\\&|EHR|LAKESIDE|KONSIL|HARBOR|20260302080000||ADT^A28^ADT_A05|{control_id}|P|2.5.1\r"
        f"PID|1||{mrn}^^^LAKESIDE^MR||{family}^MARIA||19610412|F\r"
    ).encode()


@pytest.fixture
async def hospital(database):
    """The server with its inbox, and ``await receive(raw)``."""
    sites = Sites([site_from("lakeside", SITE)])
    intake = Intake(database, sites)

    async def who(header):
        return await authenticate(database, header)

    app = build_app(database, base_url=f"{ROOT}/fhir")
    app.router.routes.extend(build_hl7v2(Service(database, who, sites, intake)))
    sessions = Sessions()
    client = in_process(app, ROOT)
    app.router.routes.extend(build_routes(client, secure=False, sessions=sessions))

    async def receive(raw: bytes) -> None:
        await intake.receive(raw, Peer("10.1.1.7", 2575))

    yield app, sessions, receive
    await client.aclose()


@pytest.fixture
async def signed_in_as(hospital, issue_token):
    """``await signed_in_as(scopes)`` → a browser-like client."""
    app, sessions, _ = hospital
    opened = []

    async def client(scopes: str = OPERATOR) -> httpx.AsyncClient:
        browser = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ROOT)
        browser.cookies.set("konsil", sessions.open(await issue_token("system", scopes)), domain="127.0.0.1")
        opened.append(browser)
        return browser

    yield client
    for browser in opened:
        await browser.aclose()


async def test_failed_messages_are_found_by_filter_and_no_list_names_a_patient(hospital, signed_in_as):
    await hospital[2](adt("OP1", "OP1"))
    await hospital[2](adt("OP2", ""))
    browser = await signed_in_as()
    page = (await browser.get("/app/messages", params={"status": "failed", "site": "lakeside", "error": "101"})).text
    assert ("OP2" in page, "OP1" in page, "ALVAREZ" in page) == (True, False, False)
    assert "101 at PID^1^3" in page


async def test_a_message_is_shown_beside_what_it_became(hospital, signed_in_as):
    await hospital[2](adt("OP3", "OP3", family="<b>&"))
    browser = await signed_in_as()
    page = (await browser.get("/app/messages", params={"type": "ADT"})).text
    path = page.split('href="/app/messages/', 1)[1].split('"')[0]
    shown = (await browser.get(f"/app/messages/{path}")).text
    assert "PID-3.1" in shown
    assert "&#34;resourceType&#34;: &#34;Patient&#34;" in shown
    assert "<b>" not in shown
    narrow = await (await signed_in_as("system/MessageHeader.r")).get(f"/app/messages/{path}")
    assert ("This token may not read it." in narrow.text, '"birthDate"' in narrow.text) == (True, False)


async def test_replay_by_button_says_what_became_of_the_message(hospital, signed_in_as):
    await hospital[2](adt("OP4", ""))
    browser = await signed_in_as()
    page = (await browser.get("/app/messages", params={"status": "failed"})).text
    id = page.split('href="/app/messages/', 1)[1].split('"')[0]
    answer = await browser.post(f"/app/messages/{id}/replay")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/app/messages/{id}?said=failed")
    await browser.post(f"/app/messages/{id}/pass")
    assert "unchanged" in (await browser.post(f"/app/messages/{id}/pass")).headers["location"]


async def test_a_button_pressed_on_another_site_does_nothing(hospital, signed_in_as):
    browser = await signed_in_as()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}):
        assert (await browser.post("/app/messages/1/replay", headers=headers)).status_code == 403
    assert (await browser.post("/app/messages/1/delete")).status_code == 403


async def test_an_outgoing_message_is_skipped_and_sent_again_by_button(hospital, signed_in_as, database):
    async with database.transaction(delivery.SUBJECT) as tx:
        id = await delivery.enqueue_outbound(tx, "lakeside/report", "OP5", b"MSH|^~\\&|", "Task/1")
    browser = await signed_in_as()
    await browser.post(f"/app/outbox/{id}/skip")
    assert "OP5" in (await browser.get("/app/outbox", params={"status": "failed"})).text
    await browser.post(f"/app/outbox/{id}/resend")
    assert "OP5" in (await browser.get("/app/outbox", params={"status": "waiting"})).text


@pytest.mark.parametrize("path", ["/app/messages", "/app/messages/1", "/app/outbox"])
async def test_a_token_for_records_alone_is_told_that_this_is_for_operators(hospital, signed_in_as, path):
    answer = await (await signed_in_as("user/*.cruds")).get(path)
    assert (answer.status_code, "system/MessageHeader" in answer.text) == (403, True)


async def test_without_a_session_the_way_leads_to_the_login(hospital):
    app, _, _ = hospital
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=ROOT) as browser:
        answer = await browser.get("/app/messages")
    assert (answer.status_code, answer.headers["location"]) == (303, "/app/login?next=%2Fapp%2Fmessages")


async def test_a_message_that_is_not_there_and_a_filter_that_means_nothing_are_told_so(hospital, signed_in_as):
    browser = await signed_in_as()
    assert (await browser.get("/app/messages/999999")).status_code == 404
    assert (await browser.get("/app/messages", params={"status": "lost"})).status_code == 400
