"""Parse a search, strictly: what is not understood is refused, never left out silently.

https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fhir_server.definitions import RESOURCE_TYPES, SearchParameter, compartment_parameters, compartments, elements
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.references import parse_reference
from fhir_server.kernel.search_criteria import (
    FILTER,
    HAS,
    Criterion,
    Unknown,
    Written,
    find_parameter,
    hint,
    parse_criterion,
)
from fhir_server.kernel.search_filter import parse_filter

__all__ = [
    "DEFAULT_COUNT",
    "FILTER",
    "HAS",
    "MAX_COUNT",
    "Criterion",
    "Include",
    "SearchQuery",
    "SortKey",
    "parse_search",
    "parse_searches",
]

DEFAULT_COUNT = 50
MAX_COUNT = 1000
_refused_count = 10_000
_summaries = ("true", "text", "data", "count", "false")
_presentation = frozenset({"_format", "_pretty"})  # negotiation is the HTTP edge's; they select nothing
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of ``_sort``."""

    parameter: SearchParameter
    descending: bool


@dataclass(frozen=True, slots=True)
class Include:
    """``_include`` or ``_revinclude``: ``parameter`` None is ``*``; ``target`` narrows what is included."""

    source: str
    parameter: SearchParameter | None
    target: str | None
    iterate: bool


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search that was understood. ``pairs`` is what is really searched (for the self link), in order.

    ``compartment`` is the reference the matches lie with: ``GET [base]/Patient/1/Observation``.
    """

    resource_type: str
    criteria: tuple[Criterion, ...] = ()
    sort: tuple[SortKey, ...] = ()
    count: int = DEFAULT_COUNT
    cursor: str | None = None
    total: str = "none"
    summary: str | None = None
    elements: tuple[str, ...] = ()
    include: tuple[Include, ...] = ()
    revinclude: tuple[Include, ...] = ()
    pairs: tuple[Pair, ...] = ()
    ignored: tuple[str, ...] = ()
    compartment: str | None = None


@dataclass(slots=True)
class _Draft:
    """What has been read so far."""

    resource_type: str
    base_url: str
    criteria: list[Criterion] = field(default_factory=list)
    sort: list[SortKey] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    include: list[Include] = field(default_factory=list)
    revinclude: list[Include] = field(default_factory=list)
    single: dict[str, str] = field(default_factory=dict)


def parse_search(
    resource_type: str,
    pairs: Sequence[Pair],
    *,
    lenient: bool = False,
    base_url: str = "",
    compartment: str | None = None,
) -> SearchQuery:
    """Return the query in decoded name-value pairs.

    Raises InvalidSearch naming the parameter, never its value. With ``lenient`` (``Prefer: handling=lenient``)
    unknown parameters are left out and listed in ``ignored``; known ones that are malformed are refused all the same.
    An absolute reference below ``base_url`` is taken as one to this server. ``compartment`` is ``Patient/1``.
    """
    if resource_type not in RESOURCE_TYPES:
        raise InvalidSearch(
            f"'{resource_type}' is not a resource type of FHIR R4.{hint(resource_type, RESOURCE_TYPES)}"
        )
    if compartment is not None:
        _check_compartment(compartment, resource_type)
    draft = _Draft(resource_type, base_url)
    kept, ignored = _read_all(draft, pairs, lenient=lenient)
    return SearchQuery(
        resource_type=resource_type,
        criteria=tuple(draft.criteria),
        sort=tuple(draft.sort),
        count=_count(draft.single.get("_count")),
        cursor=draft.single.get("_cursor"),
        total=_total(draft.single.get("_total")),
        summary=_summary(draft.single.get("_summary")),
        elements=tuple(dict.fromkeys(draft.elements)),
        include=tuple(draft.include),
        revinclude=tuple(draft.revinclude),
        pairs=tuple(pair for pair in kept if pair[0] != "_cursor"),
        ignored=tuple(ignored),
        compartment=compartment,
    )


def parse_searches(
    pairs: Sequence[Pair], *, lenient: bool = False, base_url: str = "", compartment: str | None = None
) -> tuple[SearchQuery, ...]:
    """Return the queries, one for each type, of a search over the types ``_type`` names, by default all there may be.

    ``GET [base]?_type=Patient,Observation&…`` and ``GET [base]/Patient/1/*?…``. Each parameter has to be one of every
    type; the matches come type after type, so they cannot be sorted.
    https://hl7.org/fhir/R4/http.html#search
    """
    wanted = [name for code, text in pairs if code == "_type" for name in text.split(",")]
    unknown = next((name for name in wanted if name not in RESOURCE_TYPES), None)
    if unknown is not None:
        raise InvalidSearch(f"'_type' names no resource type of FHIR R4.{hint(unknown, RESOURCE_TYPES)}")
    if any(code == "_sort" for code, _ in pairs):
        raise InvalidSearch("'_sort' orders the resources of one type; search each type by itself to sort.")
    rest = [pair for pair in pairs if pair[0] != "_type"]
    types = sorted(set(wanted)) or [name for name in sorted(RESOURCE_TYPES) if _may_lie_in(compartment, name)]
    queries = (parse_search(name, rest, lenient=lenient, base_url=base_url, compartment=compartment) for name in types)
    shown = tuple((name, text) for name, text in pairs if name == "_type")
    return tuple(replace(query, pairs=(*shown, *query.pairs)) for query in queries)


def _may_lie_in(compartment: str | None, resource_type: str) -> bool:
    return compartment is None or bool(compartment_parameters(compartment.partition("/")[0], resource_type))


def _check_compartment(compartment: str, resource_type: str) -> None:
    reference = parse_reference(compartment)
    if reference is None or reference.type not in compartments():
        raise InvalidSearch(f"There are compartments of {', '.join(compartments())}, written as Patient/1.")
    if not _may_lie_in(compartment, resource_type):
        raise InvalidSearch(f"{resource_type} is never in the compartment of a {reference.type}.")


def _read_all(draft: _Draft, pairs: Sequence[Pair], *, lenient: bool) -> tuple[list[Pair], list[str]]:
    """Read every pair into the draft; return those that were understood and the names of those left out."""
    kept: list[Pair] = []
    ignored: list[str] = []
    for name, text in pairs:
        if name in _presentation:
            continue
        try:
            _read(draft, name, text)
        except Unknown:
            if not lenient:
                raise
            ignored.append(name)
        else:
            kept.append((name, text))
    return kept, ignored


def _read(draft: _Draft, name: str, text: str) -> None:
    control, _, modifier = name.partition(":")
    if control in _controls and (not modifier or control in {"_include", "_revinclude"}):
        if not text:
            raise InvalidSearch(f"'{name}' has no value.")
        _controls[control](draft, name, text)
    else:
        draft.criteria.append(parse_criterion(draft.resource_type, name, Written(text, draft.base_url)))


def _filter(draft: _Draft, _name: str, text: str) -> None:
    draft.criteria.append(Criterion(FILTER, filter=parse_filter(draft.resource_type, text, draft.base_url)))


def _type(draft: _Draft, name: str, text: str) -> None:
    if draft.resource_type not in text.split(","):
        raise InvalidSearch(f"'{name}' names other types than {draft.resource_type}, which is searched.")


def _once(draft: _Draft, name: str, text: str) -> None:
    if draft.single.setdefault(name, text) != text:
        raise InvalidSearch(f"'{name}' is given twice with different values.")


def _sort(draft: _Draft, name: str, text: str) -> None:
    for key in text.split(","):
        parameter = find_parameter(draft.resource_type, key.removeprefix("-"))
        if parameter.type in {"composite", "special"}:
            raise InvalidSearch(f"'{name}' cannot sort by '{parameter.code}' ({parameter.type}).")
        draft.sort.append(SortKey(parameter, key.startswith("-")))


def _elements(draft: _Draft, name: str, text: str) -> None:
    known = elements(draft.resource_type)
    for element in text.split(","):
        if element not in known or element.endswith("[x]"):
            raise InvalidSearch(f"'{name}': {draft.resource_type} has no element '{element}'.{hint(element, known)}")
        draft.elements.append(element)


def _include(draft: _Draft, name: str, text: str) -> None:
    draft.include.append(_included(name, text))


def _revinclude(draft: _Draft, name: str, text: str) -> None:
    draft.revinclude.append(_included(name, text))


def _included(name: str, text: str) -> Include:
    control, _, modifier = name.partition(":")
    if modifier not in {"", "iterate", "recurse"}:
        raise InvalidSearch(f"'{control}' has no modifier '{modifier}'; it has: iterate.")
    source, _, rest = text.partition(":")
    code, _, target = rest.partition(":")
    if source not in RESOURCE_TYPES or not code or (target and target not in RESOURCE_TYPES):
        raise InvalidSearch(f"'{control}' is written as Type:reference or Type:reference:TargetType.")
    if code == "*":
        return Include(source, None, target or None, bool(modifier))
    parameter = find_parameter(source, code)
    if parameter.type != "reference":
        raise InvalidSearch(f"'{control}': '{source}.{code}' is no reference but a {parameter.type}.")
    return Include(source, parameter, target or None, bool(modifier))


def _count(text: str | None) -> int:
    if text is None:
        return DEFAULT_COUNT
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or int(text) > _refused_count:  # noqa: PLR2004 - an int32
        raise InvalidSearch(
            f"'_count' must be a whole number from 0 to {_refused_count}; pages hold {MAX_COUNT} at most."
        )
    return min(int(text), MAX_COUNT)


def _total(text: str | None) -> str:
    if text not in {None, "none", "accurate", "estimate"}:
        raise InvalidSearch("'_total' must be none, estimate or accurate.")
    return text or "none"


def _summary(text: str | None) -> str | None:
    if text is not None and text not in _summaries:
        raise InvalidSearch(f"'_summary' must be one of {', '.join(_summaries)}.")
    return None if text == "false" else text


_controls: dict[str, Callable[[_Draft, str, str], None]] = {
    "_count": _once,
    "_cursor": _once,
    "_total": _once,
    "_summary": _once,
    "_sort": _sort,
    "_elements": _elements,
    "_filter": _filter,
    "_type": _type,
    "_include": _include,
    "_revinclude": _revinclude,
}
