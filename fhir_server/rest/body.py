"""The request's body: read whole, within the limit, unpacked when it came as gzip.

https://datatracker.ietf.org/doc/html/rfc9110#section-8.4
"""

import zlib

from starlette.requests import Request

from fhir_server.kernel.errors import InvalidRequest, TooLarge, UnsupportedMediaType

_gzip_window = 31  # zlib: 15 bits of window, and a gzip header


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """Return the body. Raises TooLarge as soon as it is over ``limit_bytes``, packed or unpacked."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    unpack = _unpacker(request.headers.get("content-encoding"))
    parts, size = [], 0
    async for chunk in request.stream():
        for part in (chunk,) if unpack is None else _unpacked(unpack, chunk, limit_bytes - size):
            size += len(part)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            parts.append(part)
    if unpack is not None and not unpack.eof:
        raise InvalidRequest("The gzip body ends too early.")
    return b"".join(parts)


def _unpacker(encoding: str | None) -> "zlib._Decompress | None":
    if encoding is None or encoding.strip().lower() == "identity":
        return None
    if encoding.strip().lower() != "gzip":
        raise UnsupportedMediaType("Content-Encoding must be gzip or absent.")
    return zlib.decompressobj(_gzip_window)


def _unpacked(unpack: "zlib._Decompress", chunk: bytes, room_bytes: int) -> tuple[bytes, ...]:
    """Unpack one chunk, one byte further than there is room at most, so that a bomb never unfolds."""
    try:
        return (unpack.decompress(unpack.unconsumed_tail + chunk, room_bytes + 1),)
    except zlib.error as error:
        raise InvalidRequest("The body is not valid gzip.") from error


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"The body is over the limit of {limit_bytes} bytes. Send less at once.")
