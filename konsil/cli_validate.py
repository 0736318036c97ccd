"""``konsil validate``: check FHIR files before they are sent, with our validator and with one nobody here wrote."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_server.kernel.errors import Issue


def validate(
    files: Annotated[list[Path], typer.Argument(help="JSON files, each one resource or Bundle.")],
) -> None:
    """Check FHIR R4 resources in files; status 1 when any has a fault.

    Each is checked against the R4 definitions, as on a write, and against the models of fhir.resources.

    Example: konsil validate my-programme/*.json
    """
    faulty = 0
    for file in files:
        found = list(_found(file))
        faulty += bool(found)
        typer.echo(f"{file}: {'valid' if not found else f'{len(found)} faults'}")
        for issue in found:
            typer.echo(f"  {issue.expression or '-'}: {issue.diagnostics}")
    raise typer.Exit(1 if faulty else 0)


def _found(file: Path) -> "Iterator[Issue]":
    from fhir_server.kernel import json  # noqa: PLC0415 - each command imports what it needs when it runs
    from fhir_server.kernel.errors import InvalidRequest  # noqa: PLC0415 - as above
    from fhir_server.kernel.models import model_issues  # noqa: PLC0415 - as above
    from fhir_server.kernel.validation import validate as check  # noqa: PLC0415 - as above

    try:
        resource: dict[str, Any] = json.decode_resource(file.read_bytes())
    except InvalidRequest as error:
        yield from error.issues
        return
    ours = check(resource)
    yield from ours
    yield from () if ours else model_issues(resource) or ()
