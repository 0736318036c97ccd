"""The database goes away, comes back, or takes too long."""

import asyncio
import os
import shutil
import signal
import tempfile
from pathlib import Path

import psycopg
import pytest

from fhir_server.kernel.errors import Unavailable
from fhir_server.store import embedded
from fhir_server.store.database import Database
from fhir_server.store.migrate import upgrade


async def test_a_statement_over_the_time_limit_is_unavailable_and_the_connection_stays_good(database, everyone):
    with pytest.raises(Unavailable, match="Narrow the search"):
        async with database.transaction(everyone) as tx:
            await tx.connection.execute("SET LOCAL statement_timeout = '100ms'")
            await tx.connection.execute("SELECT pg_sleep(5)")
    async with database.transaction(everyone) as tx:
        assert await tx.reader.find("Patient", _id="nobody") == []


async def test_connections_that_died_while_idle_cost_no_request(database, database_url, everyone):
    async def one():
        async with database.reading(everyone) as reader:
            await reader.find("Patient", _id="nobody")
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one() for _ in range(10)))
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'konsil'"
            " AND datname = current_database()"
        )
    await asyncio.sleep(0.1)
    for _ in range(10):
        await one()


async def test_a_server_that_is_not_there_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setattr("fhir_server.store.connections._connect_timeout_s", 0.5)
    with pytest.raises(Unavailable):
        await Database.open(f"host={tmp_path} dbname=none user=none")


async def test_a_restarted_server_costs_errors_while_it_is_away_and_nothing_after(own_server, everyone):
    server, folder = own_server
    upgrade(server.conninfo)
    database = await Database.open(server.conninfo)
    try:
        async with database.transaction(everyone) as tx:
            await tx.writer.create({"resourceType": "Basic", "code": {"text": "x"}}, id="before")
        server.stop()
        with pytest.raises(Unavailable):
            async with database.reading(everyone) as reader:
                await reader.read("Basic", "before")
        assert not await database.is_reachable()
        server = embedded.start(folder)
        await asyncio.sleep(2.5)  # as long as the pool may take to give up its last attempt
        async with database.reading(everyone) as reader:
            assert (await reader.read("Basic", "before")).version == 1
    finally:
        await database.close()
        server.stop()


async def test_what_was_committed_survives_the_kill_of_the_server(own_server, everyone):
    server, folder = own_server
    upgrade(server.conninfo)
    database = await Database.open(server.conninfo)
    async with database.transaction(everyone) as tx:
        await tx.writer.create({"resourceType": "Basic", "code": {"text": "x"}}, id="durable")
    pid = int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    await database.close()
    killed, server = server, embedded.start(folder)
    killed.stop()
    database = await Database.open(server.conninfo)
    try:
        async with database.reading(everyone) as reader:
            assert (await reader.read("Basic", "durable")).version == 1
    finally:
        await database.close()
        server.stop()


@pytest.fixture
def own_server():
    folder = Path(tempfile.mkdtemp(prefix="konsil-own-"))
    server = embedded.start(folder)
    yield server, folder
    if (folder / "postgres" / "postmaster.pid").exists():
        embedded.start(folder).stop()
    shutil.rmtree(folder)
