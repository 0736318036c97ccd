"""Bring the database to the newest schema.

https://alembic.sqlalchemy.org/en/latest/api/commands.html
"""

from pathlib import Path

import psycopg

HEAD = "0001"
_lock_key = 4_020_101  # one process migrates at a time; the others wait and find it done


def upgrade(conninfo: str) -> None:
    """Apply the migrations that are missing. Safe to call from every process at every start: done is found quickly."""
    with psycopg.connect(conninfo) as connection:
        if _current(connection) == HEAD:
            return
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_lock_key,))
        if _current(connection) != HEAD:
            _migrate(conninfo)


def _current(connection: "psycopg.Connection[tuple[str]]") -> str | None:
    found = connection.execute("SELECT to_regclass('public.alembic_version') IS NOT NULL").fetchone()
    if not found or not found[0]:
        return None
    version = connection.execute("SELECT version_num FROM public.alembic_version").fetchone()
    return version[0] if version else None


def _migrate(conninfo: str) -> None:
    from alembic import command  # noqa: PLC0415 - 0.3 s of imports that a start on a current schema does not need
    from alembic.config import Config  # noqa: PLC0415 - as above
    from sqlalchemy import create_engine  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo))
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    finally:
        engine.dispose()
