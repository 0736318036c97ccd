import asyncio

import psycopg
import pytest
from psycopg.rows import dict_row

from fhir_server.kernel.errors import Unavailable
from fhir_server.kernel.subject import Subject
from fhir_server.store.audit import AuditRow

READER = Subject("Practitioner/7", "Dr Test", ())


def rows_of(database_url: str, id: str) -> list[dict]:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        statement = "SELECT * FROM fhir.audit WHERE id = %s ORDER BY sequence"
        return connection.execute(statement, (id,)).fetchall()


async def test_every_write_leaves_a_row_in_its_own_transaction(database, database_url, everyone):
    async with database.transaction(everyone, request_id="req-1") as tx:
        stored = (await tx.writer.create({"resourceType": "Basic", "code": {"text": "x"}}, id="audited")).stored
        await tx.writer.update({**stored.resource(), "code": {"text": "y"}})
        await tx.writer.delete("Basic", "audited")
    rows = rows_of(database_url, "audited")
    assert [(row["action"], row["outcome"], row["version"]) for row in rows] == [
        ("create", 201, 1),
        ("update", 200, 2),
        ("delete", 204, 3),
    ]
    assert {(row["subject"], row["agent"], row["request_id"]) for row in rows} == {("system", "tests", "req-1")}


async def test_a_write_that_is_rolled_back_leaves_no_row(database, database_url, everyone):
    with pytest.raises(ZeroDivisionError):
        async with database.transaction(everyone) as tx:
            await tx.writer.create({"resourceType": "Basic", "code": {"text": "x"}}, id="undone")
            await tx.writer.flush()
            _ = 1 / 0
    assert rows_of(database_url, "undone") == []


async def test_reads_are_durable_when_record_returns(database, database_url):
    rows = [AuditRow(READER, "read", 200, "Patient", "seen", number, f"r{number}") for number in range(200)]
    await asyncio.gather(*(database.audit.record(row) for row in rows))
    assert sorted(row["version"] for row in rows_of(database_url, "seen")) == list(range(200))


async def test_concurrent_reads_share_commits(database, database_url):
    await asyncio.gather(
        *(database.audit.record(AuditRow(READER, "read", 200, "Patient", "group")) for _ in range(100))
    )
    moments = {row["recorded_at"] for row in rows_of(database_url, "group")}
    assert len(moments) <= 5


@pytest.mark.parametrize(
    "change", ["UPDATE fhir.audit SET outcome = 0", "DELETE FROM fhir.audit", "TRUNCATE fhir.audit"]
)
async def test_rows_cannot_be_changed_or_removed(database, database_url, change):
    await database.audit.record(AuditRow(READER, "read", 200))
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(change)


async def test_when_the_trail_cannot_be_written_the_caller_hears_of_it(database, database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE fhir.audit RENAME TO audit_away")
        try:
            with pytest.raises(psycopg.errors.UndefinedTable):
                await database.audit.record(AuditRow(READER, "read", 200))
        finally:
            connection.execute("ALTER TABLE fhir.audit_away RENAME TO audit")
    await database.audit.record(AuditRow(READER, "read", 200))


async def test_a_cancelled_request_leaves_its_row_all_the_same(database, database_url):
    task = asyncio.create_task(database.audit.record(AuditRow(READER, "read", 200, "Patient", "cancelled")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await database.audit.close()
    assert len(rows_of(database_url, "cancelled")) == 1


async def test_without_a_database_the_answer_is_that_the_trail_is_away(database):
    await database._pool.close()
    with pytest.raises(Unavailable):
        await database.audit.record(AuditRow(READER, "read", 200))
