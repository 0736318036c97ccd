"""The first schema: a table for each resource type, history, audit, and the job engine's own tables.

https://procrastinate.readthedocs.io/en/stable/howto/production/migrations.html (its schema is applied as published)
"""

import importlib
import pkgutil

from alembic import op
from procrastinate.schema import SchemaManager
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.store import tables
from fhir_server.store.tables import journal, resources

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything, in a handful of statements: a round trip for each of 4,000 objects would take longer."""
    for module in pkgutil.iter_modules(tables.__path__):
        importlib.import_module(f"{tables.__name__}.{module.name}")
    resources.resource_tables()
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy publishes no types for dialects
    script = ["CREATE SCHEMA fhir;"]
    for table in tables.metadata.sorted_tables:
        script.append(f"{CreateTable(table).compile(dialect=dialect)};")
        script += [f"{CreateIndex(index).compile(dialect=dialect)};" for index in table.indexes]
    for resource_type in sorted(RESOURCE_TYPES):
        script += resources.index_statements(resource_type)
    script += [journal.append_only, SchemaManager.get_schema()]
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("The migration has no live connection.")
    driver.execute("\n".join(script))
