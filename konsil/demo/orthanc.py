"""A real Orthanc as the hospital's PACS: own configuration, own folder, free loopback ports, stopped by process id.

https://orthanc.uclouvain.be/book/users/configuration.html and https://orthanc.uclouvain.be/book/plugins/dicomweb.html
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

_executables = ("Orthanc", "/usr/sbin/Orthanc", "/usr/local/sbin/Orthanc")
_plugins = (
    "/usr/share/orthanc/plugins/libOrthancDicomWeb.so",
    "/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so",
)


class OrthancUnavailable(Exception):
    """Orthanc or its DICOMweb plugin is not installed, or it did not start; the text says what to do."""


def installed() -> str | None:
    """Return None when Orthanc can be started here, else the reason in one sentence."""
    if _executable() is None:
        return "Orthanc is not installed (Debian: apt-get install orthanc orthanc-dicomweb)."
    if _plugin() is None:
        return "Orthanc's DICOMweb plugin is not installed (Debian: apt-get install orthanc-dicomweb)."
    return None


@dataclass(slots=True)
class Orthanc:
    """One Orthanc in ``folder``. ``user``/``password`` switch HTTP Basic authentication on.

    ``servers`` are the DICOMweb servers it may itself be a client of, in its own notation.
    """

    folder: Path
    name: str = "LAKESIDE PACS"
    user: str | None = None
    password: str | None = None
    servers: Mapping[str, Any] = field(default_factory=dict)
    http_port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Root of Orthanc's own REST API."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        """Root of its DICOMweb service."""
        return f"{self.url}/dicom-web"

    @property
    def auth(self) -> tuple[str, str] | None:
        """Basic credentials, or None."""
        return (self.user, self.password) if self.user and self.password else None

    def start(self, timeout_s: float = 20) -> None:
        """Start and wait until it answers. Raises OrthancUnavailable when it cannot."""
        reason = installed()
        if reason:
            raise OrthancUnavailable(reason)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.http_port = self.http_port or _free_port()
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration(), indent=1))
        with (self.folder / "orthanc.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(_executable()), str(configuration)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._wait_ready(timeout_s)

    def stop(self, timeout_s: float = 10) -> None:
        """End the process we started, gently, then by force; its folder stays, so that it can be started again."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout_s)

    def store(self, files: Iterable[Path | bytes]) -> int:
        """Put DICOM files in through Orthanc's REST API; return how many it took."""
        count = 0
        with httpx.Client(base_url=self.url, auth=self.auth, timeout=60, trust_env=False) as client:
            for file in files:
                content = file if isinstance(file, bytes) else file.read_bytes()
                client.post("/instances", content=content).raise_for_status()
                count += 1
        return count

    def _wait_ready(self, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self.process is None or self.process.poll() is not None:
                raise OrthancUnavailable(f"Orthanc ended at once; see {self.folder / 'orthanc.log'}.")
            try:
                answer = httpx.get(f"{self.dicomweb_url}/studies?limit=1", auth=self.auth, timeout=2, trust_env=False)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == httpx.codes.OK:
                return
            time.sleep(0.05)
        self.stop()
        raise OrthancUnavailable(f"Orthanc did not answer within {timeout_s:g} s; see {self.folder / 'orthanc.log'}.")

    def _configuration(self) -> dict[str, Any]:
        return {
            "Name": self.name,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "index"),
            "StorageCompression": False,
            "SyncStorageArea": False,  # nothing of a demonstration needs to survive a power cut
            "Plugins": [str(_plugin())],
            "HttpServerEnabled": True,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,  # every peer but loopback is answered 403
            "AuthenticationEnabled": self.auth is not None,
            "RegisteredUsers": dict([self.auth]) if self.auth else {},
            "HttpThreadsCount": 8,
            "KeepAlive": True,
            "TcpNoDelay": True,
            "DicomServerEnabled": False,  # DIMSE would listen on every interface
            "DicomAet": "LAKESIDE",
            "OrthancPeers": {},
            "DicomModalities": {},
            "LimitFindResults": 0,
            "StableAge": 1,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False, "Servers": dict(self.servers)},
        }


def _executable() -> str | None:
    return next((found for name in _executables if (found := shutil.which(name))), None)


def _plugin() -> str | None:
    return next((path for path in _plugins if os.access(path, os.R_OK)), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
