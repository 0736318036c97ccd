"""The audit trail: append-only rows, durable before the response leaves.

https://hl7.org/fhir/R4/auditevent.html (the facts an AuditEvent is made of). A write's row is in the write's own
transaction; those of reads and refusals are gathered here, so that concurrent requests share one commit.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.kernel.errors import Unavailable
from fhir_server.kernel.subject import Subject
from fhir_server.store.connections import Pool, borrowed
from fhir_server.store.failures import translated

_columns = ("subject", "agent", "action", "outcome", "resource_type", "id", "version", "request_id")
_types = ("text", "text", "text", "int", "text", "text", "int", "text")
_insert = (
    f"INSERT INTO fhir.audit ({', '.join(_columns)}) "
    f"SELECT * FROM unnest({', '.join(f'%s::{kind}[]' for kind in _types)})"
).encode()
_insert_one = (
    f"INSERT INTO fhir.audit ({', '.join(_columns)}) VALUES ({', '.join('%s' for _ in _columns)})"  # arrays cost more
).encode()
_most_rows = 500
_longest_id = 64


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One fact: ``action`` is a FHIR interaction (read, search …), ``outcome`` an HTTP status."""

    subject: Subject
    action: str
    outcome: int
    resource_type: str | None = None
    id: str | None = None
    version: int | None = None
    request_id: str | None = None

    def values(self) -> tuple[Any, ...]:
        """Return the row's values in the order of its columns."""
        subject = self.subject
        about = (_storable(self.resource_type), _storable(self.id), self.version, self.request_id)
        return (subject.reference, subject.name, self.action, self.outcome, *about)


def _storable(text: str | None) -> str | None:
    """Return what an address claimed to be a type or id as the table can hold it, whoever wrote the address.

    A row that the table refuses would take the rows gathered with it along.
    """
    return text and text[:_longest_id].replace("\x00", "\ufffd")


class AuditLog:
    """Writes audit rows; while one commit runs, the rows of other requests gather for the next."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: list[tuple[AuditRow, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def record(self, *rows: AuditRow) -> None:
        """Return once the rows are durable. Raises Unavailable when they cannot be; then nothing may be answered."""
        loop = asyncio.get_running_loop()
        written = [loop.create_future() for _ in rows]
        self._waiting += zip(rows, written, strict=True)
        if self._writing is None:
            self._writing = loop.create_task(self._write_all())
        for future in written:
            await future

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_most_rows], self._waiting[_most_rows:]
            try:
                await self._write([row for row, _ in batch])
            except Exception as error:  # noqa: BLE001 - every request of the batch has to hear of it
                _settle(batch, error)
            else:
                _settle(batch, None)
        self._writing = None

    async def _write(self, rows: Sequence[AuditRow]) -> None:
        values = [row.values() for row in rows]
        columns = [list(column) for column in zip(*values, strict=True)]
        statement, arguments = (_insert_one, values[0]) if len(rows) == 1 else (_insert, columns)
        with translated():
            async with borrowed(self._pool, autocommit=True) as connection:  # one statement is one transaction
                await connection.execute(statement, arguments, prepare=True)

    async def close(self) -> None:
        """Wait until what is gathered is written."""
        if self._writing is not None:
            await self._writing


def _settle(batch: Sequence[tuple[AuditRow, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, future in batch:
        if future.done():
            continue  # the request was cancelled; its row is written all the same
        if error is None:
            future.set_result(None)
        elif isinstance(error, Unavailable):
            future.set_exception(Unavailable("The audit trail cannot be written, so nothing is answered. Try again."))
        else:
            future.set_exception(error)
