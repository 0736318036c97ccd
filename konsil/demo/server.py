"""A real ``konsil serve`` as a process of its own, with a data directory and a site configuration of the demo's."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml

START_LIMIT_S = 90.0
STOP_LIMIT_S = 30.0


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do."""


def port_near(wanted: int) -> int:
    """Return ``wanted`` when nobody listens there on loopback, else a free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("No free port on 127.0.0.1.")


@dataclass
class Server:
    """Konsil on loopback; ``folder`` holds its data, its site configuration and its log."""

    folder: Path
    port: int = field(default_factory=lambda: port_near(8000))
    mllp_port: int = field(default_factory=lambda: port_near(2575))
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Root of the server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.folder / "konsil.log"

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "KONSIL_DATA_DIR": str(self.folder / "data"),
            "KONSIL_SITES_DIR": str(self.folder / "sites"),
            "KONSIL_PORT": str(self.port),
            "KONSIL_MLLP_PORT": str(self.mllp_port),
        }

    def configure(self, example_sites: Path, *, receiver_port: int, dicomweb_url: str | None) -> None:
        """Copy the example sites, with this run's ports of the simulated hospital."""
        shutil.copytree(example_sites, self.folder / "sites")
        path = self.folder / "sites" / "lakeside" / "site.yaml"
        config = yaml.safe_load(path.read_text())
        for destination in config["hl7v2"]["destinations"].values():
            destination["port"] = receiver_port
        if dicomweb_url is None:
            config.pop("dicomweb", None)
        else:
            config["dicomweb"]["url"] = dicomweb_url
        path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def start(self) -> float:
        """Start and wait until ``/fhir/metadata`` answers. Returns seconds. Raises DemoError when it does not."""
        began = time.perf_counter()
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "konsil.cli", "serve"]
            self.process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        while time.perf_counter() - began < START_LIMIT_S:
            if self.process.poll() is not None:
                raise DemoError(f"konsil serve ended with status {self.process.returncode}; see {self.log}")
            try:
                answer = httpx.get(f"{self.url}/fhir/metadata", timeout=START_LIMIT_S)
                if answer.status_code == httpx.codes.OK:
                    return time.perf_counter() - began
            except httpx.TransportError:
                time.sleep(0.05)
        raise DemoError(f"konsil serve did not answer within {START_LIMIT_S:.0f} s; see {self.log}")

    def command(self, *args: str) -> str:
        """Run ``konsil …`` beside the server and return what it printed. Raises DemoError when it fails."""
        command = [sys.executable, "-m", "konsil.cli", *args]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise DemoError(
                f"konsil {' '.join(args[:2])} ended with status {done.returncode}: {done.stderr.strip()[-500:]}"
            )
        return done.stdout.strip()

    def token(self, reference: str, scope: str) -> str:
        """Return a bearer token for a FHIR user."""
        return self.command("user", "token", reference, "--scope", scope)

    def stop(self) -> None:
        """Stop it as an operator would, with SIGTERM."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
