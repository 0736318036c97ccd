"""kill -9 between receipt and acknowledgement, PostgreSQL restarted under traffic: nothing lost, nothing doubled."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from adapters.hl7v2.client import DeliveryError, MllpClient
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.server import MllpServer
from adapters.hl7v2.sites import Destination, Sites
from fhir_server.store import embedded
from fhir_server.store.database import Database
from fhir_server.store.message_counts import conservation
from fhir_server.store.migrate import upgrade

SCRIPT = Path(__file__).parent / "peers" / "receiving_process.py"
ROOT = Path(__file__).parents[3]
CYCLES = int(os.environ.get("KONSIL_TEST_CRASH_CYCLES", "4"))  # KONSIL_TEST_CRASH_CYCLES=100 pytest … takes minutes


@pytest.fixture
def sites_folder(tmp_path, site_settings) -> Path:
    folder = tmp_path / "lakeside"
    folder.mkdir()
    (folder / "site.yaml").write_text(yaml.safe_dump({"site": "lakeside", "hl7v2": site_settings}))
    return tmp_path


@pytest.fixture
def open_folder():
    """A folder that PostgreSQL's own user can reach when the tests run as root, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="konsil-restart-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextlib.asynccontextmanager
async def receiving(database_url: str, sites_folder: Path, moment: str, number: int = 1):
    """A receiving process and its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), database_url, str(sites_folder), moment, str(number),
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield process, int(await asyncio.wait_for(process.stdout.readline(), 30))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def client(port: int, *, keep: bool = False) -> MllpClient:
    return MllpClient(Destination("test", "127.0.0.1", port, acknowledgement_timeout_s=20, keep_connection=keep))


def count(database_url: str, statement: str, *values) -> int:
    with psycopg.connect(database_url) as connection:
        return connection.execute(statement, values).fetchone()[0]


def messages(database_url: str, control_id: str) -> int:
    return count(database_url, "SELECT count(*) FROM fhir.inbound_message WHERE control_id = %s", control_id)


def patients(database_url: str, mrn: str) -> list[int]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT version FROM fhir.patient WHERE body LIKE %s", (f'%"{mrn}"%',))
        return [row[0] for row in rows]


async def test_killed_after_commit_the_message_is_there_and_its_resend_is_acknowledged_once(
    database_url, sites_folder, adt
):
    raw = adt("K1", mrn="K1-mrn", visit="K1")
    async with receiving(database_url, sites_folder, "after_commit") as (process, port):
        with pytest.raises(DeliveryError):
            await client(port).send(raw, "K1")
        assert await process.wait() == -signal.SIGKILL
    assert (messages(database_url, "K1"), patients(database_url, "K1-mrn")) == (1, [1])
    async with receiving(database_url, sites_folder, "never") as (_, port):
        assert (await client(port).send(raw, "K1"))[1].code == "AA"
    assert (messages(database_url, "K1"), patients(database_url, "K1-mrn")) == (1, [1])


async def test_killed_before_commit_nothing_is_there_and_the_resend_is_processed(database_url, sites_folder, adt):
    raw = adt("K2", mrn="K2-mrn", visit="K2")
    async with receiving(database_url, sites_folder, "before_commit") as (process, port):
        with pytest.raises(DeliveryError):
            await client(port).send(raw, "K2")
        assert await process.wait() == -signal.SIGKILL
    assert (messages(database_url, "K2"), patients(database_url, "K2-mrn")) == (0, [])
    async with receiving(database_url, sites_folder, "never") as (_, port):
        assert (await client(port).send(raw, "K2"))[1].code == "AA"
    assert (messages(database_url, "K2"), patients(database_url, "K2-mrn")) == (1, [1])


async def deliver(connection: MllpClient, raw: bytes, control_id: str) -> bool:
    """Send until acknowledged AA; False when the process is gone."""
    try:
        return (await connection.send(raw, control_id))[1].code == "AA"
    except DeliveryError:
        return False


@pytest.mark.timeout(120 + 15 * CYCLES)
async def test_killed_at_random_moments_every_acknowledged_message_is_stored_and_none_is_doubled(
    database_url, sites_folder, adt
):
    seed = int.from_bytes(os.urandom(3))
    moments = random.Random(seed)  # noqa: S311 - when to kill, repeatable by the seed
    waiting = [(adt(f"K3-{n}", mrn=f"K3-mrn-{n}.", visit=f"K3-{n}"), f"K3-{n}") for n in range(10 * CYCLES)]
    acknowledged: list[str] = []
    for _ in range(CYCLES):
        async with receiving(database_url, sites_folder, "never") as (process, port):
            killing = asyncio.get_running_loop().call_later(moments.uniform(0.02, 0.4), process.kill)
            connection = client(port, keep=True)
            while waiting and await deliver(connection, *waiting[0]):
                acknowledged.append(waiting.pop(0)[1])
            await connection.close()
            killing.cancel()
        stored = {name for name in acknowledged[-10:] if messages(database_url, name)}
        assert stored == set(acknowledged[-10:]), f"seed {seed}"
    async with receiving(database_url, sites_folder, "never") as (_, port):
        connection = client(port, keep=True)
        while waiting:
            assert await deliver(connection, *waiting.pop(0))
        await connection.close()
    for n in range(10 * CYCLES):
        assert (messages(database_url, f"K3-{n}"), patients(database_url, f"K3-mrn-{n}.")) == (1, [1]), f"seed {seed}"
    async with await psycopg.AsyncConnection.connect(database_url) as looking:
        found = await conservation(looking)
    assert found.holds
    assert (found.waiting, found.quarantined, found.refused) == (0, 0, 0)


async def test_connections_to_postgresql_lost_under_traffic_cost_no_message(database_url, site, adt):
    database = await Database.open(database_url, max_connections=4)
    server = MllpServer(Intake(database, Sites([site()])), "127.0.0.1", 0)
    await server.start()
    refused = 0

    async def sender(name: str) -> None:
        nonlocal refused
        connection = client(server.address[1], keep=True)
        for n in range(15):
            control_id = f"K4-{name}-{n}"
            raw = adt(control_id, mrn=f"K4-{name}-{n}.", visit=control_id)
            while not await deliver(connection, raw, control_id):
                refused += 1
                await asyncio.sleep(0.05)
        await connection.close()

    async def cut() -> None:
        name = conninfo_to_dict(database_url)["dbname"]
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            for _ in range(6):
                await asyncio.sleep(0.15)
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND pid <> pg_backend_pid() AND application_name = 'konsil'",
                    (name,),
                )

    await asyncio.gather(*(sender(name) for name in "abcd"), cut())
    await server.stop()
    await database.close()
    for name in "abcd":
        for n in range(15):
            stored = (messages(database_url, f"K4-{name}-{n}"), patients(database_url, f"K4-{name}-{n}."))
            assert stored == (1, [1])


async def test_postgresql_restarted_under_traffic_costs_no_message(open_folder, site, adt):
    folder = open_folder / "data"
    postgres = await asyncio.to_thread(embedded.start, folder)
    await asyncio.to_thread(upgrade, postgres.conninfo)
    database = await Database.open(postgres.conninfo, max_connections=4)
    server = MllpServer(Intake(database, Sites([site()])), "127.0.0.1", 0)
    await server.start()
    answers: dict[str, list[str]] = {f"K6-{n}": [] for n in range(40)}

    async def send() -> None:
        for control_id, codes in answers.items():
            while codes[-1:] != ["AA"]:
                raw = adt(control_id, mrn=f"{control_id}.", visit=control_id)
                _, answer = await client(server.address[1]).send(raw, control_id)
                codes.append(answer.code)
                await asyncio.sleep(0.02)

    async def restart() -> None:
        nonlocal postgres
        await asyncio.sleep(0.3)
        await asyncio.to_thread(postgres.stop)
        postgres = await asyncio.to_thread(embedded.start, folder)

    try:
        await asyncio.gather(send(), restart())
        assert {code for codes in answers.values() for code in codes} <= {"AA", "AE"}
        for control_id in answers:
            stored = (messages(postgres.conninfo, control_id), patients(postgres.conninfo, f"{control_id}."))
            assert stored == (1, [1])
    finally:
        await server.stop()
        await database.close()
        await asyncio.to_thread(postgres.stop)


async def test_while_postgresql_is_away_a_message_is_answered_ae_and_never_aa(database_url, site, adt):
    database = await Database.open(database_url, max_connections=2)
    intake = Intake(database, Sites([site()]))
    server = MllpServer(intake, "127.0.0.1", 0)
    await server.start()
    await database.close()
    _, answer = await client(server.address[1]).send(adt("K5", mrn="K5"), "K5")
    await server.stop()
    assert answer.code == "AE"
    assert messages(database_url, "K5") == 0
