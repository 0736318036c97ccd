"""HL7 v2 over HTTP, against the real intake, tokens and database."""

import httpx
import pytest
from starlette.applications import Starlette

from adapters.hl7v2 import delivery
from adapters.hl7v2.ack import Acknowledgement
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.replay import list_messages
from adapters.hl7v2.routes import Service, build_routes
from adapters.hl7v2.sites import Sites, site_from
from fhir_server.auth.tokens import authenticate, issue

ER7 = "x-application/hl7-v2+er7"


@pytest.fixture
async def http(database, site_settings):
    """``await http("POST", "/hl7v2", scopes="system/MessageHeader.c", reference="system", …)``."""
    hillside = {"senders": [{"application": "*", "facility": "HILLSIDE"}], "clients": ["Device/hillside-engine"]}
    sites = Sites([site_from("lakeside", site_settings), site_from("hillside", {**site_settings, **hillside})])

    async def who(header):
        return await authenticate(database, header)

    app = Starlette(routes=build_routes(Service(database, who, sites, Intake(database, sites))))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:

        async def request(method, url, *, scopes="system/MessageHeader.crus", reference="system", **options):
            token = await issue(database, reference, scopes) if scopes else ""
            headers = {"Content-Type": ER7, **({"Authorization": f"Bearer {token}"} if token else {})}
            return await client.request(method, url, headers=headers | options.pop("headers", {}), **options)

        yield request


def code(response) -> str:
    assert response.status_code == 200
    return Acknowledgement.parse(response.content).code


async def test_a_posted_message_is_stored_and_answered_with_its_acknowledgement(http, database, adt):
    response = await http("POST", "/hl7v2", content=adt("HT1", mrn="HT1"))
    assert (code(response), response.headers["content-type"]) == ("AA", ER7)
    [row] = [row for row in await list_messages(database) if row.control_id == "HT1"]
    assert (row.status, row.site) == ("processed", "lakeside")


async def test_what_cannot_be_processed_is_a_successful_exchange_with_ae_or_ar(http, adt):
    assert code(await http("POST", "/hl7v2", content=adt("HT2", mrn=""))) == "AE"
    assert code(await http("POST", "/hl7v2", content=adt("HT2", facility="NOWHERE"))) == "AR"
    assert code(await http("POST", "/hl7v2", content=b"hello")) == "AR"


async def test_a_batch_is_answered_message_by_message(http, adt):
    body = adt("HT3a", mrn="HT3") + adt("HT3b", mrn="HT3")
    response = await http("POST", "/hl7v2", content=body)
    assert [response.content.count(f"MSA|AA|HT3{name}".encode()) for name in "ab"] == [1, 1]


@pytest.mark.parametrize(("scopes", "status"), [
    (None, 401), ("system/Patient.cruds", 403), ("user/*.cruds", 403), ("system/MessageHeader.r", 403),
    ("system/*.cruds", 200), ("system/MessageHeader.c", 200),
])  # fmt: skip
async def test_only_a_system_scope_for_messages_may_send(http, database_url, adt, scopes, status):
    response = await http("POST", "/hl7v2", scopes=scopes, content=adt("HT4", mrn="HT4"))
    assert response.status_code == status


async def test_a_client_that_a_site_names_sends_for_that_site_only_and_nobody_else_does(http, adt):
    engine = "Device/hillside-engine"
    assert code(await http("POST", "/hl7v2", reference=engine, content=adt("HT5", facility="HILLSIDE"))) == "AA"
    assert code(await http("POST", "/hl7v2", reference=engine, content=adt("HT6", facility="LAKESIDE"))) == "AR"
    assert code(await http("POST", "/hl7v2", content=adt("HT7", facility="HILLSIDE"))) == "AR"


async def test_other_content_is_refused_before_it_is_read(http, adt):
    response = await http("POST", "/hl7v2", content=b"{}", headers={"Content-Type": "application/json"})
    assert response.status_code == 415
    assert (await http("POST", "/hl7v2", content=b"")).status_code == 400


async def test_every_request_and_refusal_is_in_the_audit_trail(http, database, adt):
    await http("POST", "/hl7v2", reference="Device/audited", content=adt("HT8", mrn="HT8"))
    await http("POST", "/hl7v2", reference="Device/audited", scopes="system/Patient.r", content=adt("HT8", mrn="HT8"))
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT action, outcome, resource_type FROM fhir.audit WHERE subject = 'Device/audited' ORDER BY outcome"
        )
        rows = await cursor.fetchall()
    assert rows == [("hl7v2 receive", 200, "MessageHeader"), ("hl7v2 receive", 403, "MessageHeader")]


async def received(http, control_id: str, **changes) -> int:
    raw = changes.pop("raw")
    await http("POST", "/hl7v2", content=raw)
    rows = (await http("GET", "/hl7v2/messages?count=200")).json()["messages"]
    return next(row["id"] for row in rows if row["control_id"] == control_id)


