"""Compare Konsil with HAPI FHIR, one after the other, on one PostgreSQL: ``make bench-peers PATIENTS=50``.

Each server loads the same records, is stopped, its database vacuumed and analysed, started cold again, and then gets
the same requests from the same client program. The rows go to ``bench/results`` and, with ``--write``, as a table of
ratios into docs/performance.md.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.document import put
from bench.peers.servers import JAVA_HEAP, SERVERS, Server, Start, build_hapi
from bench.peers.table import in_words
from bench.postgres import Postgres, running

AFTER_LOAD = "W1,W2,W4,W5,W6"


def machine() -> dict[str, Any]:
    """Return what a reader must know of the machine."""
    cpu = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in cpu.splitlines() if line.startswith("model name")), "?")
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr.splitlines()[0]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "cores": os.cpu_count(),
        "cpu": model,
        "memory_gib": round(pages * size / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "java": java,
        "java_heap": JAVA_HEAP,
        "commit": commit.stdout.strip(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average_before": os.getloadavg(),
    }


def client(
    server: Server, postgres: Postgres, workloads: str, options: argparse.Namespace, out: Path
) -> dict[str, Any]:
    """Run the client program on a server and return its rows."""
    command = [
        *(sys.executable, "-m", "bench.workloads", server.base, "--workloads", workloads, "--json", str(out)),
        *("--pids", f"{server.process.pid},{postgres.pid}"),
        *("--patients", str(options.patients), "--seconds", str(options.seconds)),
        *("--warm-up", str(options.warm_up), "--connections", options.connections),
    ]
    subprocess.run(command, check=True, env=os.environ | {"BENCH_TOKEN": server.token or ""})
    rows: dict[str, Any] = json.loads(out.read_text())
    return rows


def measure(name: str, start: Start, postgres: Postgres, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run every workload on one server."""
    print(f"\n{name}", flush=True)
    own = folder / name.lower()
    own.mkdir()
    database = f"bench_{name.lower()}"
    address = postgres.create(database)
    with start(own, address) as server:
        loaded = client(server, postgres, "W3", options, folder / "rows.json")
        footprint = {"rss_after_w3_mib": server.rss_mib}
    postgres.settle(database)
    footprint["database_mib"] = postgres.size_mib(database)
    with start(own, address) as server:
        footprint |= {"cold_start_s": server.cold_start_s, "idle_rss_mib": server.rss_mib}
        later = client(server, postgres, AFTER_LOAD, options, folder / "rows.json")
        footprint["rss_at_end_mib"] = server.rss_mib
    print("W7", ", ".join(f"{key} {value:,.1f}" for key, value in footprint.items()), flush=True)
    return {
        "rows": loaded["rows"] | later["rows"],
        "matches": later["matches"],
        "refused": later["refused"],
        "footprint": footprint,
    }


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=50, help="about 330 resources each")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measured run")
    parser.add_argument("--warm-up", type=float, default=3.0, help="unmeasured seconds before each workload")
    parser.add_argument("--connections", default="1,4", help="closed-loop clients, one run each")
    parser.add_argument("--servers", default=",".join(SERVERS), help="which, in this order")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--conditions", default="", help="a sentence on the conditions, kept with the table")
    return parser.parse_args()


def main() -> None:
    """Run the comparison."""
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the servers are stopped too
    names = chosen.servers.split(",")
    if "HAPI" in names:
        build_hapi()
    arguments = f"--seconds {chosen.seconds:g} --warm-up {chosen.warm_up:g} --connections {chosen.connections}"
    command = f'make bench-peers PATIENTS={chosen.patients} BENCH_ARGS="{arguments}"'
    result: dict[str, Any] = {"facts": machine(), "servers": {}, "conditions": chosen.conditions, "command": command}
    with tempfile.TemporaryDirectory(prefix="konsil-peers-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o711)
        with running(folder / "cluster") as postgres:
            result["facts"]["postgresql"] = postgres.facts()
            for name in names:
                result["servers"][name] = measure(name, SERVERS[name], postgres, folder, chosen)
    result["options"] = {key: value for key, value in vars(chosen).items() if key != "write"}
    out = Path("bench/results") / f"peers-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")
    print("\n" + in_words(result))
    if chosen.write:
        put("bench-peers", f"{in_words(result)}\n\nRows: `{out}`.")


if __name__ == "__main__":
    main()
