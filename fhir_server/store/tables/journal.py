"""The tables beside the resources: superseded versions, the audit trail, and the server's own settings.

https://hl7.org/fhir/R4/http.html#history and https://hl7.org/fhir/R4/auditevent.html
"""

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, LargeBinary, Table, Text, func
from sqlalchemy.dialects.postgresql import TIMESTAMP

from fhir_server.store.tables import metadata
from fhir_server.store.tables.resources import texts

instant = TIMESTAMP(timezone=True)

history = Table(
    "history",
    metadata,
    Column("resource_type", Text, primary_key=True),
    Column("id", Text(collation="C"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("last_updated", instant, nullable=False),
    Column("method", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("compartments", texts),
    Index("history_last_updated_idx", "resource_type", "last_updated"),
    schema="fhir",
    comment="Every version but the current one, which is in its type's table.",
)

audit = Table(
    "audit",
    metadata,
    Column("sequence", BigInteger, Identity(always=True), primary_key=True),
    Column("recorded_at", instant, nullable=False, server_default=func.now()),
    Column("subject", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("outcome", Integer, nullable=False),
    Column("resource_type", Text),
    Column("id", Text(collation="C")),
    Column("version", Integer),
    Column("request_id", Text),
    Index("audit_resource_idx", "resource_type", "id"),
    Index("audit_recorded_at_idx", "recorded_at", postgresql_using="brin"),
    schema="fhir",
    comment="Append-only: a trigger refuses UPDATE, DELETE and TRUNCATE.",
)

setting = Table(
    "setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    schema="fhir",
)

append_only = """
CREATE FUNCTION fhir.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege'; END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fhir.audit
FOR EACH STATEMENT EXECUTE FUNCTION fhir.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON fhir.history
FOR EACH STATEMENT EXECUTE FUNCTION fhir.refuse_change();
"""
