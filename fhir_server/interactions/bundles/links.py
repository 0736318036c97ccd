"""Links between the entries of a transaction: ``urn:uuid`` and other fullUrls become real references everywhere.

"The server SHALL replace all matching links in the bundle, whether they are found in the resource ids, resource
references, elements of type uri, url, oid, uuid, and <a href="" & <img src="" in the narrative."
https://hl7.org/fhir/R4/http.html#transaction
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_in_narrative = re.compile(r'((?:href|src)\s*=\s*)(["\'])([^"\']+)\2')
# Elements that hold a name or free text, never a link: an identifier's value may well be a urn:uuid of its own.
_never_links = frozenset({"value", "valueString", "id", "display", "fullUrl", "resourceType", "data"})


def resolve_links(value: Any, targets: Mapping[str, str]) -> Any:
    """Return ``value`` with every link found in ``targets`` replaced; parts without one are not copied.

    A Bundle inside (a document, perhaps signed) is left alone.
    """
    if isinstance(value, dict):
        if value.get("resourceType") == "Bundle":
            return value
        return _resolve_object(value, targets)
    if isinstance(value, list):
        resolved = [_resolve_member(item, targets) for item in value]
        return resolved if any(new is not old for new, old in zip(resolved, value, strict=True)) else value
    return value


def references(value: Any) -> Iterator[str]:
    """Yield the text of every ``Reference.reference`` in ``value``, not looking into a Bundle inside."""
    if isinstance(value, dict):
        if value.get("resourceType") == "Bundle":
            return
        for name, item in value.items():
            if isinstance(item, dict | list):
                yield from references(item)
            elif name == "reference" and isinstance(item, str):
                yield item
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def _resolve_object(value: dict[str, Any], targets: Mapping[str, str]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for name, old in value.items():
        if isinstance(old, str):
            new: Any = _resolve_text(name, old, targets)
        elif isinstance(old, dict | list):
            new = resolve_links(old, targets)
        else:
            continue
        if new is not old:
            changed[name] = new
    return {**value, **changed} if changed else value


def _resolve_member(item: Any, targets: Mapping[str, str]) -> Any:
    return _resolve_text("", item, targets) if isinstance(item, str) else resolve_links(item, targets)


def _resolve_text(name: str, text: str, targets: Mapping[str, str]) -> str:
    if name == "div":
        return _in_narrative.sub(lambda found: f"{found[1]}{found[2]}{_target(found[3], targets)}{found[2]}", text)
    if name in _never_links:
        return text
    if name == "reference" or text.startswith("urn:"):
        return _target(text, targets)
    return text


def _target(text: str, targets: Mapping[str, str]) -> str:
    """Return the target of a link; a fragment (``#p1``) after a fullUrl goes with it."""
    found = targets.get(text)
    if found is not None:
        return found
    base, mark, rest = text.partition("#")
    if mark and base in targets:
        return f"{targets[base]}#{rest}"
    return text
