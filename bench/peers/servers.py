"""The servers of a comparison, each on a database of its own."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.server import Konsil, free_port, rss_mib, stop, wait_for_metadata

HAPI = Path(__file__).parent / "hapi"
JAVA_HEAP = "-Xmx2g"


@dataclass(frozen=True)
class Server:
    """A running server under test."""

    process: "subprocess.Popen[bytes]"
    port: int
    cold_start_s: float
    token: str | None = None

    @property
    def base(self) -> str:
        """The FHIR base URL."""
        return f"http://127.0.0.1:{self.port}/fhir"

    @property
    def rss_mib(self) -> float:
        """Resident memory of the process, in MiB."""
        return rss_mib(self.process.pid)


Start = Callable[[Path, str], AbstractContextManager[Server]]
"""Starts a server, given a folder of its own and the address of its database."""


@contextmanager
def konsil(folder: Path, database: str) -> Iterator[Server]:
    """Start ``konsil serve`` as it comes: ten connections, audit on, every request with a bearer token."""
    with Konsil.started(folder, database, starts=1) as server:
        token = server.token("system", "system/*.cruds")
        yield Server(server.process, server.port, server.cold_start_s, token)


@contextmanager
def hapi(folder: Path, database: str) -> Iterator[Server]:
    """Start HAPI FHIR on the classes ``mvn package`` made; it asks for no token."""
    address = urlsplit(database)
    port = free_port()
    command = [
        *("java", JAVA_HEAP, "-cp", f"{HAPI}/target/classes:{HAPI}/target/lib/*", "example.konsil.bench.HapiPeer"),
        f"--server.port={port}",
        f"--spring.datasource.url=jdbc:postgresql://{address.hostname}:{address.port}{address.path}",
        f"--spring.datasource.username={address.username}",
    ]
    folder.mkdir(exist_ok=True)
    with (folder / "hapi.log").open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log)
        took = wait_for_metadata(process, port, began)
        try:
            yield Server(process, port, took)
        finally:
            stop(process)


def build_hapi() -> None:
    """Compile the peer and fetch its libraries, with the reader's own Maven configuration."""
    subprocess.run(["mvn", "-q", "-B", "package"], cwd=HAPI, check=True, env=os.environ | {"MAVEN_OPTS": "-Xmx512m"})


SERVERS: dict[str, Start] = {"Konsil": konsil, "HAPI": hapi}
