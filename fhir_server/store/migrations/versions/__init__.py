"""The migrations in their order; the newest is named in ``fhir_server.store.migrate.HEAD``."""
