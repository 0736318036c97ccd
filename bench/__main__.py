"""Measure Konsil on this machine, with the machine's limits beside it: ``make bench``.

Client, server and PostgreSQL share the cores, audit is on, and every write is durable before it is answered. Each
figure is the median of three runs. The limits: a bare FastAPI + psycopg read of the same row, and bare MLLP framing.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count, repeat
from pathlib import Path
from typing import Any

from bench.document import put
from bench.load import Result, closed_loop, each, http_request
from bench.server import Konsil

RUNS = 3


def observation(number: int, patient: str) -> dict[str, object]:
    """Return a synthetic laboratory Observation."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}
        ],
        "code": {"coding": [{"system": "http://loinc.org", "code": "2160-0", "display": "Creatinine"}]},
        "subject": {"reference": patient},
        "effectiveDateTime": f"2026-03-{number % 28 + 1:02d}T08:00:00-05:00",
        "valueQuantity": {
            "value": 0.5 + number % 100 / 100,
            "unit": "mg/dL",
            "system": "http://unitsofmeasure.org",
            "code": "mg/dL",
        },
    }


def transaction(patient: str, entries: int) -> bytes:
    """Return a transaction Bundle of ``entries`` creates."""
    entry = [
        {
            "fullUrl": f"urn:uuid:00000000-0000-4000-8000-{n:012d}",
            "resource": observation(n, patient),
            "request": {"method": "POST", "url": "Observation"},
        }
        for n in range(entries)
    ]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entry}).encode()


def adt(number: int, run: str) -> bytes:
    """Return an ADT^A08 of one of 500 synthetic patients; each message has a control id of its own."""
    who = number % 500
    return (
        f"MSH|^~\\&|EPICADT|LAKESIDE|KONSIL|HARBOR|20260302080000-0500||ADT^A08^ADT_A01|{run}-{number}|P|2.5.1\r"
        f"EVN|A08|20260302080000-0500\r"
        f"PID|1||9{who:07d}^^^LAKESIDE^MR||BENCH^PATIENT{who}||1961{who % 12 + 1:02d}12|F|||"
        f"{number} BENEFIT ST^^PROVIDENCE^RI^02903\r"
        f"PV1|1|O|ONC^^^LAKESIDE||||1234567893^RAO^ANIL^^^^^^NPI||||||||||||V-9{who:06d}^^^LAKESIDE^VN\r"
    ).encode()


