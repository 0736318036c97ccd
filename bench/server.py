"""A real Konsil process for a benchmark: its own data directory, free ports, the example site."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_LIMIT_S = 120.0


def free_port() -> int:
    """Return a loopback port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for_metadata(process: "subprocess.Popen[bytes]", port: int, began: float) -> float:
    """Return the seconds from ``began`` to the first 200 on /fhir/metadata."""
    while time.perf_counter() - began < START_LIMIT_S:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode} before it answered")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/fhir/metadata", timeout=START_LIMIT_S):
                return time.perf_counter() - began
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.02)
    raise SystemExit(f"the server did not answer within {START_LIMIT_S:g} s")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server in order."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@dataclass
class Konsil:
    """A running server: its ports, the environment its commands share, and its data directory."""

    process: subprocess.Popen[bytes]
    port: int
    mllp_port: int
    environment: dict[str, str]
    cold_start_s: float

    @classmethod
    @contextmanager
    def started(cls, folder: Path, database_url: str | None = None, *, starts: int = 2) -> Iterator["Konsil"]:
        """Start Konsil ``starts`` times on ``folder`` (the last is the measured one) and stop it at the end."""
        environment = os.environ | {"KONSIL_DATA_DIR": str(folder), "KONSIL_LOG_LEVEL": "warning"}
        if database_url:
            environment["KONSIL_DATABASE_URL"] = database_url
        ports = (free_port(), free_port())
        command = [sys.executable, "-m", "konsil.cli", "serve", "--port", str(ports[0]), "--mllp-port", str(ports[1])]
        for attempt in range(starts):
            began = time.perf_counter()
            process = subprocess.Popen(command, env=environment)
            took = wait_for_metadata(process, ports[0], began)
            if attempt + 1 < starts:
                stop(process)
        try:
            yield cls(process, *ports, environment, took)
        finally:
            stop(process)

    def token(self, reference: str, scope: str) -> str:
        """Return a bearer token from ``konsil user token``."""
        command = [sys.executable, "-m", "konsil.cli", "user", "token", reference, "--scope", scope]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout.strip()

    def create(self, token: str, resource: dict[str, Any]) -> str:
        """Create ``resource`` and return its reference, e.g. ``Patient/1``."""
        kind = resource["resourceType"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/fhir/{kind}", json.dumps(resource).encode(), headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
            return f"{kind}/{json.load(answer)['id']}"

    @property
    def conninfo(self) -> str:
        """The conninfo of the server's database, as ``konsil database-url`` prints it."""
        command = [sys.executable, "-m", "konsil.cli", "database-url"]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout.strip()

    def rss_mib(self) -> float:
        """Resident memory of the server process in MiB (Linux)."""
        return rss_mib(self.process.pid)
