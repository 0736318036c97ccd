"""``konsil messages``: what came in over HL7 v2, why it failed, and trying it again; what waits to go out."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from adapters.hl7v2.replay import Shown
    from fhir_server.store.database import Database
    from fhir_server.store.messages import Listed, Outcome
    from konsil.settings import Settings

T = TypeVar("T")

app = typer.Typer(help="HL7 v2 messages: list, show, replay.", no_args_is_help=True)

_MOST = 10_000
DataDir = Annotated[Path | None, typer.Option(help="Where data lives. KONSIL_DATA_DIR.")]


@app.command("list")
def list_(
    status: Annotated[
        str | None, typer.Option(help="accepted, processed, failed, refused or partial. Default: all.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Name of the site.")] = None,
    type: Annotated[str | None, typer.Option(help="Beginning of MSH-9: ADT, or ADT^A01.")] = None,
    count: Annotated[int, typer.Option(help="How many, newest first.")] = 50,
    data_dir: DataDir = None,
) -> None:
    """List received messages. Example: konsil messages list --status failed --site lakeside."""
    from adapters.hl7v2 import replay  # noqa: PLC0415 - each command imports what it needs when it runs

    def work(database: "Database", _settings: "Settings") -> Awaitable[list["Listed"]]:
        return replay.list_messages(database, status=status, site=site, type=type, count=count)

    for row in _run(work, data_dir):
        typer.echo(_line(row))


@app.command()
def show(
    id: Annotated[int, typer.Argument(help="Id of the message, as listed.")],
    raw: Annotated[bool, typer.Option("--raw", help="Write the bytes as received, and nothing else.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show one message segment by segment, its error, and the resources it wrote.

    Example: konsil messages show 42
    """
    from adapters.hl7v2 import replay  # noqa: PLC0415 - as above

    shown = _run(lambda database, _settings: replay.show(database, id), data_dir)
    if raw:
        typer.get_binary_stream("stdout").write(shown.message.raw)
        return
    for line in _description(shown):
        typer.echo(line)


@app.command("replay")
def replay_(
    ids: Annotated[list[int] | None, typer.Argument(help="Ids of messages, as listed.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed message, oldest first.")] = False,
    site: Annotated[str | None, typer.Option(help="With --failed: of this site only.")] = None,
    type: Annotated[str | None, typer.Option(help="With --failed: MSH-9 begins so.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Process messages again from their bytes; status 1 if any fails again.

    Example: konsil messages replay 42 43, or konsil messages replay --failed --type ORU
    """
    chosen = {"status": "failed", "site": site, "type": type, "count": _MOST} if failed else None
    outcomes = _run(lambda database, settings: _replay(database, settings, ids or [], chosen), data_dir)
    for number, outcome in outcomes:
        said = f"{outcome.error_code} {outcome.error_location} {outcome.error_text}".strip()
        typer.echo(f"{number} {outcome.status} {said or ', '.join(outcome.resources) or 'nothing new'}")
    if any(outcome.status != "processed" for _, outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def outbox(
    status: Annotated[str | None, typer.Option(help="waiting, delivered or failed. Default: all.")] = None,
    count: Annotated[int, typer.Option(help="How many, newest first.")] = 50,
    data_dir: DataDir = None,
) -> None:
    """List outgoing messages and what became of them. Example: konsil messages outbox --status failed."""
    from adapters.hl7v2 import delivery  # noqa: PLC0415 - as above

    for row in _run(lambda database, _settings: delivery.list_outbound(database, status=status, count=count), data_dir):
        typer.echo(
            f"{row.id:>7}  {row.status:<9}  {row.destination:<20}  {row.control_id:<20}  {row.reference:<44}"
            f"  attempts {row.attempts}  {row.acknowledgement_code} {row.last_error}".rstrip()
        )


@app.command()
def resend(
    id: Annotated[int, typer.Argument(help="Id of a failed outgoing message.")], data_dir: DataDir = None
) -> None:
    """Put a failed outgoing message back into its queue, under the same MSH-10. Example: konsil messages resend 7."""
    from adapters.hl7v2 import delivery  # noqa: PLC0415 - as above

    if not _run(lambda database, _settings: delivery.try_again(database, id), data_dir):
        typer.echo(f"konsil: there is no failed outgoing message {id}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{id} waits for delivery again.", err=True)


async def _replay(
    database: "Database", settings: "Settings", ids: list[int], chosen: dict[str, Any] | None
) -> list[tuple[int, "Outcome"]]:
    from adapters.hl7v2 import replay, sites  # noqa: PLC0415 - as above

    configured = sites.load_sites(settings.sites_dir)
    if chosen:
        ids = [row.id for row in reversed(await replay.list_messages(database, **chosen))]
    return [(n, await replay.replay(database, configured, n, port=settings.mllp_port)) for n in ids]


def _line(row: "Listed") -> str:
    fault = f"{row.error_code} {row.error_location} {row.error_text}".strip()
    resent = f"  resent {row.resends} times" if row.resends else ""
    return (
        f"{row.id:>7}  {row.received_at:%Y-%m-%d %H:%M:%S}  {row.status:<9}  {row.site or '-':<12}"
        f"  {row.message_type:<8}  {row.control_id:<20}  {row.size_bytes:>9} B  {fault}{resent}"
    ).rstrip()


def _description(shown: "Shown") -> list[str]:
    message = shown.message
    received, answer = f"{message.received_at:%Y-%m-%d %H:%M:%S %Z}", message.acknowledgement_code or "nothing"
    lines = [
        f"Message {message.id} {message.message_type}, MSH-10 {message.control_id or '(none)'}, received {received}",
        f"from {message.sender or '(unknown)'} at {message.peer}, site {message.site or '(none)'}",
        f"{message.status}, answered {answer}, attempts {message.attempts}, resent {message.resends} times",
    ]
    if message.error_code:
        lines.append(f"error {message.error_code} at {message.error_location or '-'}: {message.error_text}")
    lines += [f"warning: {warning}" for warning in message.warnings]
    lines.append("")
    for name, fields in shown.segments:
        lines.append(name)
        lines += [f"  {f'{name}-{number}' if number else '':<8} {text}" for number, text in fields]
    lines += ["", *(f"wrote {reference}" for reference in message.resources or ["nothing"])]
    return lines


def _run(work: Callable[["Database", "Settings"], Awaitable[T]], data_dir: Path | None) -> T:
    """Return what ``work`` returns, on a database with the guards and reactions of the running server."""
    from fhir_server.jobs.app import Jobs  # noqa: PLC0415 - as above
    from fhir_server.store.database import Database  # noqa: PLC0415 - as above
    from konsil.app import build_wiring  # noqa: PLC0415 - as above
    from konsil.server import database_server  # noqa: PLC0415 - as above
    from konsil.settings import Settings  # noqa: PLC0415 - as above

    given: dict[str, Any] = {"data_dir": data_dir} if data_dir else {}
    settings = Settings(**given)

    async def run(conninfo: str) -> T:
        database = await Database.open(conninfo, wiring=build_wiring(Jobs(conninfo)), max_connections=2)
        try:
            return await work(database, settings)
        finally:
            await database.close()

    with database_server(settings) as conninfo:
        return asyncio.run(run(conninfo))
