"""WADO-RS answers: multipart bodies streamed from blobs, metadata as stored, frames cut out by position.

PS3.18 §10.4: https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_10.4.html
"""

import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from email.message import Message

from starlette.responses import Response, StreamingResponse

from adapters.dicomweb.blobs import Blobs
from adapters.dicomweb.frames import Span, media_type
from fhir_server.kernel.errors import NotAcceptable, NotFound
from fhir_server.store.imaging import StoredInstance

_preamble = 128
_explicit_little = "1.2.840.10008.1.2.1"

GUARDED = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "private, no-store",
    "Content-Encoding": "identity",  # compressing pixels again costs more than it saves
}


def accepted(header: str | None) -> list[tuple[str, dict[str, str]]]:
    """Return the media types of an Accept header with their parameters, in order; all of them when there is none."""
    found = []
    for part in _split(header or "*/*"):
        message = Message()
        message["content-type"] = part
        parameters = {name: value for name, value in message.get_params([], "content-type")[1:] if name != "q"}
        found.append((message.get_params([("*/*", "")], "content-type")[0][0].strip().lower(), parameters))
    return found


def _split(header: str) -> list[str]:
    """Split at commas outside quotes."""
    parts, quoted, current = [], False, ""
    for letter in header:
        quoted ^= letter == '"'
        if letter == "," and not quoted:
            parts.append(current)
            current = ""
        else:
            current += letter
    return [part.strip() for part in [*parts, current] if part.strip()]


def instances_response(instances: Sequence[StoredInstance], blobs: Blobs, accept: str | None) -> Response:
    """Return the instances as they were received but for a preamble of zeros."""
    if not instances:
        raise NotFound("There is no such instance.")
    choice = _choose(instances, accept)
    if choice == "application/dicom":
        return StreamingResponse(
            _with_zeroed_preamble(blobs, instances[0].sha256),
            headers={**GUARDED, **_attachment("dcm"), "Content-Length": str(instances[0].size)},
            media_type="application/dicom",
        )
    boundary = secrets.token_hex(16)
    heads = [_head(boundary, f"application/dicom; transfer-syntax={one.transfer_syntax}") for one in instances]
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = sum(len(head) + one.size for head, one in zip(heads, instances, strict=True)) + len(tail)

    async def body() -> AsyncIterator[bytes]:
        for head, one in zip(heads, instances, strict=True):
            yield head
            async for chunk in _with_zeroed_preamble(blobs, one.sha256):
                yield chunk
        yield tail

    return _multipart(body(), "application/dicom", boundary, length)


def _choose(instances: Sequence[StoredInstance], accept: str | None) -> str:
    stored = {one.transfer_syntax for one in instances}
    for kind, parameters in accepted(accept):
        syntax = parameters.get("transfer-syntax", "*")
        if syntax != "*" and stored != {syntax}:
            continue
        if kind in ("*/*", "multipart/*") or (
            kind == "multipart/related" and parameters.get("type", "application/dicom") == "application/dicom"
        ):
            return "multipart/related"
        if kind == "application/dicom" and len(instances) == 1:
            return kind
    raise NotAcceptable('Ask for multipart/related; type="application/dicom"; transfer-syntax=*: it is sent as stored.')


async def _with_zeroed_preamble(blobs: Blobs, sha256: str) -> AsyncIterator[bytes]:
    """A preamble can make a file two things at once; nobody needs it."""
    first = True
    async for chunk in blobs.chunks(sha256):
        yield bytes(_preamble) + chunk[_preamble:] if first else chunk
        first = False


def metadata_response(instances: Sequence[StoredInstance], if_none_match: str | None) -> Response:
    """Return the stored headers as DICOM JSON, with an ETag over what they were made of."""
    if not instances:
        raise NotFound("There is no such instance.")
    digest = hashlib.sha256("".join(one.sha256 for one in instances).encode()).hexdigest()
    headers = {"ETag": f'"{digest[:32]}"', "X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache"}
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    body = "[" + ",".join(one.header for one in instances) + "]"
    return Response(body, headers=headers, media_type="application/dicom+json")


def frames_response(
    instance: StoredInstance, frames: Sequence[Sequence[Span]], blobs: Blobs, accept: str | None
) -> Response:
    """Return frames, each as one part, in the encoding they are stored in."""
    kind = media_type(instance.transfer_syntax)
    syntax = instance.transfer_syntax if kind != "application/octet-stream" else _explicit_little
    if not any(_frame_accepted(name, parameters, kind, syntax) for name, parameters in accepted(accept)):
        raise NotAcceptable(f'Ask for multipart/related; type="{kind}"; transfer-syntax={syntax}: frames go as stored.')
    boundary = secrets.token_hex(16)
    head = _head(boundary, f"{kind}; transfer-syntax={syntax}")
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = sum(len(head) + sum(size for _, size in frame) for frame in frames) + len(tail)

    async def body() -> AsyncIterator[bytes]:
        for frame in frames:
            yield head
            for start, size in frame:
                yield await blobs.read(instance.sha256, start, size)
        yield tail

    return _multipart(body(), kind, boundary, length)


def _frame_accepted(name: str, parameters: dict[str, str], kind: str, syntax: str) -> bool:
    if parameters.get("transfer-syntax", "*") not in ("*", syntax):
        return False
    return name in ("*/*", "multipart/*") or (
        name == "multipart/related" and parameters.get("type", kind) in (kind, "*/*")
    )


def _multipart(body: AsyncIterator[bytes], kind: str, boundary: str, length: int) -> Response:
    headers = {**GUARDED, **_attachment("multipart"), "Content-Length": str(length)}
    return StreamingResponse(body, headers=headers, media_type=f'multipart/related; type="{kind}"; boundary={boundary}')


def _head(boundary: str, kind: str) -> bytes:
    return f"\r\n--{boundary}\r\nContent-Type: {kind}\r\n\r\n".encode()


def _attachment(extension: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="dicom.{extension}"'}
