"""search of one type, of several, and within a compartment.

https://hl7.org/fhir/R4/http.html#search and https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.interactions.bundles.addresses import link
from fhir_server.interactions.bundles.bodies import body_of
from fhir_server.interactions.read import HasReader
from fhir_server.kernel.search_query import SearchQuery, parse_search, parse_searches
from fhir_server.store.records import SearchPage, Stored


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page, the query as it was really run, and the path it was asked at."""

    query: SearchQuery
    page: SearchPage
    path: str


async def search(
    tx: HasReader, resource_type: str, pairs: Sequence[tuple[str, str]], *, lenient: bool = False, base_url: str = ""
) -> SearchResult:
    """Run the search ``pairs`` ask for. Raises InvalidSearch for what is unknown, unless ``lenient``.

    Absolute references below ``base_url`` are this server's own.
    """
    query = parse_search(resource_type, pairs, lenient=lenient, base_url=base_url)
    return SearchResult(query, await tx.reader.search(query), resource_type)


async def search_compartment(
    tx: HasReader,
    compartment: str,
    inner: str,
    pairs: Sequence[tuple[str, str]],
    *,
    lenient: bool = False,
    base_url: str = "",
) -> SearchResult:
    """Search what lies in a compartment such as ``Patient/1``; ``inner`` is a resource type, or ``*`` for all.

    Raises InvalidSearch as ``search`` does. https://hl7.org/fhir/R4/http.html#vsearch
    """
    path = f"{compartment}/{inner}"
    if inner == "*":
        return await _search_types(tx, path, pairs, lenient=lenient, base_url=base_url, compartment=compartment)
    query = parse_search(inner, pairs, lenient=lenient, base_url=base_url, compartment=compartment)
    return SearchResult(query, await tx.reader.search(query), path)


async def search_system(
    tx: HasReader, pairs: Sequence[tuple[str, str]], *, lenient: bool = False, base_url: str = ""
) -> SearchResult:
    """Search the types ``_type`` names, all of them without it. Raises InvalidSearch as ``search`` does."""
    return await _search_types(tx, "", pairs, lenient=lenient, base_url=base_url)


async def _search_types(
    tx: HasReader,
    path: str,
    pairs: Sequence[tuple[str, str]],
    *,
    lenient: bool,
    base_url: str,
    compartment: str | None = None,
) -> SearchResult:
    queries = parse_searches(pairs, lenient=lenient, base_url=base_url, compartment=compartment)
    return SearchResult(queries[0], await tx.reader.search_types(queries), path)


def searchset(result: SearchResult, base_url: str) -> dict[str, Any]:
    """Return the searchset Bundle: stored bodies go in as they are, the self link shows what was searched."""
    query, page = result.query, result.page
    links = [link("self", base_url, result.path, query.pairs)]
    if page.next is not None:
        links.append(link("next", base_url, result.path, [*query.pairs, ("_cursor", page.next)]))
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if page.total is not None:
        bundle["total"] = page.total
    entries = [] if query.summary == "count" else [_entry(found, "match", query, base_url) for found in page.matches]
    entries += [_entry(found, "include", query, base_url) for found in page.included]
    if query.ignored:
        entries.append(_ignored(query.ignored))
    if entries:
        bundle["entry"] = entries
    return bundle


def _entry(found: Stored, mode: str, query: SearchQuery, base_url: str) -> dict[str, Any]:
    return {
        "fullUrl": f"{base_url}/{found.resource_type}/{found.id}",
        "resource": body_of(found, summary=query.summary, elements=query.elements),
        "search": {"mode": mode},
    }


def _ignored(names: tuple[str, ...]) -> dict[str, Any]:
    issue = {"severity": "warning", "code": "not-supported", "diagnostics": f"Not searched by: {', '.join(names)}."}
    return {"resource": {"resourceType": "OperationOutcome", "issue": [issue]}, "search": {"mode": "outcome"}}