async def test_messages_are_listed_by_status_site_type_and_error_page_by_page(http, adt):
    for n in range(3):
        await http("POST", "/hl7v2", content=adt(f"HL{n}", mrn="", event="A08"))
    url = "/hl7v2/messages?status=failed&site=lakeside&type=ADT%5EA08&error=101&location=PID%5E1%5E3&count=2"
    first = (await http("GET", url)).json()
    assert [row["control_id"] for row in first["messages"]] == ["HL2", "HL1"]
    second = (await http("GET", f"{url}&before={first['next']}")).json()
    assert ([row["control_id"] for row in second["messages"]], second["next"]) == (["HL0"], None)
    assert ("lakeside", "failed") in [(row["queue"], row["status"]) for row in first["backlog"]]
    assert first["sites"] == ["hillside", "lakeside"]


async def test_messages_are_listed_by_patient_for_whoever_may_read_the_patient(http, adt):
    await http("POST", "/hl7v2", content=adt("HP1", mrn="HP1"))
    shown = (await http("GET", f"/hl7v2/messages/{await received(http, 'HP2', raw=adt('HP2', mrn='HP1'))}")).json()
    rows = (await http("GET", "/hl7v2/messages?count=200")).json()["messages"]
    first = next(row["id"] for row in rows if row["control_id"] == "HP1")
    resources = (await http("GET", f"/hl7v2/messages/{first}")).json()["resources"]
    patient = next(name.split("/")[1] for name in resources if name.startswith("Patient/"))
    both = "system/MessageHeader.s system/Patient.r"
    found = (await http("GET", f"/hl7v2/messages?patient={patient}", scopes=both)).json()["messages"]
    assert [row["control_id"] for row in found] == ["HP2", "HP1"]
    assert (await http("GET", f"/hl7v2/messages?patient={patient}")).status_code == 403
    assert shown["status"] == "processed"


async def test_a_message_is_shown_as_a_tree_with_where_its_values_go(http, adt):
    shown = (await http("GET", f"/hl7v2/messages/{await received(http, 'HS1', raw=adt('HS1', mrn='HS1'))}")).json()
    pid = next(segment for segment in shown["segments"] if segment["name"] == "PID")
    field = next(field for field in pid["fields"] if field["path"] == "PID-3")
    assert [part["path"] for part in field["parts"]] == ["PID-3.1", "PID-3.4", "PID-3.5"]
    assert field["parts"][0]["text"] == "HS1"
    assert any(row["path"] == "Patient.birthDate" and row["value"] == "19610412" for row in shown["mapping"])
    assert "MSA|AA|HS1" in shown["acknowledgement"]
    assert not {"raw", "digest", "lane", "patient"} & shown.keys()


async def test_a_message_is_replayed_held_and_passed_over_by_who_may_update(http, adt):
    id = await received(http, "HR1", raw=adt("HR1", mrn=""))
    assert (await http("POST", f"/hl7v2/messages/{id}/replay", scopes="system/MessageHeader.rs")).status_code == 403
    replayed = (await http("POST", f"/hl7v2/messages/{id}/replay")).json()
    assert (replayed["status"], replayed["error_code"]) == ("failed", "101")
    assert (await http("POST", f"/hl7v2/messages/{id}/hold")).json() == {"status": "held"}
    assert (await http("POST", f"/hl7v2/messages/{id}/pass")).json() == {"status": "passed"}
    assert (await http("POST", f"/hl7v2/messages/{id}/pass")).status_code == 422


@pytest.mark.parametrize(("url", "status"), [
    ("/hl7v2/messages?sate=failed", 400), ("/hl7v2/messages?status=lost", 400), ("/hl7v2/messages?before=x", 400),
    ("/hl7v2/messages/999999", 404), ("/hl7v2/messages/abc", 404), ("/hl7v2/messages?site=%27;--", 200),
])  # fmt: skip
async def test_a_request_that_means_nothing_is_told_so(http, url, status):
    assert (await http("GET", url)).status_code == status


async def test_outgoing_messages_are_listed_skipped_and_resent(http, database):
    async with database.transaction(delivery.SUBJECT) as tx:
        id = await delivery.enqueue_outbound(tx, "lakeside/report", "HO1", b"MSH|^~\\&|", "Task/1")
    listed = (await http("GET", "/hl7v2/outbox?status=waiting")).json()
    assert [(row["id"], row["control_id"]) for row in listed["messages"]] == [(id, "HO1")]
    assert (await http("POST", f"/hl7v2/outbox/{id}/skip")).json() == {"status": "failed"}
    assert (await http("POST", f"/hl7v2/outbox/{id}/resend")).json() == {"status": "waiting"}
    assert (await http("POST", f"/hl7v2/outbox/{id}/resend")).status_code == 422


async def test_whoever_looks_at_a_message_is_in_the_audit_trail_with_its_id(http, database, adt):
    id = await received(http, "HA1", raw=adt("HA1", mrn="HA1"))
    await http("GET", f"/hl7v2/messages/{id}", reference="Practitioner/operator")
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT action, outcome, id FROM fhir.audit WHERE subject = 'Practitioner/operator'"
        )
        assert await cursor.fetchall() == [("hl7v2 show", 200, str(id))]
