"""The running server takes HL7 v2 over TLS, over HTTP and as files, and its metrics tell of each site."""

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest
import yaml

from adapters.hl7v2.client import MllpClient
from adapters.hl7v2.sites import Destination
from fhir_server.auth.tokens import issue
from konsil.app import built
from konsil.settings import Settings

SITE = {
    "senders": [{"application": "*", "facility": "LAKESIDE"}],
    "drop": {"folder": "inbox", "interval_s": 0.05},
    "destinations": {"report": {"host": "127.0.0.1", "port": 9}},
    "mapping": {"namespace": "https://lakeside.example", "authorities": {"LAKESIDE": "https://lakeside.example/mrn"}},
}


@pytest.fixture
def settings(tmp_path) -> Settings:
    folder = tmp_path / "sites" / "lakeside"
    (folder / "inbox").mkdir(parents=True)
    (folder / "site.yaml").write_text(yaml.safe_dump({"site": "lakeside", "hl7v2": SITE}))
    return Settings(data_dir=tmp_path / "data", sites_dir=tmp_path / "sites", mllp_port=0, programmes=())


def adt(control_id: str) -> bytes:
    return (
        f"MSH|^~\\&|EHR|LAKESIDE|KONSIL|HARBOR|20260302080000||ADT^A28^ADT_A05|{control_id}|P|2.5.1\r"
        f"PID|1||{control_id}^^^LAKESIDE^MR||ALVAREZ^MARIA||19610412|F\r"
    ).encode()


async def _appears(path: Path) -> None:
    async with asyncio.timeout(15):
        while not path.exists():  # noqa: ASYNC110, ASYNC240 - a local file, which sets no event
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(settings: Settings, conninfo: str):
    async with built(settings, conninfo) as konsil:
        await konsil.mllp.start()
        transport = httpx.ASGITransport(app=konsil.http)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
                yield konsil, http
        finally:
            await konsil.mllp.stop()


async def test_messages_come_in_over_mllp_http_and_as_files_and_are_counted_by_site(fresh_database_url, settings):
    async with running(settings, fresh_database_url) as (konsil, http):
        mllp = MllpClient(Destination("test", *konsil.mllp.address))
        assert (await mllp.send(adt("SM1"), "SM1"))[1].code == "AA"
        token = await issue(konsil.database, "system", "system/MessageHeader.c")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "x-application/hl7-v2+er7"}
        assert b"MSA|AA|SM2" in (await http.post("/hl7v2", content=adt("SM2"), headers=headers)).content
        inbox = settings.sites_dir / "lakeside" / "inbox"
        (inbox / "SM3.hl7").write_bytes(adt("SM3"))
        await _appears(inbox / "done" / "SM3.hl7")
        await mllp.send(adt("SM4").replace(b"SM4^^^LAKESIDE", b"^^^LAKESIDE"), "SM4")
        metrics = (await http.get("/metrics")).text
    for transport in ("mllp", "http", "file"):
        assert f'hl7v2_messages_received_total{{site="lakeside",transport="{transport}",code="AA"}} 1' in metrics
    assert 'hl7v2_answer_seconds_count{site="lakeside"} 4' in metrics
    assert 'hl7v2_inbox_messages{site="lakeside",status="failed"} 1' in metrics
    assert 'hl7v2_inbox_oldest_seconds{site="lakeside",status="failed"}' in metrics
    assert "SM1" not in metrics
