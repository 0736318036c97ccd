"""THE write path: every create, update and delete of a resource, by whoever, goes through here.

https://hl7.org/fhir/R4/http.html#create. The steps are the calls one reads below: access, validation, guards,
If-Match, version, rows, jobs. Rows are written together, one statement for each type, before anything reads again and
at the latest before the commit; a bundle of 200 entries costs a few round trips instead of 200.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from psycopg import AsyncCursor

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.kernel import json
from fhir_server.kernel.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    InvalidResource,
    Issue,
    NotFound,
    PreconditionFailed,
)
from fhir_server.kernel.instants import format_instant
from fhir_server.kernel.references import is_id, new_id
from fhir_server.kernel.search_query import SearchQuery
from fhir_server.kernel.validation import validate
from fhir_server.store import statements
from fhir_server.store.access import Grants
from fhir_server.store.failures import Collision
from fhir_server.store.index import index_columns
from fhir_server.store.reactions import Reaction, enqueue_needed
from fhir_server.store.records import Method, Stored, WriteResult
from fhir_server.store.wiring import Change, Wiring

if TYPE_CHECKING:
    from fhir_server.store.database import Transaction

Json = dict[str, Any]
_millisecond = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class _Old:
    """The locked current row; ``visible`` tells whether the Subject may touch it."""

    stored: Stored
    compartments: list[str] | None
    visible: bool


class Writer:
    """Writes in one transaction as its Subject."""

    def __init__(self, transaction: "Transaction", wiring: Wiring) -> None:
        self._transaction = transaction
        self._subject = transaction.subject
        self._wiring = wiring
        self._rows: dict[str, list[Json]] = {}
        self._reactions: list[Reaction] = []

    async def create(
        self, resource: Json, *, id: str | None = None, fresh: bool = False, if_none_exist: SearchQuery | None = None
    ) -> WriteResult:
        """Store a new resource, under ``id`` or a fresh one; ``fresh`` says that ``id`` is one nobody can have yet.

        Raises InvalidResource, Forbidden, Conflict (the id is taken), PreconditionFailed (the condition matches many).
        """
        resource_type = _type_of(resource)
        grants = self._subject.require(resource_type, "c")
        if if_none_exist is not None:
            existing = await self._match(if_none_exist)
            if existing is not None:
                return WriteResult(existing, "existing")
        old = await self._lock(resource_type, id, grants) if id is not None and not fresh else None
        if old is not None and not old.stored.deleted:
            raise Conflict(f"{resource_type}/{id} exists already. Update it, or leave the id to the server.")
        return await self._store({**resource, "id": id or new_id()}, old, "create", grants, None)

    async def update(self, resource: Json, *, if_match: int | None = None) -> WriteResult:
        """Store ``resource`` under its id, creating it if need be; identical content makes no new version."""
        resource_type, resource_id = _type_of(resource), resource.get("id")
        if not isinstance(resource_id, str):
            raise InvalidRequest("The resource has no id to update.", expression=f"{resource_type}.id")
        grants = self._subject.require(resource_type, "u")
        old = await self._lock(resource_type, resource_id, grants)
        if old is not None and not old.visible:
            raise NotFound(f"{resource_type}/{resource_id} does not exist.")
        created = old is None or old.stored.deleted
        return await self._store(resource, old, "create" if created else "update", grants, if_match)

    async def delete(self, type: str, id: str, *, if_match: int | None = None) -> WriteResult | None:
        """Delete a resource; None when there was nothing to delete, or nothing this Subject may see."""
        grants = self._subject.require(type, "d")
        old = await self._lock(type, id, grants)
        if old is None or not old.visible or old.stored.deleted:
            return None
        await self._guard(Change(old.stored.resource(), None, self._subject, "delete", type, id))
        _check_version(old, if_match)
        stored = Stored(type, id, old.stored.version + 1, _moment_after(old), "", "delete")
        self._put(stored, {"compartments": old.compartments} if old.compartments else {})
        await self._react(stored, old.compartments or [])
        return WriteResult(stored, "deleted")

    async def flush(self) -> None:
        """Write the rows put so far. Raises Collision when another transaction was quicker with one of them."""
        if not self._rows:
            return
        rows, self._rows = self._rows, {}
        async with self._transaction.connection.pipeline():  # one round trip, however many types
            written = [(await self._write(name, of_type), len(of_type)) for name, of_type in rows.items()]
        for cursor, expected in written:
            found = await cursor.fetchone()
            if found is None or found[0] != expected:
                raise Collision("Another write of the same resource was quicker. Send the request again.")

    async def _write(self, resource_type: str, rows: list[Json]) -> AsyncCursor[Any]:
        statement = statements.write_rows(resource_type, superseding=any(row["version"] > 1 for row in rows))
        values = {
            "rows": json.encode_text(rows),
            "type": resource_type,
            "subject": self._subject.reference,
            "agent": self._subject.name,
            "request_id": self._transaction.request_id,
        }
        return await self._transaction.connection.execute(statement, values, prepare=True)

    async def finish(self) -> None:
        """Write what is left, and enqueue the reactions that turn out to be needed: the last step before the commit."""
        await self.flush()
        waiting, self._reactions = self._reactions, []
        if waiting:
            await enqueue_needed(self._transaction.connection, self._wiring, waiting)

    def mark(self) -> int:
        """Return where a part of the transaction begins that may be rolled back alone."""
        return len(self._reactions)

    def forget(self, mark: int) -> None:
        """Drop what was put since ``mark`` and not yet written: that part of the transaction was rolled back."""
        self._rows.clear()
        del self._reactions[mark:]

    async def _match(self, query: SearchQuery) -> Stored | None:
        """Find what a conditional create already has; equal conditions wait for each other, so that one creates."""
        asked = sorted(f"{name}={value}" for name, value in query.pairs)
        await self._transaction.lock(f"{query.resource_type}?{'&'.join(asked)}")
        page = await self._transaction.reader.search(replace(query, count=2, sort=(), cursor=None))
        if len(page.matches) > 1:
            raise PreconditionFailed("The condition matches more than one resource.")
        return page.matches[0] if page.matches else None

    async def _lock(self, type: str, id: str, grants: Grants) -> _Old | None:
        if not is_id(id):
            raise InvalidRequest("An id has 1 to 64 of A-Z a-z 0-9 - and .", expression=f"{type}.id")
        await self.flush()
        statement = statements.lock_current(type, grants)
        cursor = await statement.execute(self._transaction.connection, {"id": id}, prepare=True)
        row = await cursor.fetchone()
        if row is None:
            return None
        version, last_updated, method, body, compartments, visible = row
        return _Old(Stored(type, id, version, last_updated, body, method), compartments, visible)

    async def _store(
        self, resource: Json, old: _Old | None, method: Method, grants: Grants, if_match: int | None
    ) -> WriteResult:
        resource_type, resource_id = resource["resourceType"], resource["id"]
        _validate(resource)
        columns = index_columns(resource)
        if not await self._transaction.reader.lets_through(resource_type, columns, grants):
            raise Forbidden(f"The token's scopes do not allow this {resource_type} to be stored.")
        before = old.stored.resource() if old is not None and not old.stored.deleted else None
        await self._guard(Change(before, resource, self._subject, method, resource_type, resource_id))
        _check_version(old, if_match)
        if before is not None and old is not None and _body(resource, old.stored) == old.stored.body:
            return WriteResult(old.stored, "unchanged")
        version = old.stored.version + 1 if old is not None else 1
        stored = Stored(resource_type, resource_id, version, _moment_after(old), "", method)
        stored = replace(stored, body=_body(resource, stored))
        self._put(stored, columns)
        await self._react(stored, columns.get("compartments", []))
        return WriteResult(stored, "created" if method == "create" else "updated")

    async def _guard(self, change: Change) -> None:
        for guard in self._wiring.guards:
            await guard(change, self._transaction)

    def _put(self, stored: Stored, columns: Json) -> None:
        row = {
            "id": stored.id,
            "version": stored.version,
            "last_updated": stored.last_updated.isoformat(),
            "deleted": stored.deleted,
            "method": stored.method,
            "body": stored.body,
        }
        self._rows.setdefault(stored.resource_type, []).append(row | columns)

    async def _react(self, stored: Stored, compartments: list[str]) -> None:
        enqueue = self._wiring.enqueue
        if enqueue is None:
            return
        arguments = {"resource_type": stored.resource_type, "id": stored.id, "version": stored.version}
        patients = tuple(name for name in compartments if name.startswith("Patient/"))
        for job in self._wiring.reactions.get(stored.resource_type, ()):
            condition = self._wiring.conditions.get(job)
            if condition and patients and stored.resource_type in condition.types:
                self._reactions.append(Reaction(job, arguments, stored.reference, patients))
            else:
                await enqueue(self._transaction.connection, job, arguments, stored.reference)


def _type_of(resource: Json) -> str:
    resource_type = resource.get("resourceType")
    if resource_type not in RESOURCE_TYPES:
        raise InvalidRequest("resourceType is not a resource type of FHIR R4.", expression="resourceType")
    return str(resource_type)


def _validate(resource: Json) -> None:
    faults = tuple(issue for issue in validate(resource) if issue.severity in ("fatal", "error"))
    if faults:
        raise InvalidResource(issues=faults)


def _check_version(old: _Old | None, if_match: int | None) -> None:
    current = old.stored.version if old is not None and not old.stored.deleted else None
    if if_match is not None and if_match != current:
        raise PreconditionFailed(f"If-Match names version {if_match}, which is not the current one.")


def _moment_after(old: _Old | None) -> datetime:
    """Return now, to the millisecond a resource shows, and later than the version before whatever the clock says."""
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)
    return now if old is None else max(now, old.stored.last_updated + _millisecond)


def _body(resource: Json, stored: Stored) -> str:
    """Return the exact text to store: the resource as given, with the server's own version and time in ``meta``."""
    given = resource.get("meta")
    own = {"versionId": str(stored.version), "lastUpdated": format_instant(stored.last_updated)}
    meta = own | {name: value for name, value in (given or {}).items() if name not in own}
    if "meta" not in resource:
        head = {"resourceType": resource["resourceType"], "id": resource["id"], "meta": meta}
        whole = head | {name: value for name, value in resource.items() if name not in head}
    else:
        whole = {**resource, "meta": meta}
    text = json.encode_text(whole)
    if "\\u0000" in text:
        raise InvalidResource(issues=(Issue("value", "A text holds the character U+0000, which FHIR does not allow."),))
    return text
