"""One PostgreSQL for the run, one database for each worker, built by the migrations and emptied for each test module.

A database has 3,000 indexes: cloning a template costs 3 s, as much as the migrations; emptying costs 0.1 s.
``KONSIL_TEST_DATABASE_URL`` names a server to use instead of the embedded one (its user must be a
superuser).
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from fhir_server.auth.tokens import issue
from fhir_server.store import embedded
from fhir_server.store.database import Database
from fhir_server.store.migrate import upgrade

IssueToken = Callable[..., Awaitable[str]]


@contextlib.contextmanager
def _locked_state(folder: Path) -> Iterator[dict[str, int]]:
    """Hold the run's lock and lend its state: how many pytest workers use the server."""
    with (folder / "run.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        state = json.loads(lock.read() or '{"users": 0}')
        yield state
        lock.truncate(0)
        lock.write(json.dumps(state))


def _execute(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def _empty(conninfo: str) -> None:
    """Close what connections a test left open and remove every row its module wrote."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname IN ('fhir', 'public') AND tablename <> 'alembic_version'"
        ).fetchall()
        probes = (f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for (table,) in tables)
        written = [table for (table,) in connection.execute(" UNION ALL ".join(probes)).fetchall()]
        if written:
            connection.execute("SET session_replication_role = replica")  # the audit trail refuses to lose rows
            connection.execute(f"TRUNCATE {', '.join(written)} CASCADE")


@pytest.fixture(scope="session")
def _run_folder(tmp_path_factory) -> Path:
    """A folder that all workers of one run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def _run_id() -> str:
    return os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))[:12]


@pytest.fixture(scope="session")
def postgres(_run_folder, _run_id) -> Iterator[str]:
    """Conninfo of a running server: the embedded one, shared by all workers, or the one the environment names."""
    given = os.environ.get("KONSIL_TEST_DATABASE_URL")
    if given:
        yield given
        return
    # Not below pytest's folder: run as root, that is closed to the user PostgreSQL runs as.
    data = Path(tempfile.gettempdir(), f"konsil-tests-{_run_id}")
    with _locked_state(_run_folder) as state:
        data.mkdir(mode=0o711, exist_ok=True)
        server = embedded.start(data)
        # Nothing here has to survive a crash of the machine.
        _execute(server.conninfo, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        state["users"] += 1
    yield server.conninfo
    with _locked_state(_run_folder) as state:
        server.stop()
        state["users"] -= 1
        if state["users"] == 0:
            shutil.rmtree(data)


@pytest.fixture(scope="session")
def _worker_database(postgres) -> Iterator[str]:
    """Conninfo of this worker's database, at the newest schema."""
    name = f"konsil_test_{uuid.uuid4().hex[:16]}"
    _execute(postgres, f'CREATE DATABASE "{name}"')
    upgrade(make_conninfo(postgres, dbname=name))
    yield make_conninfo(postgres, dbname=name)
    _execute(postgres, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def database_url(_worker_database) -> Iterator[str]:
    """Conninfo of a migrated database that is empty when the test module begins, and no other module's."""
    yield _worker_database
    _empty(_worker_database)


@pytest.fixture
def fresh_database_url(database_url) -> Iterator[str]:
    """Conninfo of a migrated database that is emptied again after this test."""
    yield database_url
    _empty(database_url)


@pytest.fixture
async def database(database_url) -> AsyncIterator[Database]:
    opened = await Database.open(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def issue_token(database) -> IssueToken:
    """``await issue_token("Patient/1", "patient/*.rs")`` → a bearer token."""

    async def issue_one(reference: str = "Practitioner/tester", scopes: str = "user/*.cruds") -> str:
        return await issue(database, reference, scopes)

    return issue_one


@pytest.fixture
async def client(database, issue_token) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the FHIR server at /fhir, with a token for everything; pass ``headers`` for another one."""
    from fhir_server.rest.app import build_app  # noqa: PLC0415 - FastAPI is loaded only by tests that speak HTTP

    app = build_app(database, base_url="http://127.0.0.1/fhir")
    token = await issue_token()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app, raise_app_exceptions=False),
        base_url="http://127.0.0.1/fhir/",
        headers={"Authorization": f"Bearer {token}"},
    ) as opened:
        yield opened
