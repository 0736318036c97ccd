"""The job engine: Procrastinate on our own database.

https://procrastinate.readthedocs.io/. A job enqueued on a transaction's connection exists if and only if the
transaction commits. A job that failed for good stays, with its error, until it is retried.
"""

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.job_context import JobContext
from psycopg import AsyncConnection

from fhir_server.jobs.retry import Backoff, JobFailed
from fhir_server.kernel.errors import FhirError, Forbidden, NotFound, Unprocessable

Work = Callable[..., Awaitable[None]]
_heartbeat_s = 5
_lost_after_s = 20
_rescue_every_s = 10
_note = """
INSERT INTO fhir.job_failure (job_id, error) VALUES (%(job_id)s, %(error)s)
ON CONFLICT (job_id) DO UPDATE SET failed_at = now(), error = excluded.error
"""
_failed = """
SELECT job.id, job.task_name, job.args, job.lock, job.attempts, failure.failed_at, coalesce(failure.error, '') AS error
FROM public.procrastinate_jobs AS job LEFT JOIN fhir.job_failure AS failure ON failure.job_id = job.id
WHERE job.status IN ('failed', 'aborted') ORDER BY job.id DESC LIMIT %(count)s
"""
_due = """
SELECT 1 FROM public.procrastinate_jobs
WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()) LIMIT 1
"""
_again = """
UPDATE public.procrastinate_jobs
SET status = 'todo', attempts = 0, scheduled_at = NULL, worker_id = NULL, abort_requested = false
WHERE id = %(id)s AND status IN ('failed', 'aborted') RETURNING id
"""


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that will not be tried again by itself; ``error`` names a kind and a place, no value."""

    id: int
    name: str
    arguments: dict[str, Any]
    lock: str | None
    attempts: int
    failed_at: datetime | None
    error: str


class Jobs:
    """The jobs of one database. ``register`` what can be done, ``enqueue`` what is to be done, ``run_worker``."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connector = PsycopgConnector(conninfo=conninfo)
        self._app = App(connector=self._connector)
        self._users = 0
        self._opening = asyncio.Lock()

    def register(self, name: str, work: Work, retry: Backoff | None = None) -> None:
        """Let workers run jobs called ``name`` by awaiting ``work(**arguments)``; ``retry`` follows a failure."""

        async def run(context: JobContext, /, **arguments: Any) -> None:
            try:
                await work(**arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is noted and raised again
                failure = JobFailed(_described(error), final=isinstance(error, Forbidden | Unprocessable))
                await self._note(context.job.id, failure)
                raise failure from None  # the engine logs what is raised, and a cause's text may name a patient

        self._app.task(name=name, retry=retry or Backoff(), pass_context=True)(run)

    async def enqueue(
        self,
        connection: AsyncConnection[Any],
        name: str,
        arguments: dict[str, Any],
        lock: str | None = None,
        *,
        schedule_at: datetime | None = None,
        queueing_lock: str | None = None,
    ) -> None:
        """Put a job on the connection's transaction.

        Jobs with the same ``lock`` run one after the other, in order. While a job with the same ``queueing_lock``
        waits, another one is not added.
        """
        job = self._app.configure_task(
            name, connection=connection, lock=lock, schedule_at=schedule_at, queueing_lock=queueing_lock
        )
        if queueing_lock is None:
            await job.defer_async(**arguments)
            return
        try:
            async with connection.transaction():  # a savepoint: finding the job there must not fail the caller's work
                await job.defer_async(**arguments)
        except AlreadyEnqueued:
            return

    async def run_worker(self, *, concurrency: int = 4) -> None:
        """Run jobs until cancelled; then let the running ones finish, and stop.

        Jobs of a worker that was killed are put back to the queue once its heart has not beaten for 20 s.
        """
        async with self._opened():
            rescue = asyncio.create_task(self._rescue_lost())
            try:
                await self._app.run_worker_async(
                    concurrency=concurrency,
                    delete_jobs="successful",
                    install_signal_handlers=False,
                    update_heartbeat_interval=_heartbeat_s,
                    stalled_worker_timeout=_lost_after_s,
                    fetch_job_polling_interval=1,  # seconds a retry may be late; new jobs are announced by NOTIFY
                    shutdown_graceful_timeout=30,
                )
            finally:
                rescue.cancel()
                await asyncio.gather(rescue, return_exceptions=True)

    async def run_waiting(self, *, concurrency: int = 1) -> None:
        """Run every job that is due, then return."""
        async with self._opened():
            while await self._connector.execute_query_all_async(_due):  # a lock may have held the next one back
                await self._app.run_worker_async(
                    wait=False, concurrency=concurrency, delete_jobs="successful", install_signal_handlers=False
                )

    async def list_failed(self, *, count: int = 100) -> list[FailedJob]:
        """Return the jobs that failed for good, newest first."""
        async with self._opened():
            rows = await self._connector.execute_query_all_async(_failed, count=count)
        return [
            FailedJob(
                row["id"],
                row["task_name"],
                row["args"],
                row["lock"],
                row["attempts"],
                row["failed_at"],
                row["error"],
            )
            for row in rows
        ]

    async def retry(self, id: int) -> None:
        """Put a failed job back to the queue, with all its attempts before it. Raises NotFound when there is none."""
        async with self._opened():
            rows = await self._connector.execute_query_all_async(_again, id=id)
        if not rows:
            raise NotFound(f"There is no failed job {id}.")

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        """Keep the engine's own connections open while anyone needs them."""
        async with self._opening:
            if self._users == 0:
                await self._app.open_async()
            self._users += 1
        try:
            yield
        finally:
            async with self._opening:
                self._users -= 1
                if self._users == 0:
                    await self._app.close_async()

    async def _rescue_lost(self) -> None:
        while True:
            lost = await self._app.job_manager.get_stalled_jobs(seconds_since_heartbeat=_lost_after_s)
            for job in lost:
                await self._app.job_manager.retry_job(job, retry_at=datetime.now(UTC) + timedelta(seconds=1))
            await asyncio.sleep(_rescue_every_s)

    async def _note(self, job_id: int | None, failure: JobFailed) -> None:
        await self._connector.execute_query_async(_note, job_id=job_id, error=str(failure))


def _described(error: Exception) -> str:
    """Return kind and place of an error; the text too where it is ours, since those name no patient."""
    kind = type(error).__name__
    if isinstance(error, FhirError):
        return f"{kind}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{kind} at {frames[-1].filename}:{frames[-1].lineno}" if frames else kind
