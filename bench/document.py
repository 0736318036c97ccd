"""Puts measured tables between markers in docs/performance.md, so that no figure there is typed by hand."""

import re
from pathlib import Path

DOCUMENT = Path("docs/performance.md")


def put(name: str, body: str) -> None:
    """Replace what stands between the markers of ``name``."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = DOCUMENT.read_text()
    if begin not in text or end not in text:
        raise SystemExit(f"{DOCUMENT} has lost its markers {begin} and {end}: put them back where the table belongs.")
    filled = f"{begin}\n\n{body.strip()}\n\n{end}"
    pattern = f"{re.escape(begin)}.*{re.escape(end)}"
    DOCUMENT.write_text(re.sub(pattern, lambda _: filled, text, flags=re.DOTALL))
