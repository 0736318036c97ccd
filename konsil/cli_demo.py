"""``konsil demo``: one whole case against a small simulated hospital."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer


def demo(
    exit: Annotated[
        bool, typer.Option("--exit", help="End when the story is told; status 0 only if every assertion held.")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="The demo's own folder, emptied at the start.")] = None,
) -> None:
    """Play a whole case, from intake to report, and stay up to look at until Ctrl-C.

    Example: konsil demo --exit
    """
    from konsil.demo.run import run  # noqa: PLC0415 - loads pydicom, typst and the rest only for the demo
    from konsil.demo.server import DemoError  # noqa: PLC0415 - as above
    from konsil.settings import Settings  # noqa: PLC0415 - as above

    given: dict[str, Any] = {"data_dir": data_dir} if data_dir else {}
    settings = Settings(**given)
    folder = settings.data_dir if data_dir else settings.data_dir / "demo"
    try:
        held = asyncio.run(run(folder.absolute(), settings.sites_dir, until_interrupted=not exit))
    except asyncio.CancelledError:
        typer.echo("konsil demo: stopped before its end.", err=True)
        raise typer.Exit(1) from None
    except DemoError as error:
        typer.echo(f"konsil demo: {error}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if held else 1)
