"""Closed-loop load over HTTP/1.1 and MLLP: every connection sends its next request when the last one was answered."""

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

VT, FS_CR = b"\x0b", b"\x1c\r"


@dataclass(frozen=True)
class Result:
    """What one run gave: requests per second, latencies in milliseconds, answers by status."""

    per_second: float
    p50_ms: float
    p99_ms: float
    statuses: dict[str, int]


def http_request(method: str, path: str, token: str | None = None, body: bytes = b"") -> bytes:
    """Return one HTTP/1.1 request as bytes, to be sent as often as wanted."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/fhir+json"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/fhir+json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def http_exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes, bytes]:
    """Send one request and return the answer's status, head and body."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    lowered, body = head.lower(), b""
    at = lowered.find(b"content-length:")
    if at >= 0:
        body = await reader.readexactly(int(lowered[at + 15 : lowered.index(b"\r\n", at)]))
    elif b"transfer-encoding: chunked" in lowered:
        chunks = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            chunks.append((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)
        body = b"".join(chunks)
    return int(head[9:12]), head, body


async def _http_status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> str:
    return str((await http_exchange(reader, writer, request))[0])


async def _mllp_exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> str:
    writer.write(VT + request + FS_CR)
    answer = await reader.readuntil(FS_CR)
    at = answer.find(b"MSA|")
    return answer[at + 4 : at + 6].decode()


async def closed_loop(
    port: int, requests: Iterator[bytes], *, connections: int, seconds: float, mllp: bool = False
) -> Result:
    """Drive ``connections`` connections to ``port`` for ``seconds`` and return what they saw."""
    exchange = _mllp_exchange if mllp else _http_status
    latencies: list[float] = []
    statuses: dict[str, int] = {}
    end = time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        while (start := time.perf_counter()) < end:
            status = await exchange(reader, writer, next(requests))
            latencies.append(time.perf_counter() - start)
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(connections)))
    took = time.perf_counter() - began
    cuts = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else [0.0] * 99
    return Result(len(latencies) / took, cuts[49] * 1e3, cuts[98] * 1e3, statuses)


def each(make: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield ``make(0)``, ``make(1)``, … for ever."""
    return map(make, count())
