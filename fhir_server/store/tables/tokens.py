"""Bearer tokens: only their SHA-256, never the token (RFC 6750 §5.3, "don't store bearer tokens")."""

from sqlalchemy import Column, DateTime, LargeBinary, Table, Text, func

from fhir_server.store.tables import metadata

access_token = Table(
    "access_token",
    metadata,
    Column("digest", LargeBinary, primary_key=True, comment="SHA-256 of the token"),
    Column("reference", Text, nullable=False, comment="the FHIR user, e.g. Practitioner/1, or system"),
    Column("scopes", Text, nullable=False, comment="SMART v2 scopes, separated by spaces"),
    Column("patient", Text, nullable=True, comment="id of the Patient that patient/ scopes are bound to"),
    Column("issued_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True), nullable=True),
    schema="fhir",
)
