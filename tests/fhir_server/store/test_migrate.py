import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.store.migrate import HEAD, upgrade


@pytest.fixture
def empty_url(postgres):
    name = f"konsil_empty_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        yield make_conninfo(postgres, dbname=name)
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_an_empty_database_is_migrated_in_seconds_and_a_current_one_at_once(empty_url):
    began = time.monotonic()
    upgrade(empty_url)
    first = time.monotonic() - began
    began = time.monotonic()
    upgrade(empty_url)
    assert (first < 20, time.monotonic() - began < 0.5) == (True, True)
    with psycopg.connect(empty_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'fhir'").fetchone()[0]
        version = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    assert tables > len(RESOURCE_TYPES)
    assert version == HEAD


def test_processes_that_start_together_migrate_once(empty_url):
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(upgrade, [empty_url] * 3)) == [None] * 3
