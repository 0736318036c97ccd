"""One PostgreSQL for every server of a comparison: the embedded one with its own settings, also reachable over TCP.

JDBC drivers know no Unix sockets, so both servers of a comparison come in over loopback TCP, each to a database of
its own on the same cluster, with fsync on.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.server import free_port
from fhir_server.store import embedded

_START_LIMIT_S = 30.0


@dataclass(frozen=True)
class Postgres:
    """A running cluster: its port and the process all its others descend from."""

    port: int
    pid: int

    def conninfo(self, database: str) -> str:
        """Return the address of one database."""
        return f"postgresql://konsil@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make an empty database and return its address."""
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")
        return self.conninfo(database)

    def settle(self, database: str) -> None:
        """VACUUM ANALYZE and CHECKPOINT, so that a search is planned on true figures and nothing old is written."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")

    def size_mib(self, database: str) -> float:
        """Return what the database takes on disk."""
        with psycopg.connect(self.conninfo(database), autocommit=True) as connection:
            row = connection.execute("SELECT pg_database_size(%s)", (database,)).fetchone()
        return row[0] / 2**20 if row else 0.0

    def facts(self) -> dict[str, str]:
        """Return the version and the settings a reader needs to judge the figures."""
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            rows = [(name, connection.execute(f"SHOW {name}").fetchone()) for name in names]
        return {name: row[0] for name, row in rows if row}


@contextmanager
def running(folder: Path) -> Iterator[Postgres]:
    """Start the embedded PostgreSQL on ``folder`` with its own command line and a TCP port besides."""
    command, owner = _command_line(folder)
    port = free_port()
    command += ["-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "max_connections=100"]
    user = {} if owner == (os.getuid(), os.getgid()) else {"user": owner[0], "group": owner[1], "extra_groups": []}
    with (folder / "postgres.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder / "postgres", **user)
    server = Postgres(port, process.pid)
    try:
        _wait(server, process)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def _command_line(folder: Path) -> tuple[list[str], tuple[int, int]]:
    """Return how the embedded server starts PostgreSQL on a cluster it has just made, and as whom."""
    first = embedded.start(folder)
    pid = (folder / "postgres" / "postmaster.pid").read_text().split()[0]
    command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    facts = (folder / "postgres").stat()
    first.stop()
    return command, (facts.st_uid, facts.st_gid)


def _wait(server: Postgres, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while True:
        try:
            psycopg.connect(server.conninfo("postgres")).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
