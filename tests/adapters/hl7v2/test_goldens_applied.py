"""Every golden message is taken through the database, with the guards that run in production, and again."""

from pathlib import Path

import pytest
import yaml

from adapters.hl7v2.ack import Acknowledgement
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.server import Peer
from adapters.hl7v2.sites import Sites, site_from
from cases.guard import GUARDS
from fhir_server.store.database import Database
from fhir_server.store.wiring import Wiring

GOLDENS = Path(__file__).parents[2] / "mappings" / "hl7v2" / "goldens"
SITE = {
    "senders": [{"application": "*", "facility": "*"}],
    "mapping": yaml.safe_load((GOLDENS / "site.yaml").read_text()),
}
PEER = Peer("127.0.0.1", 2575)


@pytest.fixture
async def guarded(database_url):
    opened = await Database.open(database_url, wiring=Wiring(guards=GUARDS))
    yield opened
    await opened.close()


async def versions(database):
    """Old versions, and one Provenance for each message that wrote something."""
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT (SELECT count(*) FROM fhir.history) + (SELECT count(*) FROM fhir.provenance)"
        )
        return (await cursor.fetchone())[0]


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDENS.glob("*.hl7")))
async def test_a_golden_message_is_applied_and_the_same_again_changes_nothing(guarded, name):
    intake = Intake(guarded, Sites([site_from("lakeside", SITE)]))
    raw = (GOLDENS / f"{name}.hl7").read_bytes().replace(b"\n", b"\r")
    first = Acknowledgement.parse(await intake.receive(raw, PEER) or b"")
    assert first is not None
    assert first.code == "AA", first.text
    written = await versions(guarded)
    lines = raw.split(b"\r", 1)
    header = lines[0].split(b"|")
    header[9] += b"-again"
    again = Acknowledgement.parse(await intake.receive(b"|".join(header) + b"\r" + lines[1], PEER) or b"")
    assert again is not None
    assert again.code == "AA", again.text
    assert await versions(guarded) == written
