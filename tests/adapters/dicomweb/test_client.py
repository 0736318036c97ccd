import httpx
import pytest

from adapters.dicomweb.client import (
    DicomWebClient,
    Pacs,
    PacsError,
    PacsMissing,
    PacsRefused,
    PacsUnavailable,
)
from fhir_server.kernel import json

pacs = Pacs("LAKESIDE", "http://archive.example/dicom-web", "m", "a")


def streamed(body: bytes, kind: str = "application/dicom+json") -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(body), headers={"content-type": kind})


def client_of(handler) -> DicomWebClient:
    return DicomWebClient(pacs, httpx.MockTransport(handler))


async def read_all(client: DicomWebClient) -> bytes:
    async with client.retrieve("1.2", "1.2.3") as events:
        return b"".join([getattr(event, "data", b"") async for event in events])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, PacsRefused) for status in (302, 400, 401, 403)),
        *((status, PacsMissing) for status in (404, 410)),
        *((status, PacsUnavailable) for status in (408, 429, 500, 503)),
    ],
)
async def test_every_status_says_whether_asking_again_helps(status, kind):
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"location": "http://elsewhere.example"})

    async with client_of(answer) as client:
        with pytest.raises(kind):
            await client.studies("1")
        with pytest.raises(kind):
            await read_all(client)


async def test_no_content_is_an_empty_answer():
    async with client_of(lambda _: httpx.Response(204)) as client:
        assert await client.studies("1") == []


@pytest.mark.parametrize("body", [b"<html>", b'{"a": 1}', b"[1]", b"\xff"])
async def test_an_answer_that_is_not_dicom_json_is_an_error(body):
    async with client_of(lambda _: streamed(body)) as client:
        with pytest.raises(PacsError):
            await client.studies("1")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/related; boundary=b", b"--b\r\n\r\nhalf of it"),
        ("multipart/related", b""),
        ("application/json", b"{}"),
        ("multipart/related; boundary=b", b""),
    ],
)
async def test_a_multipart_answer_that_breaks_off_can_be_asked_for_again(kind, body):
    async with client_of(lambda _: streamed(body, kind)) as client:
        with pytest.raises(PacsUnavailable):
            await read_all(client)


async def test_pages_are_followed_and_a_server_that_ignores_offset_ends_the_search():
    rows = [{"0020000D": {"vr": "UI", "Value": [f"1.2.{number}"]}} for number in range(1200)]

    def honest(request: httpx.Request) -> httpx.Response:
        start, limit = int(request.url.params["offset"]), int(request.url.params["limit"])
        return streamed(json.encode(rows[start : start + limit]))

    async with client_of(honest) as client:
        assert await client.studies("1") == rows
    async with client_of(lambda _: streamed(json.encode(rows))) as client:
        assert await client.studies("1") == rows


async def test_nothing_is_asked_for_compressed_so_that_nothing_can_explode():
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["accept-encoding"])
        return streamed(b"[]")

    async with client_of(answer) as client:
        await client.studies("1")
    assert seen == ["identity"]
