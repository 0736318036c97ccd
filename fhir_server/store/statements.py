"""The statements of single resources, composed once for each type and kind of access, then executed as they are.

https://hl7.org/fhir/R4/http.html#read and https://hl7.org/fhir/R4/http.html#history
"""

from functools import lru_cache

from sqlalchemy import Boolean, Integer, Text, bindparam, func, literal, select, type_coerce

from fhir_server.store.access import Grants, visible
from fhir_server.store.sql import Statement, compiled, root
from fhir_server.store.tables.journal import history
from fhir_server.store.tables.resources import resource_table

_id = bindparam("id", type_=Text, value=None)
_version = bindparam("version", type_=Integer, value=None)
_count = bindparam("count", type_=Integer, value=None)


@lru_cache(maxsize=1024)
def read_current(resource_type: str, grants: Grants) -> Statement:
    """The current version of ``id`` if it is visible: version, last_updated, method, body."""
    table = root(resource_type)
    return compiled(
        select(table.c.version, table.c.last_updated, table.c.method, table.c.body).where(
            table.c.id == _id, visible(grants, table, resource_type)
        )
    )


_recorded = """
WITH found AS ({read})
, audited AS (
    INSERT INTO fhir.audit (subject, agent, request_id, action, outcome, resource_type, id, version)
    SELECT %(subject)s, %(agent)s, %(request_id)s, %(action)s, 200, %(type)s, %(id)s, version
    FROM found WHERE method <> 'delete')
SELECT * FROM found"""


@lru_cache(maxsize=1024)
def read_recorded(resource_type: str, grants: Grants) -> Statement:
    """As read_current, and the audit row of having read it, in one statement."""
    read = read_current(resource_type, grants)
    return Statement(_recorded.format(read=read.text), read.values)


@lru_cache(maxsize=1024)
def lock_current(resource_type: str, grants: Grants) -> Statement:
    """The current version of ``id`` locked for a write: version, last_updated, method, body, compartments, visible."""
    table = root(resource_type)
    shown = type_coerce(func.coalesce(visible(grants, table, resource_type), literal(value=False)), Boolean)
    return compiled(
        select(table.c.version, table.c.last_updated, table.c.method, table.c.body, table.c.compartments, shown)
        .where(table.c.id == _id)
        .with_for_update(of=table)
    )


@lru_cache(maxsize=256)
def read_versions(resource_type: str) -> Statement:
    """Versions of ``id`` below ``version``, newest first, ``count`` of them: as read_current, and compartments."""
    current = resource_table(resource_type)
    columns = ("version", "last_updated", "method", "body", "compartments")
    newest = select(*(current.c[name] for name in columns)).where(current.c.id == _id, current.c.version < _version)
    older = select(*(history.c[name] for name in columns)).where(
        history.c.resource_type == literal(resource_type, Text), history.c.id == _id, history.c.version < _version
    )
    both = newest.union_all(older).subquery()
    return compiled(select(both).order_by(both.c.version.desc()).limit(_count))


_supersede = """
, superseded AS (
    INSERT INTO fhir.history (resource_type, id, version, last_updated, method, body, compartments)
    SELECT %(type)s::text, old.id, old.version, old.last_updated, old.method, old.body, old.compartments
    FROM fhir.{table} AS old JOIN given ON given.id = old.id AND given.version = old.version + 1)"""
_overwrite = '(id) DO UPDATE SET {columns} WHERE "{table}".version = excluded.version - 1'  # binary, group: keywords
_write = """
WITH given AS MATERIALIZED (SELECT * FROM jsonb_populate_recordset(NULL::fhir.{table}, %(rows)s::jsonb)){supersede}
, written AS (
    INSERT INTO fhir.{table} SELECT * FROM given ON CONFLICT {conflict} RETURNING id, version, method)
, audited AS (
    INSERT INTO fhir.audit (subject, agent, request_id, action, outcome, resource_type, id, version)
    SELECT %(subject)s, %(agent)s, %(request_id)s, method,
           CASE method WHEN 'create' THEN 201 WHEN 'delete' THEN 204 ELSE 200 END, %(type)s::text, id, version
    FROM written)
SELECT count(*) FROM written"""


@lru_cache(maxsize=512)
def write_rows(resource_type: str, *, superseding: bool) -> bytes:
    """Write ``rows`` (JSON): current rows, the versions they supersede, audit. Returns how many were written.

    A row is left out when another transaction made its id, or its next version, in the meantime.
    """
    table = resource_table(resource_type)
    names = [column.name for column in table.columns if column.name != "id"]
    overwrite = _overwrite.format(table=table.name, columns=", ".join(f"{name} = excluded.{name}" for name in names))
    return _write.format(
        table=table.name,
        supersede=_supersede.format(table=table.name) if superseding else "",
        conflict=overwrite if superseding else "DO NOTHING",
    ).encode()
