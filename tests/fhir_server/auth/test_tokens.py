import asyncio
from datetime import timedelta

import pytest

from fhir_server.auth.tokens import authenticate, issue, revoke
from fhir_server.kernel.errors import InvalidRequest, Unauthorized
from fhir_server.kernel.subject import Grant, Subject
from fhir_server.store.database import Database


async def test_a_token_speaks_for_its_user_with_its_scopes(database):
    token = await issue(database, "Practitioner/1", "user/Patient.rs  user/Task.crus")
    subject = await authenticate(database, f"Bearer {token}")
    assert (subject.reference, subject.patient) == ("Practitioner/1", None)
    assert subject.grants("Task", "u") == (Grant(None, None),)
    assert subject.grants("Task", "d") == ()


async def test_a_patients_token_is_bound_to_that_patient(database):
    token = await issue(database, "Patient/7", "patient/*.rs")
    subject = await authenticate(database, f"bearer {token}")
    assert subject.grants("Observation", "r") == (Grant("Patient/7", None),)


async def test_another_user_can_be_bound_to_a_patient(database):
    token = await issue(database, "Practitioner/1", "patient/*.rs", patient="7")
    assert (await authenticate(database, f"Bearer {token}")).patient == "7"


async def test_an_expired_token_is_refused(database):
    token = await issue(database, "system", "system/*.rs", lifetime=timedelta(microseconds=1))
    with pytest.raises(Unauthorized):
        await authenticate(database, f"Bearer {token}")


async def test_a_revoked_token_is_refused_at_once(database):
    token = await issue(database, "system", "system/*.rs")
    assert await revoke(database, token)
    with pytest.raises(Unauthorized):
        await authenticate(database, f"Bearer {token}")
    assert not await revoke(database, token)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic x", "Bearer x", "Bearer é", "Bearer x y"])
async def test_what_is_no_token_is_refused(database, header):
    with pytest.raises(Unauthorized):
        await authenticate(database, header)


@pytest.mark.parametrize(
    ("reference", "scopes"),
    [
        ("Practitioner/1", ""),
        ("Practitioner/1", "user/Pateint.rs"),
        ("Practitioner/1", "openid"),
        ("Practitioner/1", "user/Patient.sr"),
        ("Practitioner/1", "patient/*.rs"),
        ("Observation/1", "user/*.rs"),
        ("nobody", "user/*.rs"),
    ],
)
async def test_a_token_that_would_mean_nothing_is_not_issued(database, reference, scopes):
    with pytest.raises(InvalidRequest):
        await issue(database, reference, scopes)


async def test_the_token_itself_is_not_in_the_database(database):
    token = await issue(database, "system", "system/*.rs")
    async with database.transaction(Subject.system("test", "")) as tx:
        cursor = await tx.connection.execute("SELECT * FROM fhir.access_token")
        assert token not in str(await cursor.fetchall())


async def test_a_token_revoked_by_another_process_is_refused_within_a_second(database, database_url):
    token = await issue(database, "system", "system/*.rs")
    await authenticate(database, f"Bearer {token}")
    elsewhere = await Database.open(database_url)
    assert await revoke(elsewhere, token)
    await elsewhere.close()
    await asyncio.sleep(1)
    with pytest.raises(Unauthorized):
        await authenticate(database, f"Bearer {token}")


async def test_a_token_taken_before_and_revoked_here_is_refused_at_once(database):
    token = await issue(database, "system", "system/*.rs")
    await authenticate(database, f"Bearer {token}")
    assert await revoke(database, token)
    with pytest.raises(Unauthorized):
        await authenticate(database, f"Bearer {token}")


async def test_a_token_is_looked_up_once_a_second_at_most(database):
    token = await issue(database, "system", "system/*.rs")
    first = await authenticate(database, f"Bearer {token}")
    await database.close()
    assert await authenticate(database, f"Bearer {token}") is first
