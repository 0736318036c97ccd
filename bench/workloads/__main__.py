"""Run the workloads against any FHIR server: ``python -m bench.workloads http://127.0.0.1:8000/fhir --token …``.

W3 loads the synthetic records first; then W4, W5, W6, W1 and W2 run closed loops of ``--seconds`` after a warm-up
(``--workloads`` chooses). W7, the footprint, needs the server's process: ``python -m bench.peers``.
"""

import argparse
import asyncio
import json
import os
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.client import Iteration, Samples, Target, Unexpected, drive
from bench.workloads.crud import CrudMix, crud_life
from bench.workloads.load import load_directory, load_patient
from bench.workloads.search import MIX, SECOND_OPINION, SHAPES, Shape, ask, matches

ALL = ("W1", "W2", "W3", "W4", "W5", "W6")


class Run:
    """One run of the chosen workloads against one server."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Take the options of the command line."""
        self.target = Target.at(options.base, options.token, options.pids)
        self.patients: int = options.patients
        self.seconds: float = options.seconds
        self.warm_up: float = options.warm_up
        self.connections: list[int] = options.connections
        self.rows: dict[str, dict[str, Any]] = {}
        self.matches: dict[str, list[int]] = {}
        self.refused: dict[str, str] = {}

    async def load(self) -> None:
        """W3: the first half of the patients warms the server up, the second half is measured."""
        connections, half = max(self.connections), self.patients // 2
        await drive(self.target, load_directory, connections=1, steps=1)
        await drive(self.target, load_patient, connections=connections, steps=half)
        samples = await drive(
            self.target, load_patient, connections=connections, steps=self.patients - half, first=half
        )
        self._note(f"W3 import, {connections} conn.", samples, "entries")

    async def closed_loops(self, name: str, unit: str, iteration: Iteration) -> None:
        """Run one workload at each number of connections, after one warm-up."""
        warm = await drive(self.target, iteration, connections=max(self.connections), seconds=self.warm_up)
        first = warm.steps
        for connections in self.connections:
            samples = await drive(self.target, iteration, connections=connections, seconds=self.seconds, first=first)
            first += samples.steps
            self._note(f"{name}, {connections} conn.", samples, unit)

    async def crud(self) -> None:
        """W1."""
        await self.closed_loops("W1 life of nine resources", "requests", crud_life)

    async def mix(self) -> None:
        """W2."""
        mix = CrudMix([f"Patient/p{n:06d}" for n in range(min(self.patients, 200))])
        await self.closed_loops("W2 create, read, update, delete", "requests", mix.step)

    async def searches(self) -> None:
        """W4."""
        await self._probe("W4", {f"{n:02d} {shape[0]}": shape for n, shape in enumerate(MIX)})
        await self.closed_loops("W4 searches", "searches", self._turns(list(MIX), "W4"))

    async def second_opinion(self) -> None:
        """W6."""
        await self._probe("W6", SECOND_OPINION)
        await self.closed_loops("W6 second opinion", "searches", self._turns(list(SECOND_OPINION.values()), "W6"))

    async def shapes(self) -> None:
        """W5: one connection, a shape at a time; the median of each."""
        await self._probe("W5", SHAPES)
        each = max(self.seconds / 10, 0.3)
        for name, shape in SHAPES.items():
            if f"W5 {name}" in self.refused:
                continue
            samples = await drive(self.target, self._turns([shape], name), connections=1, seconds=each)
            self._note(f"W5 {name}", samples, "searches")

    def _turns(self, shapes: list[Shape], seed: str) -> Iteration:
        async def turn(connection: Any, number: int) -> int:
            dice = random.Random(f"{seed} {number}")
            await ask(connection, "search", shapes[number % len(shapes)], dice, self.patients)
            return 1

        return turn

    async def _probe(self, workload: str, shapes: Mapping[str, Shape]) -> None:
        """Ask each shape three times with fixed values and keep the number of matches, to compare servers by."""
        for name, shape in shapes.items():
            connection = await self.target.connect(Samples())
            try:
                self.matches[f"{workload} {name}"] = [
                    matches(await ask(connection, name, shape, random.Random(f"{name} {turn}"), self.patients))
                    for turn in range(3)
                ]
            except Unexpected as refusal:
                if workload != "W5":  # the mixes W4 and W6 are the same for every server or they are not run
                    raise
                self.refused[f"W5 {name}"] = str(refusal)
                print(f"W5 {name}: refused. {refusal}", flush=True)
            finally:
                await connection.close()

    def _note(self, name: str, samples: Samples, unit: str) -> None:
        row = self.rows[name] = samples.row(unit)
        p99 = f"{row['p99_ms']:8.2f}" if row["p99_ms"] is not None else "       -"
        print(f"{name:<40} {row['per_second']:9,.1f} {unit}/s  p50 {row['p50_ms']:8.2f} ms  p99 {p99} ms  "
              f"client CPU {row['client_cpu']:4.0%}  {row['statuses']}", flush=True)  # fmt: skip

    async def all(self, chosen: list[str]) -> None:
        """Run the chosen workloads, the import first, what writes last."""
        # The searches come before what leaves resources behind, so that every server searches the same ones.
        steps = {"W3": self.load, "W4": self.searches, "W5": self.shapes, "W6": self.second_opinion, "W1": self.crud,
                 "W2": self.mix}  # fmt: skip
        for name, step in steps.items():
            if name in chosen:
                await step()


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="the FHIR base URL, e.g. http://127.0.0.1:8000/fhir")
    parser.add_argument("--token", default=os.environ.get("BENCH_TOKEN"), help="a bearer token (or BENCH_TOKEN)")
    parser.add_argument("--patients", type=int, default=50, help="how many patients W3 loads, or has loaded")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measured run")
    parser.add_argument("--warm-up", type=float, default=3.0, help="unmeasured seconds before each workload")
    parser.add_argument("--connections", type=lambda text: [int(n) for n in text.split(",")], default=[1, 4])
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=list(ALL))
    parser.add_argument("--pids", type=lambda text: tuple(map(int, text.split(","))), default=(),
                        help="processes on this machine whose CPU time goes with each row")  # fmt: skip
    parser.add_argument("--json", type=Path, help="a file for the rows")
    return parser.parse_args()


def main() -> None:
    """Run and report."""
    chosen = options()
    unknown = set(chosen.workloads) - set(ALL)
    if unknown:
        sys.exit(f"{', '.join(sorted(unknown))}: not a workload. There are {', '.join(ALL)}.")
    run = Run(chosen)
    asyncio.run(run.all(chosen.workloads))
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": run.rows, "matches": run.matches, "refused": run.refused}, indent=2))


if __name__ == "__main__":
    main()
