"""HL7 v2 over HTTP, against the real intake, tokens and database."""

import httpx
import pytest
from starlette.applications import Starlette

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
