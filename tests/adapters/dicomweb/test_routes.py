import asyncio
import io
from functools import partial

import httpx
import numpy as np
import pydicom
import pytest
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Mount

from adapters.dicomweb.multipart import MultipartReader, PartData, PartHead, boundary_of
from adapters.dicomweb.routes import build_router
from fhir_server.auth.tokens import authenticate
from fhir_server.kernel.subject import Subject
from konsil.demo.orthanc import Orthanc, installed

from .conftest import BASE_URL

SITE = "LAKESIDE"


@pytest.fixture
async def stored(orthanc, imaging, files, study, patient):
    orthanc.store(files)
    await imaging.discover(SITE, patient)
    assert await imaging.pull(SITE, study.study_uid) == "done"
    return study


def parts_of(answer: httpx.Response) -> list[bytes]:
    reader, found = MultipartReader(boundary_of(answer.headers["content-type"])), []
    for event in reader.feed(answer.content):
        if isinstance(event, PartHead):
            found.append(b"")
        elif isinstance(event, PartData):
            found[-1] += event.data
    reader.close()
    return found


async def test_a_study_is_retrieved_whole_by_series_and_by_instance(stored, viewer, files):
    async with await viewer() as client:
        study = f"studies/{stored.study_uid}"
        answer = await client.get(study)
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert sorted(part[128:] for part in parts_of(answer)) == sorted(file[128:] for file in files)
        series = await client.get(f"{study}/series/{stored.uid('axial')}")
        assert len(parts_of(series)) == 12
        instance = f"{study}/series/{stored.uid('axial')}/instances/{stored.uid('axial', 3)}"
        one = await client.get(instance, headers={"Accept": "application/dicom"})
        assert pydicom.dcmread(io.BytesIO(one.content)).InstanceNumber == 4


async def test_what_is_served_can_be_nothing_else_than_dicom(stored, viewer, blobs, database):
    async with database.transaction(Subject.system("test", "")) as tx:
        row = await (await tx.connection.execute("SELECT sha256 FROM fhir.imaging_instance LIMIT 1")).fetchone()
    place = blobs.local / "sha256" / row[0][:2] / row[0][2:4] / row[0]
    place.write_bytes(b"MZ" + b"\x90" * 126 + place.read_bytes()[128:])
    async with await viewer() as client:
        answer = await client.get(f"studies/{stored.study_uid}")
    assert all(part.startswith(bytes(128) + b"DICM") for part in parts_of(answer))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_metadata_is_dicom_json_with_an_etag(stored, viewer):
    async with await viewer() as client:
        path = f"studies/{stored.study_uid}/series/{stored.uid('axial')}/metadata"
        answer = await client.get(path)
        assert answer.headers["content-type"] == "application/dicom+json"
        rows = answer.json()
        assert [row["00200013"]["Value"] for row in rows] == [[number] for number in range(1, 13)]
        assert rows[0]["00281052"]["Value"] == [-1024]
        again = await client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_a_frame_is_the_pixels_and_nothing_but_the_pixels(stored, viewer, files):
    async with await viewer() as client:
        path = f"studies/{stored.study_uid}/series/{stored.uid('axial')}/instances/{stored.uid('axial', 5)}"
        (frame,) = parts_of(await client.get(f"{path}/frames/1"))
        assert frame == pydicom.dcmread(io.BytesIO(files[7])).PixelData
        assert (await client.get(f"{path}/frames/2")).status_code == 404
        assert (await client.get(f"{path}/frames/x")).status_code == 400
        jpeg = 'multipart/related; type="image/jpeg"'
        assert (await client.get(f"{path}/frames/1", headers={"Accept": jpeg})).status_code == 406


async def test_rendered_applies_the_window(stored, viewer, files):
    async with await viewer() as client:
        path = f"studies/{stored.study_uid}/series/{stored.uid('axial')}/instances/{stored.uid('axial', 5)}/rendered"
        answer = await client.get(path, headers={"Accept": "image/png"})
        pixels = np.asarray(Image.open(io.BytesIO(answer.content)))
        hu = pydicom.dcmread(io.BytesIO(files[7])).pixel_array.astype(float) - 1024
        expected = np.clip((hu - (40 - 0.5 - 399 / 2)) * 255 / 399, 0, 255)
        assert np.abs(pixels - expected).max() <= 1
        lung = await client.get(path, params={"window": "-500,1500,linear", "viewport": "32,32"})
        assert lung.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(lung.content)).size == (32, 32)
        for wrong in ({"window": "a,b"}, {"window": "1"}, {"quality": "0"}, {"viewport": "0,1"}, {"colour": "1"}):
            assert (await client.get(path, params=wrong)).status_code == 400, wrong


