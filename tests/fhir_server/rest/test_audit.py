"""Every read, write and refusal is in the audit trail before the client hears of it."""

import asyncio
import contextlib

import pytest

from fhir_server.kernel.subject import Subject


@pytest.fixture
def trail(database):
    """The rows of one request: ``await trail(response)``."""

    async def rows(response):
        async with database.connection() as connection:
            cursor = await connection.execute(
                "SELECT subject, action, outcome, resource_type, id, version FROM fhir.audit"
                " WHERE request_id = %s ORDER BY action",
                (response.headers["x-request-id"],),
            )
            return await cursor.fetchall()

    return rows


async def test_reads_and_writes_leave_a_row(client, trail):
    put = await client.put("Patient/a", json={"resourceType": "Patient", "id": "a"})
    assert await trail(put) == [("Practitioner/tester", "create", 201, "Patient", "a", 1)]
    read = await client.get("Patient/a")
    assert await trail(read) == [("Practitioner/tester", "read", 200, "Patient", "a", 1)]
    search = await client.get("Patient?_id=a")
    assert await trail(search) == [("Practitioner/tester", "search-type", 200, "Patient", None, None)]
    history = await client.get("Patient/a/_history")
    assert [row[1] for row in await trail(history)] == ["history-instance"]
    vread = await client.get("Patient/a/_history/1")
    assert [row[1] for row in await trail(vread)] == ["vread"]
    delete = await client.delete("Patient/a")
    assert [row[1] for row in await trail(delete)] == ["delete"]


async def test_each_entry_of_a_bundle_leaves_a_row(client, trail):
    entries = [
        {"request": {"method": "PUT", "url": "Patient/b"}, "resource": {"resourceType": "Patient", "id": "b"}},
        {"request": {"method": "GET", "url": "Patient/b"}},
        {"request": {"method": "GET", "url": "Patient?_id=b"}},
    ]
    for kind in ("batch", "transaction"):
        response = await client.post("", json={"resourceType": "Bundle", "type": kind, "entry": entries})
        actions = [row[1] for row in await trail(response)]
        assert actions == (["create"] if kind == "batch" else []) + ["read", "search-type"]


async def test_refusals_leave_a_row(client, issue_token, trail):
    nobody = await client.get("Patient/a", headers={"Authorization": "Bearer nonsense"})
    assert await trail(nobody) == [("anonymous", "read", 401, "Patient", "a", None)]
    headers = {"Authorization": f"Bearer {await issue_token('Practitioner/2', 'user/Basic.rs')}"}
    refused = await client.get("Patient/a", headers=headers)
    assert await trail(refused) == [("Practitioner/2", "read", 403, "Patient", "a", None)]
    entry = {"request": {"method": "GET", "url": "Patient/a"}}
    batch = await client.post("", json={"resourceType": "Bundle", "type": "batch", "entry": [entry]}, headers=headers)
    assert [row[:3] for row in await trail(batch)] == [("Practitioner/2", "read", 403)]


@contextlib.asynccontextmanager
async def _broken_trail(database):
    async with database.transaction(Subject.system("test", "")) as tx:
        await tx.connection.execute("ALTER TABLE fhir.audit RENAME TO audit_away")
    try:
        yield
    finally:
        async with database.transaction(Subject.system("test", "")) as tx:
            await tx.connection.execute("ALTER TABLE fhir.audit_away RENAME TO audit")


async def test_without_an_audit_trail_nothing_is_shown_or_written(client, database):
    await client.put("Patient/c", json={"resourceType": "Patient", "id": "c"})
    async with _broken_trail(database):
        for path in ("Patient/c", "Patient?_id=c", "Patient/c/_history"):
            response = await client.get(path)
            assert response.status_code >= 500
            assert '"Patient"' not in response.text
        update = await client.put("Patient/c", json={"resourceType": "Patient", "id": "c", "active": True})
        assert update.status_code >= 500
    assert "active" not in (await client.get("Patient/c")).json()


async def test_an_address_that_no_row_can_hold_harms_neither_its_request_nor_others(client, database):
    """One statement writes the rows of many requests: a row the table refuses would fail them all."""
    await client.put("Patient/beside", json={"resourceType": "Patient", "id": "beside"})
    hostile = ("Patient/%00", "Patient/" + "a" * 20_000, "a" * 20_000 + "/1", "%00/1")
    requests = [client.get(path, headers={"Authorization": "Bearer x"}) for path in hostile]
    answers = await asyncio.gather(*requests, *(client.get("Patient/beside") for _ in range(4)))
    assert [answer.status_code for answer in answers] == [401] * 4 + [200] * 4


@pytest.mark.parametrize("at_once", [1, 8])
async def test_each_read_is_recorded_once_whether_it_is_alone_or_among_others(client, database, at_once):
    """A read that is alone writes its row in its own statement, others gather theirs."""
    id = f"recorded-{at_once}"
    await client.put(f"Patient/{id}", json={"resourceType": "Patient", "id": id})
    answers = await asyncio.gather(*(client.get(f"Patient/{id}") for _ in range(at_once)))
    async with database.transaction(Subject.system("test", "")) as tx:
        query = "SELECT request_id, version, outcome, agent FROM fhir.audit WHERE id = %s AND action = 'read'"
        rows = await (await tx.connection.execute(query, (id,))).fetchall()
    expected = [(answer.headers["x-request-id"], 1, 200, "Practitioner/tester") for answer in answers]
    assert sorted(rows) == sorted(expected)


async def test_a_read_of_what_is_not_there_or_not_any_more_is_no_read(client, database):
    await client.put("Patient/gone", json={"resourceType": "Patient", "id": "gone"})
    await client.delete("Patient/gone")
    assert [(await client.get(f"Patient/{id}")).status_code for id in ("gone", "never")] == [410, 404]
    async with database.transaction(Subject.system("test", "")) as tx:
        query = "SELECT count(*) FROM fhir.audit WHERE id IN ('gone', 'never') AND action = 'read'"
        assert await (await tx.connection.execute(query)).fetchone() == (0,)
