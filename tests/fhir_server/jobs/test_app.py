"""The job engine on a real database. https://procrastinate.readthedocs.io/en/stable/"""

import asyncio
import contextlib
import sys
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fhir_server.jobs.app import Jobs
from fhir_server.jobs.retry import Backoff
from fhir_server.kernel.errors import BusinessRule, NotFound
from fhir_server.kernel.subject import Subject

SUBJECT = Subject.system("tests", "system/*.cruds")


class Recorder:
    """A job that notes what it was called with."""

    def __init__(self) -> None:
        self.calls: list[dict] = []

    async def __call__(self, **arguments) -> None:
        self.calls.append(arguments)


@pytest.fixture
def jobs(database_url):
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM procrastinate_jobs")
    return Jobs(database_url)


@contextlib.asynccontextmanager
async def working(jobs: Jobs, **options):
    worker = asyncio.create_task(jobs.run_worker(**options))
    try:
        yield worker
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def until(condition, timeout_s=15):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.02)


async def test_a_job_runs_once_after_its_transaction_commits(jobs, database):
    done = Recorder()
    jobs.register("note", done)
    async with working(jobs):
        async with database.transaction(SUBJECT) as tx:
            await jobs.enqueue(tx.connection, "note", {"number": 1})
            await asyncio.sleep(0.3)
            assert done.calls == []
        await until(lambda: done.calls)
        await asyncio.sleep(0.2)
    assert done.calls == [{"number": 1}]


async def test_a_job_of_a_transaction_that_rolls_back_never_was(jobs, database):
    done = Recorder()
    jobs.register("note", done)
    with pytest.raises(ZeroDivisionError):
        async with database.transaction(SUBJECT) as tx:
            await jobs.enqueue(tx.connection, "note", {"number": 1})
            _ = 1 / 0
    await jobs.run_waiting()
    assert done.calls == []


async def test_a_job_that_fails_is_tried_again_until_it_succeeds(jobs, database):
    tries = []

    async def flaky(**_):
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise ConnectionError

    jobs.register("flaky", flaky, Backoff(first_s=0.05))
    async with database.transaction(SUBJECT) as tx:
        await jobs.enqueue(tx.connection, "flaky", {})
    async with working(jobs):
        await until(lambda: len(tries) == 3)
    assert await jobs.list_failed() == []


async def test_a_job_that_failed_for_good_is_listed_without_values_and_can_be_run_again(jobs, database, caplog):
    allowed = []

    async def picky(**_):
        if not allowed:
            raise ValueError("Alvarez, Maria")

    jobs.register("picky", picky, Backoff(attempts=1))
    async with database.transaction(SUBJECT) as tx:
        await jobs.enqueue(tx.connection, "picky", {"id": "7"}, "lock-7")
    await jobs.run_waiting()
    (failed,) = await jobs.list_failed()
    assert (failed.name, failed.arguments, failed.lock, failed.attempts) == ("picky", {"id": "7"}, "lock-7", 1)
    assert failed.error.startswith("ValueError at ")
    assert "Alvarez" not in failed.error + caplog.text
    allowed.append(True)
    await jobs.retry(failed.id)
    await jobs.run_waiting()
    assert await jobs.list_failed() == []


async def test_a_job_refused_by_a_rule_is_not_tried_again(jobs, database):
    async def refused(**_):
        raise BusinessRule("Not in this state.")

    jobs.register("refused", refused, Backoff(attempts=10, first_s=0.01))
    async with database.transaction(SUBJECT) as tx:
        await jobs.enqueue(tx.connection, "refused", {})
    await jobs.run_waiting()
    (failed,) = await jobs.list_failed()
    assert (failed.attempts, failed.error) == (1, "BusinessRule: Not in this state.")


async def test_retrying_what_did_not_fail_is_not_found(jobs):
    with pytest.raises(NotFound):
        await jobs.retry(987654321)


async def test_jobs_with_one_lock_run_one_after_the_other_in_order(jobs, database):
    running, most, order = 0, 0, []

    async def slow(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        order.append(number)
        running -= 1

    jobs.register("slow", slow)
    async with database.transaction(SUBJECT) as tx:
        for number in range(5):
            await jobs.enqueue(tx.connection, "slow", {"number": number}, "one lane")
    await jobs.run_waiting(concurrency=5)
    assert (most, order) == (1, [0, 1, 2, 3, 4])


async def test_while_a_job_waits_another_with_its_queueing_lock_is_not_added(jobs, database):
    done = Recorder()
    jobs.register("note", done)
    async with database.transaction(SUBJECT) as tx:
        for number in range(3):
            await jobs.enqueue(tx.connection, "note", {"number": number}, queueing_lock="once")
        await tx.writer.create({"resourceType": "Basic", "code": {"text": "the transaction goes on"}})
    await jobs.run_waiting()
    assert done.calls == [{"number": 0}]


async def test_a_job_for_later_runs_then_and_not_before(jobs, database):
    done = Recorder()
    jobs.register("note", done)
    at = datetime.now(UTC) + timedelta(seconds=1)
    async with database.transaction(SUBJECT) as tx:
        await jobs.enqueue(tx.connection, "note", {}, schedule_at=at)
    async with working(jobs):
        await until(lambda: done.calls)
    assert datetime.now(UTC) >= at


async def test_a_worker_that_is_stopped_finishes_the_job_it_is_at(jobs, database):
    finished = []

    async def slow(**_):
        await asyncio.sleep(0.5)
        finished.append(True)

    jobs.register("slow", slow)
    async with database.transaction(SUBJECT) as tx:
        await jobs.enqueue(tx.connection, "slow", {})
    async with working(jobs):
        await asyncio.sleep(0.25)
    assert finished == [True]


_killed_worker = """
import asyncio, sys
from fhir_server.jobs.app import Jobs
async def main():
    jobs = Jobs(sys.argv[1])
    async def hang(**_):
        print("begun", flush=True)
        await asyncio.sleep(60)
    jobs.register("hang", hang)
    await jobs.run_worker()
asyncio.run(main())
"""


async def test_the_job_of_a_worker_that_was_killed_is_run_by_another(jobs, database, database_url, monkeypatch):
    monkeypatch.setattr("fhir_server.jobs.app._lost_after_s", 1)
    done = Recorder()
    jobs.register("hang", done)
    async with database.transaction(SUBJECT) as tx:
        await jobs.enqueue(tx.connection, "hang", {"number": 1})
    worker = (sys.executable, "-c", _killed_worker, database_url)
    killed = await asyncio.create_subprocess_exec(*worker, stdout=asyncio.subprocess.PIPE)
    await killed.stdout.readline()
    killed.kill()
    await killed.communicate()
    await asyncio.sleep(1.5)
    async with working(jobs):
        await until(lambda: done.calls, 40)
    assert done.calls == [{"number": 1}]
