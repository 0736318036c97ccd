"""Parse a search into criteria, strictly: what is not understood is refused, never left out silently.

https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from fhir_server.definitions import RESOURCE_TYPES, SearchParameter, elements, search_parameters
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.search_values import SearchValue, modifiers, parse_values

DEFAULT_COUNT = 50
MAX_COUNT = 1000
_refused_count = 10_000
_longest_chain = 5
_summaries = ("true", "text", "data", "count", "false")
_presentation = frozenset({"_format", "_pretty"})  # negotiation is the HTTP edge's; they select nothing
_unsupported = frozenset({
    "_contained", "_containedType", "_content", "_filter", "_list", "_query", "_score", "_text", "_type",
})  # fmt: skip
Pair = tuple[str, str]

HAS = SearchParameter(code="_has", type="special", url="", expression="")
"""The parameter of a Criterion that looks from the other end; its ``link`` is the reference on ``chain_type``."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition: any of ``values`` (OR). Criteria of a query hold together (AND).

    ``patient.name=x``: ``parameter`` is the reference, ``chain`` the condition on the ``chain_type`` it points at,
    ``values`` is empty. ``_has:Observation:patient:code=x``: ``parameter`` is HAS, ``chain`` the condition on
    ``chain_type`` Observation, ``link`` its parameter ``patient`` that points here.
    """

    parameter: SearchParameter
    modifier: str | None = None
    values: tuple[SearchValue, ...] = ()
    chain: "Criterion | None" = None
    chain_type: str | None = None
    link: SearchParameter | None = None


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
    """A search that was understood. ``pairs`` is what is really searched (for the self link), in order."""

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


@dataclass(frozen=True, slots=True)
class _Written:
    """The value of a pair, and how many links of its chain have been followed."""

    text: str
    base_url: str
    depth: int = 0

    def deeper(self) -> "_Written":
        return _Written(self.text, self.base_url, self.depth + 1)


class _Unknown(InvalidSearch):
    """The parameter is not known: what lenient handling may leave out."""


def parse_search(
    resource_type: str, pairs: Sequence[Pair], *, lenient: bool = False, base_url: str = ""
) -> SearchQuery:
    """Return the query in decoded name-value pairs.

    Raises InvalidSearch naming the parameter, never its value. With ``lenient`` (``Prefer: handling=lenient``)
    unknown parameters are left out and listed in ``ignored``; known ones that are malformed are refused all the same.
    An absolute reference below ``base_url`` is taken as one to this server.
    """
    if resource_type not in RESOURCE_TYPES:
        raise InvalidSearch(
            f"'{resource_type}' is not a resource type of FHIR R4.{_hint(resource_type, RESOURCE_TYPES)}"
        )
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
    )


def _read_all(draft: _Draft, pairs: Sequence[Pair], *, lenient: bool) -> tuple[list[Pair], list[str]]:
    """Read every pair into the draft; return those that were understood and the names of those left out."""
    kept: list[Pair] = []
    ignored: list[str] = []
    for name, text in pairs:
        if name in _presentation:
            continue
        try:
            _read(draft, name, text)
        except _Unknown:
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
        draft.criteria.append(_criterion(draft.resource_type, name, _Written(text, draft.base_url)))


def _criterion(resource_type: str, name: str, written: _Written) -> Criterion:
    if written.depth > _longest_chain:
        raise InvalidSearch(f"The chain is longer than {_longest_chain} links.")
    if name.startswith("_has:"):
        return _reverse(resource_type, name, written)
    head, chained, rest = name.partition(".")
    code, modified, modifier = head.partition(":")
    parameter = _parameter(resource_type, code)
    if modified and modifier not in modifiers(parameter):
        known = modifiers(parameter)
        hint = _hint(modifier, known) or _list(known)
        raise InvalidSearch(f"'{code}' ({parameter.type}) has no modifier '{modifier}'.{hint}")
    if chained:
        return _chain(parameter, modifier or None, rest, written)
    try:
        values = parse_values(
            parameter, modifier or None, written.text, resource_type=resource_type, base_url=written.base_url
        )
    except ValueError as error:
        raise InvalidSearch(f"The value of '{head}' ({parameter.type}) is refused: {error}.") from error
    return Criterion(parameter, modifier or None, values)


def _chain(parameter: SearchParameter, modifier: str | None, rest: str, written: _Written) -> Criterion:
    if parameter.type != "reference":
        raise InvalidSearch(f"'{parameter.code}' is no reference, so '.{rest}' cannot follow it.")
    if modifier is not None and modifier not in RESOURCE_TYPES:
        raise InvalidSearch(f"'{parameter.code}:{modifier}' cannot be chained; only a resource type may stand there.")
    target = modifier or _only_target(parameter, rest)
    criterion = _criterion(target, rest, written.deeper())
    return Criterion(parameter, modifier, chain=criterion, chain_type=target)


def _only_target(parameter: SearchParameter, rest: str) -> str:
    """Return the one target type that knows the chained parameter; an unknown or ambiguous one is refused."""
    code = rest.partition(".")[0].partition(":")[0]
    targets = parameter.targets or tuple(sorted(RESOURCE_TYPES))
    able = [t for t in targets if code == "_has" or code in search_parameters(t)]
    if len(able) == 1:
        return able[0]
    if not able:
        known = {c for t in targets for c in search_parameters(t)}
        raise _Unknown(f"No target of '{parameter.code}' has a search parameter '{code}'.{_hint(code, known)}")
    example = f"{parameter.code}:{able[0]}.{code}"
    raise InvalidSearch(f"'{parameter.code}.{code}' may mean {', '.join(able[:6])}: say which, as in '{example}'.")


def _reverse(resource_type: str, name: str, written: _Written) -> Criterion:
    parts = name.split(":", 3)
    if len(parts) != 4:  # noqa: PLR2004 - the four parts in the message
        raise InvalidSearch("'_has' is written as _has:Type:reference:parameter=value.")
    _, source, reference, rest = parts
    if source not in RESOURCE_TYPES:
        raise InvalidSearch(f"'_has' names '{source}', no resource type of FHIR R4.{_hint(source, RESOURCE_TYPES)}")
    link = _parameter(source, reference)
    if link.type != "reference" or (link.targets and resource_type not in link.targets):
        raise InvalidSearch(f"'{source}.{reference}' is no reference to {resource_type}, so _has cannot follow it.")
    criterion = _criterion(source, rest, written.deeper())
    return Criterion(HAS, chain=criterion, chain_type=source, link=link)


def _parameter(resource_type: str, code: str) -> SearchParameter:
    known = search_parameters(resource_type)
    if code in known:
        return known[code]
    if code in _unsupported:
        raise _Unknown(f"Searching with '{code}' is not supported.")
    names = {*known, *_controls, "_has"}
    raise _Unknown(f"{resource_type} has no search parameter '{code}'.{_hint(code, names)}")


def _hint(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, sorted(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _list(known: Iterable[str]) -> str:
    words = sorted(known)
    return f" It has: {', '.join(words[:12])}." if words else ""


def _once(draft: _Draft, name: str, text: str) -> None:
    if draft.single.setdefault(name, text) != text:
        raise InvalidSearch(f"'{name}' is given twice with different values.")


def _sort(draft: _Draft, name: str, text: str) -> None:
    for key in text.split(","):
        parameter = _parameter(draft.resource_type, key.removeprefix("-"))
        if parameter.type in {"composite", "special"}:
            raise InvalidSearch(f"'{name}' cannot sort by '{parameter.code}' ({parameter.type}).")
        draft.sort.append(SortKey(parameter, key.startswith("-")))


def _elements(draft: _Draft, name: str, text: str) -> None:
    known = elements(draft.resource_type)
    for element in text.split(","):
        if element not in known or element.endswith("[x]"):
            raise InvalidSearch(f"'{name}': {draft.resource_type} has no element '{element}'.{_hint(element, known)}")
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
    parameter = _parameter(source, code)
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
    return "none" if text in {None, "none"} else "accurate"


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
    "_include": _include,
    "_revinclude": _revinclude,
}
