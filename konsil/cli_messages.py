"""``konsil messages``: what came in over HL7 v2, why it failed, and trying it again; what waits to go out."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from konsil.operating import DataDir, Tools, run

if TYPE_CHECKING:
    from adapters.hl7v2.receive import Receipt
    from adapters.hl7v2.replay import Shown
    from fhir_server.store.message_counts import Conservation
    from fhir_server.store.messages import Listed, Outcome


app = typer.Typer(help="HL7 v2 messages: list, show, replay.", no_args_is_help=True)

_MOST = 10_000
MessageId = Annotated[int, typer.Argument(help="Id of the message, as listed.")]
OutgoingId = Annotated[int, typer.Argument(help="Id of the outgoing message, as listed by outbox.")]


@app.command("list")
def list_(  # noqa: PLR0917 - typer gives every option by name
    status: Annotated[
        str | None, typer.Option(help="accepted, processed, failed, held, passed, refused, partial. Default: all.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Name of the site.")] = None,
    type: Annotated[str | None, typer.Option(help="Beginning of MSH-9: ADT, or ADT^A01.")] = None,
    error: Annotated[str | None, typer.Option(help="ERR-3 it was answered with: 101, 205.")] = None,
    location: Annotated[str | None, typer.Option(help="ERR-2 it was answered with: PID^1^3.")] = None,
    count: Annotated[int, typer.Option(help="How many, newest first.")] = 50,
    data_dir: DataDir = None,
) -> None:
    """List received messages. Example: konsil messages list --status failed --site lakeside."""
    from adapters.hl7v2 import replay  # noqa: PLC0415 - each command imports what it needs when it runs

    wanted = {"status": status, "site": site, "type": type, "error": error, "location": location}
    for row in run(lambda tools: replay.list_messages(tools.database, count=count, **wanted), data_dir):
        typer.echo(_line(row))


@app.command()
def show(
    id: MessageId,
    raw: Annotated[bool, typer.Option("--raw", help="Write the bytes as received, and nothing else.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show one message segment by segment, its error, and the resources it wrote.

    Example: konsil messages show 42
    """
    from adapters.hl7v2 import replay  # noqa: PLC0415 - as above

    shown = run(lambda tools: replay.show(tools.database, id), data_dir)
    if raw:
        typer.get_binary_stream("stdout").write(shown.message.raw)
        return
    for line in _description(shown):
        typer.echo(line)


