"""Why a job failed last, beside the job engine's own tables.

https://procrastinate.readthedocs.io/en/stable/explanation.html
"""

from sqlalchemy import BigInteger, Column, Table, Text, func
from sqlalchemy.dialects.postgresql import TIMESTAMP

from fhir_server.store.tables import metadata

job_failure = Table(
    "job_failure",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("failed_at", TIMESTAMP(timezone=True), nullable=False, server_default=func.now()),
    Column("error", Text, nullable=False),
    schema="fhir",
    comment="The error names a kind and a place in the source, never a value.",
)
