"""``konsil studies``: which studies were pulled, which were put aside and why, and a person's decision about them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsil.operating import DataDir, Tools, run

if TYPE_CHECKING:
    from fhir_server.jobs.app import Jobs
    from fhir_server.store.database import Transaction
    from fhir_server.store.imaging import Pull, Quarantined

app = typer.Typer(help="Imaging studies: list, release from quarantine, ask again.", no_args_is_help=True)


@app.command("list")
def list_(
    site: Annotated[str | None, typer.Option(help="Name of the site.")] = None,
    quarantined: Annotated[bool, typer.Option("--quarantined", help="Only what waits for a person.")] = False,
    data_dir: DataDir = None,
) -> None:
    """List studies and their state. Example: konsil studies list --quarantined."""
    from fhir_server.store import imaging  # noqa: PLC0415 - each command imports what it needs when it runs

    async def work(tx: "Transaction", _jobs: "Jobs") -> None:
        if quarantined:
            for item in await imaging.quarantine(tx.connection):
                typer.echo(_aside(item))
            return
        for pull in await imaging.pulls(tx.connection, site=site):
            typer.echo(_pulled(pull))

    _run(work, data_dir)


@app.command()
def release(
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    study_uid: Annotated[str, typer.Argument(help="Study Instance UID, as listed.")],
    by: Annotated[str, typer.Option(help="Who decided that the study is this patient's.")],
    data_dir: DataDir = None,
) -> None:
    """Accept a study that was put aside as this patient's, and pull it.

    Example: konsil studies release lakeside 2.25.42 --by "R. Adler, called the radiology desk"
    """
    from adapters.dicomweb.pull import PULL  # noqa: PLC0415 - as above
    from fhir_server.store import imaging  # noqa: PLC0415 - as above

    async def work(tx: "Transaction", jobs: "Jobs") -> bool:
        if not await imaging.release(tx.connection, site, study_uid, by):
            return False
        lock = f"dicomweb:{site}:{study_uid}"
        await jobs.enqueue(tx.connection, PULL, {"site": site, "study_uid": study_uid}, lock, queueing_lock=lock)
        return True

    if not _run(work, data_dir):
        typer.echo(f"konsil: no study {study_uid} of {site} waits in quarantine.", err=True)
        raise typer.Exit(1)
    typer.echo("Released; it is pulled now.", err=True)


@app.command()
def discover(patient: Annotated[str, typer.Argument(help="Patient/<id>.")], data_dir: DataDir = None) -> None:
    """Ask every archive for a patient's studies again. Example: konsil studies discover Patient/42."""
    from cases.apply import DISCOVER_IMAGES  # noqa: PLC0415 - as above

    async def work(tx: "Transaction", jobs: "Jobs") -> None:
        await jobs.enqueue(tx.connection, DISCOVER_IMAGES, {"patient": patient}, patient)

    _run(work, data_dir)
    typer.echo("The archives are asked now.", err=True)


def _aside(item: "Quarantined") -> str:
    what = f"instance {item.sop_uid}" if item.sop_uid else "whole study"
    return f"{item.site:<12}  {item.study_uid:<64}  {item.reason:<22}  {what}"


def _pulled(pull: "Pull") -> str:
    counted = f"{pull.stored}/{pull.expected}"
    return f"{pull.site:<12}  {pull.study_uid:<64}  {pull.state:<12}  {counted:>11}  {pull.reason or pull.last_error}"


def _run(work: "Callable[[Transaction, Jobs], Awaitable[Any]]", data_dir: Path | None) -> Any:
    """Return what ``work`` returns, in one transaction."""
    from fhir_server.kernel.subject import Subject  # noqa: PLC0415 - as above

    async def in_transaction(tools: Tools) -> Any:
        async with tools.database.transaction(Subject.system("operator", "")) as tx:
            return await work(tx, tools.jobs)

    return run(in_transaction, data_dir)