@app.command("replay")
def replay_(  # noqa: PLR0917 - typer gives every option by name
    ids: Annotated[list[int] | None, typer.Argument(help="Ids of messages, as listed.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed message, oldest first.")] = False,
    status: Annotated[str | None, typer.Option(help="Every message of this status: processed, held, passed.")] = None,
    site: Annotated[str | None, typer.Option(help="Of these: those of this site.")] = None,
    type: Annotated[str | None, typer.Option(help="Of these: those whose MSH-9 begins so.")] = None,
    error: Annotated[str | None, typer.Option(help="Of these: those with this ERR-3.")] = None,
    location: Annotated[str | None, typer.Option(help="Of these: those with this ERR-2.")] = None,
    first: Annotated[int | None, typer.Option("--from", help="Of these: from this id on.")] = None,
    last: Annotated[int | None, typer.Option("--to", help="Of these: up to this id.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Process messages again from their bytes, oldest first; status 1 if any fails again.

    Example: konsil messages replay 42 43, or konsil messages replay --failed --error 101 --location PID^1^3
    """
    chosen = {
        "status": "failed" if failed else status, "site": site, "type": type, "error": error, "location": location,
        "first": first, "before": None if last is None else last + 1,
    }  # fmt: skip
    outcomes = run(lambda tools: _replay(tools, ids or [], chosen), data_dir)
    for number, outcome in outcomes:
        said = f"{outcome.error_code} {outcome.error_location} {outcome.error_text}".strip()
        typer.echo(f"{number} {outcome.status} {said or ', '.join(outcome.resources) or 'nothing new'}")
    if any(outcome.status != "processed" for _, outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def hold(
    id: MessageId,
    out: Annotated[bool, typer.Option("--out", help="An outgoing message, and its queue behind it.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Keep a failed or waiting message from being processed or sent. Example: konsil messages hold 42."""
    from adapters.hl7v2 import delivery, replay  # noqa: PLC0415 - as above

    if not out:
        run(lambda tools: replay.hold(tools.database, id), data_dir)
    elif not run(lambda tools: delivery.hold(tools.database, id), data_dir):
        raise RuntimeError(f"Outgoing message {id} does not wait, or is just being sent.")
    typer.echo(f"{id} is held.", err=True)


@app.command("pass")
def pass_(id: MessageId, data_dir: DataDir = None) -> None:
    """Give a failed or held message up; what waited behind it goes on. Example: konsil messages pass 42."""
    from adapters.hl7v2 import replay  # noqa: PLC0415 - as above

    run(lambda tools: replay.pass_over(tools.database, id, enqueue=tools.jobs.enqueue), data_dir)
    typer.echo(f"{id} is passed over.", err=True)


@app.command("edit-as-new")
def edit_as_new(
    id: MessageId,
    file: Annotated[typer.FileBinaryRead, typer.Option(help="The message to take instead; - is standard input.")],
    data_dir: DataDir = None,
) -> None:
    """Take an edited copy of a failed message as a new one; the failed one is passed over if it is accepted.

    Example: konsil messages show 42 --raw > m.hl7; edit m.hl7; konsil messages edit-as-new 42 --file m.hl7
    """
    raw = file.read().strip(b"\x0b\x1c\r\n") + b"\r"
    receipt = run(lambda tools: _edit_as_new(tools, id, raw), data_dir)
    typer.echo(receipt.answer.decode("utf-8", "replace").replace("\r", "\n").strip())
    if receipt.code not in ("AA", "CA"):
        raise typer.Exit(1)


@app.command()
def check(data_dir: DataDir = None) -> None:
    """Account for every message received; status 1 if one is nowhere or stuck. Example: konsil messages check."""
    found = run(_conservation, data_dir)
    typer.echo(
        f"received {found.received} = done {found.done} + waiting {found.waiting} + quarantined {found.quarantined}"
        f" + refused {found.refused}; stranded {found.stranded}"
    )
    if not found.holds:
        raise typer.Exit(1)


@app.command()
def outbox(
    status: Annotated[str | None, typer.Option(help="waiting, held, delivered or failed. Default: all.")] = None,
    count: Annotated[int, typer.Option(help="How many, newest first.")] = 50,
    data_dir: DataDir = None,
) -> None:
    """List outgoing messages and what became of them. Example: konsil messages outbox --status failed."""
    from adapters.hl7v2 import delivery  # noqa: PLC0415 - as above

    for row in run(lambda tools: delivery.list_outbound(tools.database, status=status, count=count), data_dir):
        typer.echo(
            f"{row.id:>7}  {row.status:<9}  {row.destination:<20}  {row.control_id:<20}  {row.reference:<44}"
            f"  attempts {row.attempts}  {row.acknowledgement_code} {row.last_error}".rstrip()
        )


@app.command()
def resend(id: OutgoingId, data_dir: DataDir = None) -> None:
    """Put a failed or held outgoing message back into its queue under its MSH-10. Example: konsil messages resend 7."""
    from adapters.hl7v2 import delivery  # noqa: PLC0415 - as above

    if not run(lambda tools: delivery.try_again(tools.database, id), data_dir):
        typer.echo(f"konsil: there is no failed outgoing message {id}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{id} waits for delivery again.", err=True)


@app.command()
def skip(id: OutgoingId, data_dir: DataDir = None) -> None:
    """Fail a held or waiting outgoing message, so that the next may go. Example: konsil messages skip 7."""
    from adapters.hl7v2 import delivery  # noqa: PLC0415 - as above

    if not run(lambda tools: delivery.skip(tools.database, id, tools.jobs.enqueue), data_dir):
        raise RuntimeError(f"Outgoing message {id} is neither held nor waiting, or is just being sent.")
    typer.echo(f"{id} is skipped.", err=True)


async def _replay(tools: Tools, ids: list[int], chosen: dict[str, Any]) -> list[tuple[int, "Outcome"]]:
    from adapters.hl7v2 import replay, sites  # noqa: PLC0415 - as above

    configured = sites.load_sites(tools.settings.sites_dir)
    if not ids and chosen["status"] is None:
        raise RuntimeError("Say which messages: ids, --failed, or --status.")
    if not ids:
        ids = [row.id for row in reversed(await replay.list_messages(tools.database, count=_MOST, **chosen))]
    port, enqueue = tools.settings.mllp_port, tools.jobs.enqueue
    return [(n, await replay.replay(tools.database, configured, n, port=port, enqueue=enqueue)) for n in ids]


async def _edit_as_new(tools: Tools, id: int, raw: bytes) -> "Receipt":
    from adapters.hl7v2 import receive, replay, sites  # noqa: PLC0415 - as above

    intake = receive.Intake(tools.database, sites.load_sites(tools.settings.sites_dir), enqueue=tools.jobs.enqueue)
    return await replay.edit_as_new(tools.database, intake, id, raw, enqueue=tools.jobs.enqueue)


async def _conservation(tools: Tools) -> "Conservation":
    from fhir_server.store.message_counts import conservation  # noqa: PLC0415 - as above

    async with tools.database.connection() as connection:
        return await conservation(connection)


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
