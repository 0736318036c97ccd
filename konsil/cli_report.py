"""``konsil report``: checking that a signed report is what was signed."""

from typing import Annotated

import typer

from konsil.operating import DataDir, Tools, run

app = typer.Typer(help="Signed reports.", no_args_is_help=True)


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

    reader = Subject.system("report-verify", "system/DiagnosticReport.rs system/Bundle.rs system/Provenance.rs")

    async def work(tools: Tools) -> str:
        async with tools.database.transaction(reader) as tx:
            return await verified(tx, reference, Signer.open(tools.settings.data_dir / "keys").jwks())

    signed_by = run(work, data_dir)
    typer.echo(f"valid: signed with key {signed_by}, document unchanged")
