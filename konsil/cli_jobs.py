"""``konsil jobs``: background work that failed for good, and trying it again."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fhir_server.jobs.app import FailedJob, Jobs

app = typer.Typer(help="Background jobs: list those that failed, retry.", no_args_is_help=True)
DataDir = Annotated[Path | None, typer.Option(help="Where data lives. KONSIL_DATA_DIR.")]


@app.command("list")
def list_(count: Annotated[int, typer.Option(help="How many, newest first.")] = 50, data_dir: DataDir = None) -> None:
    """List the jobs that failed for good. Example: konsil jobs list."""
    for job in _run(lambda jobs: jobs.list_failed(count=count), data_dir):
        typer.echo(_line(job))


@app.command()
def retry(id: Annotated[int, typer.Argument(help="Id of the job, as listed.")], data_dir: DataDir = None) -> None:
    """Put a failed job back to the queue, with all its attempts before it. Example: konsil jobs retry 7."""
    _run(lambda jobs: jobs.retry(id), data_dir)
    typer.echo(f"Job {id} waits to run again.", err=True)


def _line(job: "FailedJob") -> str:
    when = f"{job.failed_at:%Y-%m-%d %H:%M:%S}" if job.failed_at else ""
    return f"{job.id:>6}  {when:<19}  {job.name:<22}  {job.attempts:>2} attempts  {job.error}"


def _run(work: "Callable[[Jobs], Awaitable[Any]]", data_dir: Path | None) -> Any:
    from fhir_server.jobs.app import Jobs  # noqa: PLC0415 - each command imports what it needs when it runs
    from konsil.server import database_server  # noqa: PLC0415 - as above
    from konsil.settings import Settings  # noqa: PLC0415 - as above

    given: dict[str, Any] = {"data_dir": data_dir} if data_dir else {}

    async def run(conninfo: str) -> Any:
        return await work(Jobs(conninfo))

    with database_server(Settings(**given)) as conninfo:
        return asyncio.run(run(conninfo))
