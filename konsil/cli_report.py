"""``konsil report``: checking that a signed report is what was signed."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Signed reports.", no_args_is_help=True)
DataDir = Annotated[Path | None, typer.Option(help="Where data lives. KONSIL_DATA_DIR.")]


@app.callback()
def _group() -> None:
    """Signed reports."""


@app.command()
def verify(reference: Annotated[str, typer.Argument(help="DiagnosticReport/<id>.")], data_dir: DataDir = None) -> None:
    """Verify the signature over a report's document; status 1 when it does not hold.

    Example: konsil report verify DiagnosticReport/1f0c
    """
    from cases.report_verify import verified  # noqa: PLC0415 - each command imports what it needs when it runs
    from cases.signature import Signer  # noqa: PLC0415 - as above
    from fhir_server.kernel.subject import Subject  # noqa: PLC0415 - as above
    from fhir_server.store.database import Database  # noqa: PLC0415 - as above
    from konsil.server import database_server  # noqa: PLC0415 - as above
    from konsil.settings import Settings  # noqa: PLC0415 - as above

    given: dict[str, Any] = {"data_dir": data_dir} if data_dir else {}
    settings = Settings(**given)
    reader = Subject.system("report-verify", "system/DiagnosticReport.rs system/Bundle.rs system/Provenance.rs")

    async def run(conninfo: str) -> str:
        database = await Database.open(conninfo, max_connections=1)
        try:
            async with database.transaction(reader) as tx:
                return await verified(tx, reference, Signer.open(settings.data_dir / "keys").jwks())
        finally:
            await database.close()

    with database_server(settings) as conninfo:
        signed_by = asyncio.run(run(conninfo))
    typer.echo(f"valid: signed with key {signed_by}, document unchanged")
