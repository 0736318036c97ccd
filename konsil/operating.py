"""What operators' commands share: the running server's database, its settings and its jobs, for one piece of work.

The database server is the running Konsil's, or started for the command; jobs enqueued here are done by whoever serves.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from fhir_server.jobs.app import Jobs
    from fhir_server.store.database import Database
    from konsil.settings import Settings

T = TypeVar("T")
DataDir = Annotated[Path | None, typer.Option(help="Where data lives. KONSIL_DATA_DIR.")]


@dataclass(frozen=True, slots=True)
class Tools:
    """What a command works with."""

    database: "Database"
    settings: "Settings"
    jobs: "Jobs"


def run(work: Callable[[Tools], Awaitable[T]], data_dir: Path | None) -> T:
    """Return what ``work`` returns, on a database with the guards and reactions of the running server."""
    from fhir_server.jobs.app import Jobs  # noqa: PLC0415 - each command imports what it needs when it runs
    from fhir_server.store.database import Database  # noqa: PLC0415 - as above
    from konsil.app import build_wiring  # noqa: PLC0415 - as above
    from konsil.server import database_server  # noqa: PLC0415 - as above
    from konsil.settings import Settings  # noqa: PLC0415 - as above

    given: dict[str, Any] = {"data_dir": data_dir} if data_dir else {}
    settings = Settings(**given)

    async def on(conninfo: str) -> T:
        jobs = Jobs(conninfo)
        database = await Database.open(conninfo, wiring=build_wiring(jobs), max_connections=2)
        try:
            return await work(Tools(database, settings, jobs))
        finally:
            await database.close()

    with database_server(settings) as conninfo:
        return asyncio.run(on(conninfo))
