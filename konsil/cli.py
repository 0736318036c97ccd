"""The command ``konsil``. Each command imports what it needs when it runs, so that ``--help`` is quick.

https://typer.tiangolo.com
"""

import asyncio
import os
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from konsil import cli_demo, cli_jobs, cli_messages, cli_report, cli_site, cli_studies, cli_validate, logs

app = typer.Typer(
    help="The integration server behind a medical second-opinion programme.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
user_commands = typer.Typer(help="Who may do what: tokens.", no_args_is_help=True)
app.add_typer(user_commands, name="user")
app.add_typer(cli_messages.app, name="messages")
app.add_typer(cli_site.app, name="site")
app.add_typer(cli_jobs.app, name="jobs")
app.add_typer(cli_report.app, name="report")
app.add_typer(cli_studies.app, name="studies")
app.command("demo")(cli_demo.demo)
app.command("validate")(cli_validate.validate)

DataDir = Annotated[
    Path | None, typer.Option(help="Where data lives. KONSIL_DATA_DIR; ./var, as root /var/lib/konsil.")
]
_lifetime = re.compile(r"(\d{1,6})([mhd])")
_units = {"m": "minutes", "h": "hours", "d": "days"}


class CommandError(Exception):
    """The command cannot do what was asked; the text says what to do."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address HTTP listens on. KONSIL_HOST; 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="The HTTP port. KONSIL_PORT; 8000.")] = None,
    mllp_port: Annotated[int | None, typer.Option(help="The MLLP port. KONSIL_MLLP_PORT; 2575.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Serve FHIR over HTTP and HL7 v2 over MLLP until SIGTERM.

    Example: konsil serve --port 8000 --mllp-port 2575 --data-dir ./var
    """
    from konsil import server  # noqa: PLC0415 - see the module's docstring

    settings = _settings(host=host, port=port, mllp_port=mllp_port, data_dir=data_dir)
    _refuse_problems(settings)
    server.serve(settings)


@app.command()
def worker(data_dir: DataDir = None) -> None:
    """Run jobs and deliveries, and nothing else, until SIGTERM; for machines beside the one that serves.

    Example: KONSIL_DATABASE_URL=postgresql://konsil@database/konsil konsil worker
    """
    from konsil import server  # noqa: PLC0415 - see the module's docstring

    settings = _settings(data_dir=data_dir)
    _refuse_problems(settings)
    server.work(settings)


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to the newest schema. Example: konsil migrate."""
    from konsil.server import database_server  # noqa: PLC0415 - see the module's docstring

    with database_server(_settings(data_dir=data_dir)):
        typer.echo("The schema is the newest.", err=True)


@app.command("database-url")
def database_url(data_dir: DataDir = None) -> None:
    """Print the conninfo of the database, for psql. Example: psql "$(konsil database-url)"."""
    from konsil.server import database_server  # noqa: PLC0415 - see the module's docstring

    with database_server(_settings(data_dir=data_dir)) as conninfo:
        typer.echo(conninfo)


@app.command("check-config")
def check_config() -> None:
    """Say what is unsafe or unknown in the configuration, and end with 1 when anything is.

    Example: konsil check-config
    """
    from konsil.app import load_checked_sites, mllp_security  # noqa: PLC0415 - see the module's docstring
    from konsil.archives import load_archives  # noqa: PLC0415 - see the module's docstring

    settings = _settings()
    _refuse_problems(settings)
    load_checked_sites(settings)
    load_archives(settings.sites_dir)
    mllp_security(settings)
    typer.echo("The configuration is in order.", err=True)


@user_commands.command("token")
def user_token(
    reference: Annotated[str, typer.Argument(help="Practitioner/…, Patient/… or system.")],
    scope: Annotated[str, typer.Option(help="SMART v2 scopes, separated by spaces.")],
    patient: Annotated[str | None, typer.Option(help="Id of the Patient that patient/ scopes are bound to.")] = None,
    lifetime: Annotated[str | None, typer.Option(help="How long it lasts: 15m, 8h, 30d.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Print a new bearer token, and nothing else, on standard output.

    Example: konsil user token Practitioner/rao --scope "user/*.rs user/ServiceRequest.cu" --lifetime 8h
    """
    from fhir_server.auth.tokens import issue  # noqa: PLC0415 - see the module's docstring

    settings = _settings(data_dir=data_dir)
    lasts = _duration(lifetime) if lifetime else timedelta(days=settings.token_lifetime_days)
    typer.echo(_with_database(settings, lambda db: issue(db, reference, scope, patient=patient, lifetime=lasts)))


@user_commands.command("revoke")
def user_revoke(data_dir: DataDir = None) -> None:
    """End the token read from standard input, at once. Example: konsil user revoke < token."""
    from fhir_server.auth.tokens import revoke  # noqa: PLC0415 - see the module's docstring

    token = sys.stdin.read().strip()
    if not _with_database(_settings(data_dir=data_dir), lambda db: revoke(db, token)):
        raise CommandError("There is no such live token.")
    typer.echo("Revoked.", err=True)


def main() -> None:
    """Run the command line. Errors the user can act on are one line on standard error and status 1."""
    try:
        app()
    except Exception as error:
        text = _explanation(error)
        if text is None:
            raise
        typer.echo(f"konsil: {text}", err=True)
        raise SystemExit(1) from None


def _explanation(error: Exception) -> str | None:
    """Return what to tell the user, None for an error that is ours."""
    from pydantic import ValidationError  # noqa: PLC0415 - see the module's docstring

    from fhir_server.kernel.errors import FhirError  # noqa: PLC0415 - see the module's docstring

    if isinstance(error, ValidationError):
        faults = (f"KONSIL_{'_'.join(map(str, fault['loc'])).upper()} {fault['msg']}" for fault in error.errors())
        return "; ".join(faults)
    if isinstance(error, FhirError | CommandError | RuntimeError | OSError):
        return str(error)
    return None


def _settings(**given: Any) -> Any:
    """Return the settings; options that were given win over the environment."""
    from konsil.settings import Settings  # noqa: PLC0415 - see the module's docstring

    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    logs.configure(settings.log_level, settings.log_format)
    return settings


def _refuse_problems(settings: Any) -> None:
    from konsil.settings import problems  # noqa: PLC0415 - see the module's docstring

    found = problems(settings, os.environ)
    if found:
        raise CommandError("\n".join(found))


def _with_database(settings: Any, work: Any) -> Any:
    """Return what ``work(database)`` returns, on the running database server or one started for it."""
    from fhir_server.store.database import Database  # noqa: PLC0415 - see the module's docstring
    from konsil.server import database_server  # noqa: PLC0415 - see the module's docstring

    async def run(conninfo: str) -> Any:
        database = await Database.open(conninfo, max_connections=1)
        try:
            return await work(database)
        finally:
            await database.close()

    with database_server(settings) as conninfo:
        return asyncio.run(run(conninfo))


def _duration(text: str) -> timedelta:
    found = _lifetime.fullmatch(text)
    if not found:
        raise CommandError("--lifetime is a number and m, h or d: 15m, 8h, 30d.")
    return timedelta(**{_units[found[2]]: int(found[1])})


if __name__ == "__main__":
    main()
