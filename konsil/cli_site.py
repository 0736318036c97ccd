"""``konsil site``: how a hospital's messages are mapped, value by value, without sending anything."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from adapters.hl7v2.sites import Site

app = typer.Typer(help="Sites: explain a mapping, try a site's own sample messages.", no_args_is_help=True)


@app.command()
def explain(
    message: Annotated[Path, typer.Argument(help="A file with one HL7 v2 message.")],
    site: Annotated[str, typer.Option(help="Name of the site.")],
) -> None:
    """Print value, mapping row, layer and FHIR path of everything in a message that goes somewhere.

    Example: konsil site explain admission.hl7 --site lakeside
    """
    from adapters.hl7v2.convert import explain as explained  # noqa: PLC0415 - each command imports what it needs
    from adapters.hl7v2.tokenizer import Message  # noqa: PLC0415 - as above

    configured = _site(site)
    for row in explained(Message.parse(_read(message), configured.mapping.charset), configured.mapping):
        typer.echo(f"{row.source:<12} {row.value[:48]:<48} {row.row:<44} {row.layer:<12} {row.path}")


@app.command()
def test(site: Annotated[str, typer.Argument(help="Name of the site.")]) -> None:
    """Map and validate the site's own sample messages, sites/SITE/tests/*.hl7; status 1 if any fails.

    Example: konsil site test lakeside
    """
    configured = _site(site)
    samples = sorted((_folder() / site / "tests").glob("*.hl7"))
    if not samples:
        raise RuntimeError(f"Site '{site}' has no sample messages. Put some into its folder, as tests/*.hl7.")
    faults = {sample.name: _fault(_read(sample), configured) for sample in samples}
    for name, fault in faults.items():
        typer.echo(f"{name}: {fault or 'in order'}")
    if any(faults.values()):
        raise typer.Exit(1)


def _fault(raw: bytes, site: "Site") -> str | None:
    """Return what is wrong with a message or with what it maps to, None when nothing is."""
    from adapters.hl7v2.conversion import MappingError  # noqa: PLC0415 - as above
    from adapters.hl7v2.convert import convert  # noqa: PLC0415 - as above
    from adapters.hl7v2.tokenizer import MalformedMessage, Message  # noqa: PLC0415 - as above
    from fhir_server.kernel.validation import validate  # noqa: PLC0415 - as above

    try:
        conversion = convert(Message.parse(raw, site.mapping.charset), site.mapping)
    except (MappingError, MalformedMessage) as error:
        return str(error)
    issues = [issue for mapped in conversion.resources for issue in validate(mapped.resource | dict(mapped.defaults))]
    wrong = [f"{issue.expression}: {issue.diagnostics}" for issue in issues if issue.severity in ("error", "fatal")]
    return "; ".join(wrong) or None


def _site(name: str) -> "Site":
    from adapters.hl7v2.sites import load_sites  # noqa: PLC0415 - as above

    folder = _folder()
    sites = load_sites(folder).by_name
    if name not in sites:
        raise RuntimeError(f"There is no site '{name}' in {folder}; known are {', '.join(sorted(sites)) or 'none'}.")
    return sites[name]


def _folder() -> Path:
    from konsil.settings import Settings  # noqa: PLC0415 - as above

    nothing_given: dict[str, Any] = {}
    return Settings(**nothing_given).sites_dir


def _read(path: Path) -> bytes:
    """Return the message in a file, without MLLP framing if it has any."""
    return path.read_bytes().strip(b"\x0b\x1c\r\n") + b"\r"
