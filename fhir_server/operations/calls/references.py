"""The literal references in a resource.

https://hl7.org/fhir/R4/references.html#literal
"""

import re
from collections.abc import Iterator
from typing import Any

from fhir_server.kernel.references import Reference, parse_reference

_reference = re.compile(r'"reference":"([^"\\]+)"')
_reference_or_url = re.compile(r'"(?:reference|url)":"([^"\\]+)"')


def references_in(body: str, base_url: str, *, attachments: bool = False) -> Iterator[Reference]:
    """Yield the references to resources of this server in a stored body, in order, repetitions too.

    With ``attachments`` the URLs that attachments have on this server are among them.

    The text is searched as it is: what the store writes is compact JSON, and a quote inside a string is escaped.
    """
    for text in (_reference_or_url if attachments else _reference).findall(body):
        found = local(text, base_url)
        if found is not None:
            yield found


def references_with_paths(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each reference below ``value``: ``("Composition.author[0]", "Practitioner/1")``.

    What is contained is passed over.
    """
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield path, value["reference"]
        for name, child in value.items():
            if name != "contained":
                yield from references_with_paths(child, f"{path}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from references_with_paths(item, f"{path}[{index}]")


def local(text: str, base_url: str) -> Reference | None:
    """Return a reference to a resource of this server; None for one to elsewhere or inside the resource."""
    return parse_reference(text.removeprefix(f"{base_url}/") if base_url else text)
