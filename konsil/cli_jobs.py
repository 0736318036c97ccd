"""``konsil jobs``: background work that failed for good, and trying it again."""

from typing import TYPE_CHECKING, Annotated

import typer

from konsil.operating import DataDir, run

if TYPE_CHECKING:
    from fhir_server.jobs.app import FailedJob

app = typer.Typer(help="Background jobs: list those that failed, retry.", no_args_is_help=True)


@app.command("list")
def list_(count: Annotated[int, typer.Option(help="How many, newest first.")] = 50, data_dir: DataDir = None) -> None:
    """List the jobs that failed for good. Example: konsil jobs list."""
    for job in run(lambda tools: tools.jobs.list_failed(count=count), data_dir):
        typer.echo(_line(job))


@app.command()
def retry(id: Annotated[int, typer.Argument(help="Id of the job, as listed.")], data_dir: DataDir = None) -> None:
    """Put a failed job back to the queue, with all its attempts before it. Example: konsil jobs retry 7."""
    run(lambda tools: tools.jobs.retry(id), data_dir)
    typer.echo(f"Job {id} waits to run again.", err=True)


def _line(job: "FailedJob") -> str:
    when = f"{job.failed_at:%Y-%m-%d %H:%M:%S}" if job.failed_at else ""
    return f"{job.id:>6}  {when:<19}  {job.name:<22}  {job.attempts:>2} attempts  {job.error}"
