"""history of one resource, newest first.

https://hl7.org/fhir/R4/http.html#history
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.interactions.bundles.addresses import etag, instant, link
from fhir_server.interactions.read import HasReader
from fhir_server.kernel import json
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.store.records import HistoryPage, Stored

_maximum_count = 1000
_methods = {"create": ("POST", "201"), "update": ("PUT", "200"), "delete": ("DELETE", "204")}


@dataclass(frozen=True, slots=True)
class HistoryResult:
    """One page of versions and where it stands."""

    path: str
    pairs: tuple[tuple[str, str], ...]
    page: HistoryPage


async def history_instance(
    tx: HasReader, resource_type: str, id: str, pairs: Sequence[tuple[str, str]] = ()
) -> HistoryResult:
    """Return a page of versions; ``_count`` sizes it, ``_before`` (a version) continues it. Raises NotFound."""
    count, before = 50, None
    for name, value in pairs:
        if name == "_count":
            count = min(_whole(name, value), _maximum_count)
        elif name == "_before":
            before = _whole(name, value)
        elif name != "_format":
            raise InvalidSearch(f"history does not know the parameter '{name}'; it knows _count.")
    page = await tx.reader.history(resource_type, id, count=count, before=before)
    return HistoryResult(f"{resource_type}/{id}/_history", tuple(pairs), page)


def history_bundle(result: HistoryResult, base_url: str) -> dict[str, Any]:
    """Return the history Bundle: each version with the request that made it."""
    page = result.page
    links = [link("self", base_url, result.path, result.pairs)]
    if page.next is not None:
        pairs = [pair for pair in result.pairs if pair[0] != "_before"]
        links.append(link("next", base_url, result.path, [*pairs, ("_before", str(page.next))]))
    return {
        "resourceType": "Bundle",
        "type": "history",
        "total": page.total,
        "link": links,
        "entry": [_entry(version, base_url) for version in page.entries],
    }


def _entry(version: Stored, base_url: str) -> dict[str, Any]:
    method, status = _methods[version.method]
    address = f"{version.resource_type}/{version.id}"
    entry: dict[str, Any] = {"fullUrl": f"{base_url}/{address}"}
    if version.method != "delete":
        entry["resource"] = json.verbatim(version.body)
    entry["request"] = {"method": method, "url": version.resource_type if method == "POST" else address}
    entry["response"] = {"status": status, "etag": etag(version), "lastModified": instant(version.last_updated)}
    return entry


def _whole(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 0 < len(value) <= 18:  # noqa: PLR2004 - what a bigint holds
        raise InvalidSearch(f"{name} must be a whole number.")
    return int(value)
