"""history of one resource, of a type, or of everything, newest first.

https://hl7.org/fhir/R4/http.html#history
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.interactions.bundles.addresses import etag, instant, link
from fhir_server.interactions.bundles.bodies import View, body_of, parse_view
from fhir_server.interactions.read import HasReader
from fhir_server.kernel.errors import Forbidden, InvalidSearch
from fhir_server.kernel.instants import EARLIEST, date_range
from fhir_server.store.history import HistoryQuery
from fhir_server.store.records import Stored

_maximum_count = 1000
_methods = {"create": ("POST", "201"), "update": ("PUT", "200"), "delete": ("DELETE", "204")}
_paging = frozenset({"_cursor", "_before"})


@dataclass(frozen=True, slots=True)
class HistoryResult:
    """One page of versions and where it stands; ``next`` is the pair that leads to the next page."""

    path: str
    pairs: tuple[tuple[str, str], ...]
    entries: tuple[Stored, ...]
    view: View
    next: tuple[str, str] | None
    total: int | None = None


@dataclass(slots=True)
class _Asked:
    """The parameters of a history."""

    count: int = 50
    since: datetime = EARLIEST
    at: tuple[datetime, datetime] | None = None
    before: int | None = None
    cursor: str | None = None
    view: View = field(default_factory=View)

    def wants(self, version: Stored, successor: Stored | None) -> bool:
        """Tell whether a version was made since, and was current at some time of ``at``."""
        if version.last_updated < self.since:
            return False
        if self.at is None:
            return True
        low, high = self.at
        return version.last_updated < high and (successor is None or successor.last_updated > low)


async def history_instance(
    tx: HasReader, resource_type: str, id: str, pairs: Sequence[tuple[str, str]] = (), *, lenient: bool = False
) -> HistoryResult:
    """Return a page of the versions of one resource. Raises NotFound, InvalidSearch."""
    asked = _parse(resource_type, pairs, continues="_before", lenient=lenient)
    every = (await tx.reader.history(resource_type, id, count=2**31 - 1)).entries
    wanted = [one for one, successor in zip(every, (None, *every), strict=False) if asked.wants(one, successor)]
    left = [one for one in wanted if asked.before is None or one.version < asked.before]
    page = tuple(left[: asked.count])
    following = ("_before", str(page[-1].version)) if page and len(left) > asked.count else None
    path = f"{resource_type}/{id}/_history"
    return HistoryResult(path, _kept(pairs), page, asked.view, following, len(wanted))


async def history_type(
    tx: HasReader, resource_type: str, pairs: Sequence[tuple[str, str]] = (), *, lenient: bool = False
) -> HistoryResult:
    """Return a page of the versions of a type's resources. Raises Forbidden, InvalidSearch."""
    tx.reader.subject.require(resource_type, "r")
    return await _changes(tx, resource_type, (resource_type,), pairs, lenient=lenient)


async def history_system(
    tx: HasReader, pairs: Sequence[tuple[str, str]] = (), *, lenient: bool = False
) -> HistoryResult:
    """Return a page of the versions of every resource the Subject may read. Raises Forbidden, InvalidSearch."""
    types = tuple(sorted(name for name in RESOURCE_TYPES if tx.reader.subject.grants(name, "r")))
    if not types:
        raise Forbidden("The token's scopes do not allow read on any type.")
    return await _changes(tx, None, types, pairs, lenient=lenient)


async def _changes(
    tx: HasReader,
    resource_type: str | None,
    types: tuple[str, ...],
    pairs: Sequence[tuple[str, str]],
    *,
    lenient: bool,
) -> HistoryResult:
    asked = _parse(resource_type, pairs, continues="_cursor", lenient=lenient)
    bound = tuple(pair for pair in _kept(pairs) if pair[0] in ("_since", "_at"))
    page = await tx.reader.changes(HistoryQuery(types, asked.count, asked.since, asked.at, asked.cursor, bound))
    following = ("_cursor", page.next) if page.next is not None else None
    path = f"{resource_type}/_history" if resource_type else "_history"
    return HistoryResult(path, _kept(pairs), page.entries, asked.view, following)


def _parse(resource_type: str | None, pairs: Sequence[tuple[str, str]], *, continues: str, lenient: bool) -> _Asked:
    asked = _Asked()
    others: list[tuple[str, str]] = []
    for name, value in pairs:
        if name == "_count":
            asked.count = max(1, min(_whole(name, value), _maximum_count))
        elif name == "_since":
            asked.since = _moments(name, value)[0]
        elif name == "_at":
            asked.at = _moments(name, value)
        elif name == continues == "_before":
            asked.before = _whole(name, value)
        elif name == continues:
            asked.cursor = value
        elif name in ("_summary", "_elements"):
            others.append((name, value))
        elif name != "_format" and not lenient:
            raise InvalidSearch(f"history does not know the parameter '{name}'; it knows _count, _since and _at.")
    asked.view = parse_view(resource_type, others)
    return asked


def _kept(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in pairs if pair[0] not in _paging)


def history_bundle(result: HistoryResult, base_url: str) -> dict[str, Any]:
    """Return the history Bundle: each version with the request that made it."""
    links = [link("self", base_url, result.path, result.pairs)]
    if result.next is not None:
        links.append(link("next", base_url, result.path, [*result.pairs, result.next]))
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "history", "link": links}
    if result.total is not None:
        bundle["total"] = result.total
    if result.entries:
        bundle["entry"] = [_entry(version, result.view, base_url) for version in result.entries]
    return bundle


def _entry(version: Stored, view: View, base_url: str) -> dict[str, Any]:
    method, status = _methods[version.method]
    address = f"{version.resource_type}/{version.id}"
    entry: dict[str, Any] = {"fullUrl": f"{base_url}/{address}"}
    if version.method != "delete":
        entry["resource"] = body_of(version, summary=view.summary, elements=view.elements)
    entry["request"] = {"method": method, "url": version.resource_type if method == "POST" else address}
    entry["response"] = {"status": status, "etag": etag(version), "lastModified": instant(version.last_updated)}
    return entry


def _moments(name: str, value: str) -> tuple[datetime, datetime]:
    try:
        return date_range(value.replace(" ", "+"))  # a plus sign that was not percent-encoded arrives as a space
    except ValueError as error:
        raise InvalidSearch(f"{name} must be a date or instant such as 2026-03-01T08:00:00Z.") from error


def _whole(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 0 < len(value) <= 18:  # noqa: PLR2004 - what a bigint holds
        raise InvalidSearch(f"{name} must be a whole number.")
    return int(value)
