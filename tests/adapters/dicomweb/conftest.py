"""A real Orthanc, a phantom study, and Konsil's imaging side wired to a real database."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from adapters.dicomweb.blobs import Blobs
from adapters.dicomweb.client import Pacs
from adapters.dicomweb.pull import Imaging
from adapters.dicomweb.routes import build_router
from fhir_server.auth.tokens import authenticate
from fhir_server.jobs.app import Jobs
from fhir_server.jobs.retry import Backoff
from fhir_server.kernel.subject import Subject
from konsil.demo.orthanc import Orthanc, installed
from konsil.demo.phantom import Study, instances

BASE_URL = "http://127.0.0.1/dicomweb"
MRN = "https://lakeside.example/mrn"


def phantom(**changes: object) -> Study:
    given = {
        "patient_id": "00483921",
        "name": "Alvarez^Maria",
        "birth_date": date(1961, 4, 12),
        "accession": "A26-11873",
    }
    return Study(**{**given, "slices": 12, "size": 64, **changes})


@pytest.fixture(scope="session")
def orthanc_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("orthanc")


@pytest.fixture(scope="session")
def orthanc(orthanc_folder) -> Iterator[Orthanc]:
    reason = installed()
    if reason:
        pytest.skip(reason)
    server = Orthanc(orthanc_folder, user="konsil", password="secret")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def study() -> Study:
    return phantom()


@pytest.fixture(scope="session")
def files(study) -> list[bytes]:
    return list(instances(study))


@pytest.fixture(scope="module")
def blobs(tmp_path_factory) -> Blobs:
    return Blobs.open(tmp_path_factory.mktemp("blobs"))


@pytest.fixture
def pacs_of() -> Callable[[Orthanc], Pacs]:
    def configured(server: Orthanc) -> Pacs:
        return Pacs(
            site="LAKESIDE",
            url=server.dicomweb_url,
            patient_id_system=MRN,
            accession_system="https://lakeside.example/accession",
            issuer="LAKESIDE",
            zone="America/New_York",
            user=server.user,
            password=server.password,
            timeout_s=5,
        )

    return configured


@pytest.fixture
async def jobs(database, database_url) -> Jobs:
    """The job engine on an empty queue: tests of a module share their database."""
    async with database.transaction(Subject.system("test", "")) as tx:
        await tx.connection.execute("TRUNCATE procrastinate_jobs CASCADE")
    return Jobs(database_url)


@pytest.fixture
def imaging_with(database, blobs, jobs) -> Callable[[Pacs], Imaging]:
    def wired(pacs: Pacs) -> Imaging:
        imaging = Imaging(database, blobs, {pacs.site: pacs}, BASE_URL, jobs)
        imaging.register(Backoff(attempts=6, first_s=0.5))
        return imaging

    return wired


@pytest.fixture
def imaging(orthanc, pacs_of, imaging_with) -> Imaging:
    return imaging_with(pacs_of(orthanc))


@pytest.fixture
async def patient(database) -> str:
    async with database.transaction(Subject.system("test", "system/*.cruds")) as tx:
        result = await tx.writer.update(
            {
                "resourceType": "Patient",
                "id": "maria",
                "identifier": [{"system": MRN, "value": "00483921"}],
                "name": [{"family": "Álvarez", "given": ["María"]}],
                "birthDate": "1961-04-12",
            }
        )
    return f"Patient/{result.stored.id}"


@pytest.fixture
def viewer(database, blobs, issue_token):
    """``await viewer(reference, scopes)`` → an HTTP client of our own DICOMweb."""
    app = Starlette(
        routes=[Mount("/dicomweb", build_router(database, partial(authenticate, database), blobs, base_url=BASE_URL))]
    )

    async def open_viewer(reference="Practitioner/hannah", scopes="user/*.rs") -> httpx.AsyncClient:
        token = await issue_token(reference, scopes)
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url=BASE_URL + "/",
            headers={"Authorization": f"Bearer {token}"},
        )

    return open_viewer


class Proxy:
    """Passes bytes on to a port, counted; ``budget`` cuts every connection once so many came back, ``pace_s`` slows."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.budget: int | None = None
        self.pace_s = 0.0
        self.requests: list[str] = []
        self.url = ""

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/dicom-web"
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(self._up(reader, there_writer), self._down(there_reader, writer), return_exceptions=True)
        for one in (writer, there_writer):
            one.close()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.requests += [line.split()[1].decode() for line in data.split(b"\r\n") if line.startswith(b"GET ")]
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(16384):
            if self.budget is not None:
                self.budget -= len(data)
                if self.budget < 0:
                    writer.transport.abort()
                    return
            await asyncio.sleep(self.pace_s)
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
async def proxy(orthanc) -> AsyncIterator[Proxy]:
    proxy = Proxy(orthanc.http_port)
    server = await proxy.start()
    yield proxy
    server.close()
