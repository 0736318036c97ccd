"""Reactions that few writes need: their jobs are enqueued only when something they could act on exists.

Nothing is missed. Whoever writes takes the shared side of the lock that the job takes alone, then looks. What it cannot
see yet was written by a transaction that has not committed; that one's own job waits on the lock for this commit, and
reads what was written here. When the job is at work just now, the lock is not waited for: the job is enqueued again.
https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from psycopg import AsyncConnection

from fhir_server.store.entries import token_entry
from fhir_server.store.wiring import Condition, Wiring, lock_number

_share = b"""
SELECT bool_and(pg_try_advisory_xact_lock_shared(key)) FROM (SELECT unnest(%s::bigint[]) AS key ORDER BY 1) AS keys
"""


@dataclass(frozen=True, slots=True)
class Reaction:
    """A job to enqueue, if ``patients`` (references) have what its condition asks for."""

    job: str
    arguments: dict[str, Any]
    lock: str
    patients: tuple[str, ...]


async def enqueue_needed(connection: AsyncConnection[Any], wiring: Wiring, reactions: Iterable[Reaction]) -> None:
    """Put the jobs of those reactions on the transaction whose condition holds; all rows must be written before."""
    by_job: dict[str, list[Reaction]] = {}
    for reaction in reactions:
        by_job.setdefault(reaction.job, []).append(reaction)
    for job, waiting in by_job.items():
        patients = sorted({patient for reaction in waiting for patient in reaction.patients})
        if wiring.enqueue and await _holds(connection, wiring.conditions[job], patients):
            for reaction in waiting:
                await wiring.enqueue(connection, job, reaction.arguments, reaction.lock)


async def _holds(connection: AsyncConnection[Any], condition: Condition, patients: list[str]) -> bool:
    keys = [lock_number(condition.lock + patient) for patient in patients]
    values = {"codes": [token_entry(*code) for code in condition.codes], "patients": patients}
    async with connection.pipeline():  # two statements, so that the second sees what was committed until the lock
        shared = await connection.execute(_share, (keys,), prepare=True)
        found = await connection.execute(_exists(condition.resource_type), values, prepare=True)
    free, exists = await shared.fetchone(), await found.fetchone()
    return not (free and free[0]) or bool(exists and exists[0])


@lru_cache(maxsize=16)
def _exists(resource_type: str) -> bytes:
    return (
        f"SELECT EXISTS (SELECT FROM fhir.{resource_type.lower()} WHERE NOT deleted"
        " AND p_patient && %(patients)s::text[] AND p_code && %(codes)s::text[])"
    ).encode()