def measured(
    make: Callable[[], Iterator[bytes]], port: int, connections: int, seconds: float, *, mllp: bool = False
) -> Result:
    """Return the median run of three."""
    results = [
        asyncio.run(closed_loop(port, make(), connections=connections, seconds=seconds, mllp=mllp)) for _ in range(RUNS)
    ]
    return sorted(results, key=lambda result: result.per_second)[RUNS // 2]


def limit_process(*args: str) -> tuple[subprocess.Popen[str], int]:
    """Start ``bench.limits`` and return the process and its port."""
    process = subprocess.Popen([sys.executable, "-m", "bench.limits", *args], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 - stdout is a pipe here
    return process, int(process.stdout.readline())


class Table:
    """Prints the rows as they come and keeps them for the result file."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self.rows: list[dict[str, object]] = []

    def add(self, name: str, result: Result, *, factor: int = 1, beside: Result | None = None) -> Result:
        """Add one row; ``factor`` is entries per request, ``beside`` the limit it is a share of."""
        share = f"{result.per_second / beside.per_second:7.0%}" if beside else "       "
        figures = f"{result.per_second * factor:10,.0f}/s  p50 {result.p50_ms:8.2f} ms  p99 {result.p99_ms:8.2f} ms"
        print(f"{name:<46} {figures}  {share}  {result.statuses}", flush=True)
        self.rows.append(
            {
                "name": " ".join(name.split()),
                "per_second": result.per_second * factor,
                "p50_ms": result.p50_ms,
                "p99_ms": result.p99_ms,
                "share": result.per_second / beside.per_second if beside else None,
            }
        )
        return result


def http_workloads(konsil: Konsil, table: Table, seconds: float) -> None:
    """Reads, creates and transactions over HTTP."""
    token = konsil.token("system", "system/*.cruds")
    patient = konsil.create(token, {"resourceType": "Patient", "name": [{"family": "Bench", "given": ["Patient"]}]})
    read_path = f"/fhir/{konsil.create(token, observation(1, patient))}"
    process, port = limit_process("http", konsil.conninfo, "fhir.observation")
    try:
        for connections in (1, 16):
            bare_request = http_request("GET", "/" + read_path.rpartition("/")[2])
            request = http_request("GET", read_path, token)
            limit = measured(lambda r=bare_request: repeat(r), port, connections, seconds)
            table.add(f"limit: bare FastAPI + psycopg read, {connections:>2} conn.", limit)
            ours = measured(lambda r=request: repeat(r), konsil.port, connections, seconds)
            table.add(f"read by id, {connections:>2} connections", ours, beside=limit)
    finally:
        process.terminate()
        process.wait()
    search = http_request(
        "GET", f"/fhir/Observation?patient={patient}&code=http://loinc.org|2160-0&_sort=-date&_count=20", token
    )
    numbers = count(2)

    def creates() -> Iterator[bytes]:
        return each(
            lambda _: http_request(
                "POST", "/fhir/Observation", token, json.dumps(observation(next(numbers), patient)).encode()
            )
        )

    for connections in (1, 16):
        table.add(
            f"create, durable, {connections:>2} connections", measured(creates, konsil.port, connections, seconds)
        )
    table.add("search patient+code sorted by date, 4 conn.", measured(lambda: repeat(search), konsil.port, 4, seconds))
    bundle = http_request("POST", "/fhir", token, transaction(patient, 200))
    table.add("transaction entries (bundles of 200), 2 conn.",
              measured(lambda: repeat(bundle), konsil.port, 2, seconds * 2), factor=200)  # fmt: skip


def mllp_workloads(konsil: Konsil, table: Table, seconds: float) -> None:
    """ADT messages over MLLP: mapped, written and committed before the AA."""
    process, port = limit_process("mllp")
    runs = count()

    def messages() -> Iterator[bytes]:
        run = f"B{os.getpid()}-{next(runs)}"
        return each(lambda number: adt(number, run))

    try:
        for connections in (1, 16):
            bare = table.add(
                f"limit: bare MLLP framing, {connections:>2} connections",
                measured(messages, port, connections, seconds, mllp=True),
            )
            table.add(f"ADT^A08 applied and acknowledged, {connections:>2} conn.",
                      measured(messages, konsil.mllp_port, connections, seconds, mllp=True), beside=bare)  # fmt: skip
    finally:
        process.terminate()
        process.wait()


def in_words(rows: dict[str, Any], options: argparse.Namespace) -> str:
    """Return the rows as Markdown, with the command that made them."""
    facts = rows["facts"]
    heading = (
        f"`make bench`, {facts['started'][:16]} UTC, {facts['cores']} cores, Python {facts['python']}, median of "
        f"{RUNS} runs of {options.seconds:g} s each. {options.conditions}"
    )
    lines = [heading.strip(), "", "| | per second | p50 ms | p99 ms | of the limit |", "|---|--:|--:|--:|--:|"]
    for row in rows["rows"]:
        share = f"{row['share']:.0%}" if row["share"] else ""
        figures = f"{row['per_second']:,.0f} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f}"
        lines.append(f"| {row['name']} | {figures} | {share} |")
    cold, rss = rows["cold_start_s"], rows["rss_mib"]
    lines += ["", f"Cold start to 200 on `/fhir/metadata`: {cold:.1f} s. Resident memory at the end: {rss:.0f} MiB."]
    return "\n".join(lines)


def main() -> None:
    """Run every workload and write ``bench/results/<time>.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each run")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--conditions", default="", help="a sentence on the conditions, kept with the table")
    options = parser.parse_args()
    facts = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "started": datetime.now(UTC).isoformat(),
    }
    print(f"{facts['cores']} cores, Python {facts['python']}, median of {RUNS} runs of {options.seconds:g} s each\n")
    table = Table()
    with tempfile.TemporaryDirectory(prefix="konsil-bench-") as folder, Konsil.started(Path(folder)) as konsil:
        print(
            f"{'cold start to 200 on /fhir/metadata':<46} {konsil.cold_start_s:10.2f} s   (initialised data directory)"
        )
        http_workloads(konsil, table, options.seconds)
        mllp_workloads(konsil, table, options.seconds)
        rss = konsil.rss_mib()
        print(f"{'resident memory of the server process':<46} {rss:10.0f} MiB")
    out = Path("bench/results")
    out.mkdir(parents=True, exist_ok=True)
    rows = {"facts": facts, "cold_start_s": konsil.cold_start_s, "rss_mib": rss, "rows": table.rows}
    (out / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json").write_text(json.dumps(rows, indent=2))
    if options.write:
        put("bench", in_words(rows, options))


if __name__ == "__main__":
    main()
