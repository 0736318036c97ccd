"""Alembic's migrations of the database, applied by ``fhir_server.store.migrate``."""