async def test_qido_finds_studies_series_and_instances(stored, viewer):
    async with await viewer() as client:

        async def found(path, **query):
            return (await client.get(path, params=query)).json()

        for query in (
            {"StudyInstanceUID": stored.study_uid},
            {"0020000D": stored.study_uid},
            {"PatientID": "00483921"},
            {"00100020": "00483921", "limit": "25", "offset": "0", "fuzzymatching": "false"},
            {"AccessionNumber": "A26-11873", "ModalitiesInStudy": "CT", "StudyDate": "20260101-20260331"},
        ):
            rows = await found("studies", **query)
            assert [row["0020000D"]["Value"] for row in rows] == [[stored.study_uid]], query
        assert rows[0]["00201208"]["Value"] == [14]
        assert rows[0]["00081190"]["Value"] == [f"{BASE_URL}/studies/{stored.study_uid}"]
        for query in ({"PatientID": "nobody"}, {"AccessionNumber": "X"}, {"StudyDate": "20250101"}):
            assert await found("studies", **query) == [], query
        series = await found(f"studies/{stored.study_uid}/series")
        assert [row["00201209"]["Value"] for row in series] == [[2], [12]]
        page = await found(f"studies/{stored.study_uid}/instances", limit=5, offset=10, includefield="00281052")
        assert len(page) == 4
        assert "00281052" in page[0]


@pytest.mark.parametrize(
    "query", ["PatientIDD=1", "StudyDate=yesterday", "limit=x", "limit=-1", "includefield=Nonsense"]
)
async def test_a_query_that_is_not_understood_is_refused_not_widened(viewer, query):
    async with await viewer() as client:
        answer = await client.get(f"studies?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0][:9] in answer.text


async def test_nobody_sees_a_study_without_the_right_to_its_imaging_study(stored, viewer, database):
    study = f"studies/{stored.study_uid}"
    paths = [study, f"{study}/metadata", f"{study}/series", f"{study}/instances"]
    paths.append(f"{study}/series/{stored.uid('axial')}/instances/{stored.uid('axial', 1)}/rendered")
    async with await viewer("Patient/stranger", "patient/*.rs") as client:
        for path in paths:
            assert (await client.get(path)).status_code == 404, path
        assert (await client.get("studies")).json() == []
    async with await viewer("Practitioner/x", "user/Observation.rs") as client:
        for path in paths:
            assert (await client.get(path)).status_code == 403, path
    async with await viewer("Patient/maria", "patient/*.rs") as client:
        assert (await client.get(f"{study}/series")).status_code == 200
        for path in paths:
            assert (await client.get(path, headers={"Authorization": ""})).status_code == 401
        for wrong in ("studies/1.2.3", "studies/..%2f..", "studies/%00", "studies/abc/series"):
            assert (await client.get(wrong)).status_code == 404


async def test_opening_a_study_is_audited_once_not_for_each_frame(stored, viewer, database):
    async with await viewer("Practitioner/auditee") as client:
        path = f"studies/{stored.study_uid}/series/{stored.uid('axial')}/instances/{stored.uid('axial', 1)}"
        for _ in range(4):
            assert (await client.get(f"{path}/frames/1")).status_code == 200
    async with database.transaction(Subject.system("test", "")) as tx:
        cursor = await tx.connection.execute(
            "SELECT action, resource_type FROM fhir.audit WHERE subject = 'Practitioner/auditee' AND outcome = 200"
        )
        assert await cursor.fetchall() == [("read", "ImagingStudy")]


async def test_another_makers_client_retrieves_from_us(stored, files, database, blobs, issue_token, tmp_path):
    """Orthanc as the client: its own QIDO, its own multipart reader, its own check of every file."""
    if installed():
        pytest.skip(installed())
    app = Starlette(
        routes=[Mount("/dicomweb", build_router(database, partial(authenticate, database), blobs, base_url=BASE_URL))]
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    token = await issue_token("Practitioner/hannah", "user/*.rs")
    konsil = {"Url": f"http://127.0.0.1:{port}/dicomweb", "HttpHeaders": {"Authorization": f"Bearer {token}"}}
    other = Orthanc(tmp_path / "other", servers={"konsil": konsil})
    await asyncio.to_thread(other.start)
    try:
        async with httpx.AsyncClient(base_url=other.url, timeout=30) as client:
            asked = {"Uri": "/studies", "Arguments": {"PatientID": "00483921"}}
            rows = (await client.post("/dicom-web/servers/konsil/qido", json=asked)).json()
            job = await client.post(
                "/dicom-web/servers/konsil/retrieve",
                json={"Resources": [{"Study": stored.study_uid}], "Synchronous": True},
            )
            count = (await client.get("/statistics")).json()["CountInstances"]
            ids = (await client.get("/instances")).json()
            first = (await client.get(f"/instances/{ids[0]}/file")).content if ids else b""
    finally:
        await asyncio.to_thread(other.stop)
        server.should_exit = True
        await serving
    assert len(rows) == 1
    assert job.status_code == 200, job.text
    assert count == 14
    assert first in files
