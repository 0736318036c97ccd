"""``konsil serve`` as a process of its own, over real sockets."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import pytest

_KONSIL = (sys.executable, "-m", "konsil.cli")
_START_S = 30.0


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Serving:
    """A running ``konsil serve`` and how long it took to answer."""

    def __init__(self, environment, port):
        began = time.monotonic()
        self.port, self.environment = port, environment
        self.process = subprocess.Popen([*_KONSIL, "serve"], env=environment, stderr=subprocess.PIPE)
        while True:
            assert self.process.poll() is None, self.process.stderr.read().decode()
            assert time.monotonic() - began < _START_S
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.fhir}/metadata").status_code == 200:
                    break
            time.sleep(0.02)
        self.start_s = time.monotonic() - began

    @property
    def fhir(self):
        return f"http://127.0.0.1:{self.port}/fhir"

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors.decode()


@pytest.fixture(scope="module")
def environment():
    # Not below pytest's own folder, which is closed to the user PostgreSQL runs as when the tests run as root.
    with tempfile.TemporaryDirectory(prefix="konsil-serve-") as folder:
        Path(folder).chmod(0o711)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KONSIL_")}
        ports = {"KONSIL_PORT": str(_free_port()), "KONSIL_MLLP_PORT": str(_free_port())}
        sites = {"KONSIL_SITES_DIR": f"{folder}/sites"}
        Path(folder, "sites").mkdir()
        yield kept | ports | sites | {"KONSIL_DATA_DIR": f"{folder}/data"}


def _command(environment, *arguments, **options):
    return subprocess.run(
        [*_KONSIL, *arguments], env=environment, capture_output=True, text=True, check=False, **options
    )


def _token(environment):
    done = _command(environment, "user", "token", "Practitioner/1", "--scope", "user/*.cruds")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return done.stdout.strip()


@pytest.mark.timeout(180)
def test_serving_from_the_first_start_to_sigterm(environment):
    before = _token(environment)  # no server runs: the command starts the database for itself
    serving = Serving(environment, environment["KONSIL_PORT"])
    try:
        assert serving.start_s <= 3 * _slowness()
        during = _token(environment)  # a server runs: the command shares its database
        for token in (before, during):
            headers = {"Authorization": f"Bearer {token}"}
            made = httpx.post(f"{serving.fhir}/Patient", json={"resourceType": "Patient"}, headers=headers)
            assert made.status_code == 201
        assert httpx.get(f"http://127.0.0.1:{serving.port}/health/ready").status_code == 200
    finally:
        status, errors = serving.stop()
    assert status == 0, errors
    assert "Traceback" not in errors
    serving = Serving(environment, environment["KONSIL_PORT"])
    try:
        assert httpx.get(made.headers["location"], headers=headers).status_code == 200
    finally:
        assert serving.stop(signal.SIGINT)[0] == 0


@pytest.mark.parametrize("after_s", [0.4, 0.9, 1.4])
def test_sigterm_during_the_start_leaves_no_database_server_behind(environment, after_s):
    process = subprocess.Popen([*_KONSIL, "serve"], env=environment, stderr=subprocess.PIPE)
    time.sleep(after_s)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM), errors
    assert not Path(environment["KONSIL_DATA_DIR"], "postgres", "postmaster.pid").exists()


def test_a_port_that_is_taken_is_said_in_one_line(environment):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = _command(environment, "serve", "--port", port, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("konsil: ")
    assert "Traceback" not in done.stderr


def test_an_unknown_setting_keeps_the_server_from_starting(environment):
    done = _command(environment | {"KONSIL_PROT": "1"}, "serve", timeout=60)
    assert (done.returncode, "KONSIL_PORT" in done.stderr) == (1, True)


def _slowness():
    """How much slower than an idle two-core machine this one is now: its load over its cores, at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
