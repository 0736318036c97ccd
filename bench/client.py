"""The one client of every workload: raw HTTP/1.1 on kept connections, each request timed, each status checked."""

import asyncio
import contextlib
import json
import os
import resource
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Self
from urllib.parse import urlsplit

from bench.load import http_exchange, http_request

P99_SAMPLES = 1_000


class Unexpected(Exception):
    """A server answered with a status the workload does not allow."""


@dataclass
class Samples:
    """What one run saw: milliseconds by kind of request, statuses, and what the client itself cost."""

    ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[int] = field(default_factory=Counter)
    units: int = 0
    steps: int = 0
    seconds: float = 0.0
    client_cpu: float = 0.0
    server_cpu_s: float | None = None

    def row(self, unit: str) -> dict[str, Any]:
        """Return the run as one row: units a second, median and p99 of all its requests."""
        every = [ms for kind in self.ms.values() for ms in kind]
        return {
            "unit": unit,
            "per_second": self.units / self.seconds if self.seconds else 0.0,
            "requests": len(every),
            "p50_ms": median(every) if every else 0.0,
            "p99_ms": quantiles(every, n=100)[98] if len(every) >= P99_SAMPLES else None,
            "max_ms": max(every, default=0.0),
            "client_cpu": self.client_cpu,
            "server_cpu_ms": self.server_cpu_s * 1e3 / max(self.units, 1) if self.server_cpu_s is not None else None,
            "statuses": {str(status): number for status, number in self.statuses.items()},
        }


@dataclass
class Connection:
    """One kept connection to the server under test, made anew when the server closes it."""

    target: "Target"
    samples: Samples
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(
        self, kind: str, method: str, path: str, body: bytes = b"", *, expect: Collection[int] = (200,)
    ) -> Any:
        """Send one request, note its latency under ``kind``, and return the decoded body.

        Raises Unexpected when the status is none of ``expect``.
        """
        request = http_request(method, f"{self.target.base}{path}", self.target.token, body)
        start = time.perf_counter()
        status, head, answer = await http_exchange(self.reader, self.writer, request)
        self.samples.ms[kind].append((time.perf_counter() - start) * 1e3)
        self.samples.statuses[status] += 1
        if b"connection: close" in head.lower():
            await self.close()
            self.reader, self.writer = await self.target.open()
        if status not in expect:
            raise Unexpected(f"{method} {path}: {status} {answer[:600].decode(errors='replace')}")
        return json.loads(answer) if answer.strip() else None

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        await self.writer.wait_closed()


@dataclass(frozen=True)
class Target:
    """The server under test."""

    host: str
    port: int
    base: str
    token: str | None
    pids: tuple[int, ...] = ()

    @classmethod
    def at(cls, url: str, token: str | None, pids: tuple[int, ...] = ()) -> Self:
        """Return the target of a FHIR base URL such as http://127.0.0.1:8000/fhir."""
        parts = urlsplit(url)
        return cls(parts.hostname or "127.0.0.1", parts.port or 80, parts.path.rstrip("/"), token, pids)

    async def connect(self, samples: Samples) -> Connection:
        """Open a connection that notes what it sees in ``samples``."""
        return Connection(self, samples, *await self.open())

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a TCP connection."""
        return await asyncio.open_connection(self.host, self.port, limit=2**26)


Iteration = Callable[[Connection, int], Awaitable[int]]
"""One closed-loop step: given a connection and a number no other step has, do it and return the units done."""


async def drive(
    target: Target, iteration: Iteration, *, connections: int, seconds: float = 0.0, steps: int = 0, first: int = 0
) -> Samples:
    """Run ``iteration`` on every connection until the time is up, or until ``steps`` are done."""
    samples = Samples()
    number = first

    async def one() -> None:
        nonlocal number
        connection = await target.connect(samples)
        while number < first + steps if steps else time.perf_counter() < end:
            mine = number
            number += 1
            done = await iteration(connection, mine)  # awaited first: `units += await …` would lose what others add
            samples.units += done
        await connection.close()

    servers = sum(map(_tree_cpu_s, target.pids))
    cpu, began = _cpu_s(), time.perf_counter()
    end = began + seconds
    await asyncio.gather(*(one() for _ in range(connections)))
    samples.seconds = time.perf_counter() - began
    samples.steps = number - first
    samples.client_cpu = (_cpu_s() - cpu) / samples.seconds
    if target.pids:
        samples.server_cpu_s = sum(map(_tree_cpu_s, target.pids)) - servers
    return samples


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _tree_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its children, the ended ones too (Linux)."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended; its parent counts it
            fields = stat.read_text().rpartition(")")[2].split()
            if stat.parent.name == str(pid):
                ticks += sum(map(int, fields[11:15]))
            elif fields[1] == str(pid):
                ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")
