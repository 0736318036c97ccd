"""Parse one condition of a search: a parameter, perhaps a modifier, perhaps a chain, and its values.

https://hl7.org/fhir/R4/search.html#parameters
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from fhir_server.definitions import RESOURCE_TYPES, SearchParameter, search_parameters
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.search_values import SearchValue, modifiers, parse_values

_longest_chain = 5
CONTROLS = frozenset({
    "_count", "_cursor", "_elements", "_filter", "_include", "_revinclude", "_sort", "_summary", "_total", "_type",
})  # fmt: skip
"""The parameters that are no criteria: they say what is returned, and how."""
_unsupported = frozenset({"_contained", "_containedType", "_query", "_score"})
_known_to_all = {
    code: SearchParameter(code=code, type="special", url="", expression="") for code in ("_content", "_list", "_text")
}

HAS = SearchParameter(code="_has", type="special", url="", expression="")
"""The parameter of a Criterion that looks from the other end; its ``link`` is the reference on ``chain_type``."""


FILTER = SearchParameter(code="_filter", type="special", url="", expression="")
"""The parameter of a Criterion that is a whole expression, its ``filter``."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One condition: any of ``values`` (OR). Criteria of a query hold together (AND).

    ``patient.name=x``: ``parameter`` is the reference, ``chain`` the condition on the ``chain_type`` it points at,
    ``values`` is empty. ``_has:Observation:patient:code=x``: ``parameter`` is HAS, ``chain`` the condition on
    ``chain_type`` Observation, ``link`` its parameter ``patient`` that points here.
    ``_filter=…``: ``parameter`` is FILTER, ``filter`` what it says.
    """

    parameter: SearchParameter
    modifier: str | None = None
    values: tuple[SearchValue, ...] = ()
    chain: "Criterion | None" = None
    chain_type: str | None = None
    link: SearchParameter | None = None
    filter: "Node | None" = None


@dataclass(frozen=True, slots=True)
class AllOf:
    """Conditions that hold together."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Conditions of which one has to hold."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """A condition that must not hold."""

    part: "Node"


Node = Criterion | AllOf | AnyOf | Not


@dataclass(frozen=True, slots=True)
class Written:
    """The value of a pair, and how many links of its chain have been followed."""

    text: str
    base_url: str
    depth: int = 0

    def deeper(self) -> "Written":
        """Return the same, one link on."""
        return Written(self.text, self.base_url, self.depth + 1)


class Unknown(InvalidSearch):
    """The parameter is not known: what lenient handling may leave out."""


def parse_criterion(resource_type: str, name: str, written: Written) -> Criterion:
    """Return the condition ``name=value``. Raises InvalidSearch, or Unknown when there is no such parameter."""
    if written.depth > _longest_chain:
        raise InvalidSearch(f"The chain is longer than {_longest_chain} links.")
    if name.startswith("_has:"):
        return _reverse(resource_type, name, written)
    head, chained, rest = name.partition(".")
    code, modified, modifier = head.partition(":")
    parameter = find_parameter(resource_type, code)
    if modified and modifier not in modifiers(parameter):
        known = modifiers(parameter)
        near = hint(modifier, known) or _list(known)
        raise InvalidSearch(f"'{code}' ({parameter.type}) has no modifier '{modifier}'.{near}")
    if chained:
        return _chain(parameter, modifier or None, rest, written)
    try:
        values = parse_values(
            parameter, modifier or None, written.text, resource_type=resource_type, base_url=written.base_url
        )
    except ValueError as error:
        raise InvalidSearch(f"The value of '{head}' ({parameter.type}) is refused: {error}.") from error
    return Criterion(parameter, modifier or None, values)


def _chain(parameter: SearchParameter, modifier: str | None, rest: str, written: Written) -> Criterion:
    if parameter.type != "reference":
        raise InvalidSearch(f"'{parameter.code}' is no reference, so '.{rest}' cannot follow it.")
    if modifier is not None and modifier not in RESOURCE_TYPES:
        raise InvalidSearch(f"'{parameter.code}:{modifier}' cannot be chained; only a resource type may stand there.")
    target = modifier or _only_target(parameter, rest)
    criterion = parse_criterion(target, rest, written.deeper())
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
        raise Unknown(f"No target of '{parameter.code}' has a search parameter '{code}'.{hint(code, known)}")
    example = f"{parameter.code}:{able[0]}.{code}"
    raise InvalidSearch(f"'{parameter.code}.{code}' may mean {', '.join(able[:6])}: say which, as in '{example}'.")


def _reverse(resource_type: str, name: str, written: Written) -> Criterion:
    parts = name.split(":", 3)
    if len(parts) != 4:  # noqa: PLR2004 - the four parts in the message
        raise InvalidSearch("'_has' is written as _has:Type:reference:parameter=value.")
    _, source, reference, rest = parts
    if source not in RESOURCE_TYPES:
        raise InvalidSearch(f"'_has' names '{source}', no resource type of FHIR R4.{hint(source, RESOURCE_TYPES)}")
    link = find_parameter(source, reference)
    if link.type != "reference" or (link.targets and resource_type not in link.targets):
        raise InvalidSearch(f"'{source}.{reference}' is no reference to {resource_type}, so _has cannot follow it.")
    criterion = parse_criterion(source, rest, written.deeper())
    return Criterion(HAS, chain=criterion, chain_type=source, link=link)


def find_parameter(resource_type: str, code: str) -> SearchParameter:
    """Return the parameter. Raises Unknown with the nearest name."""
    known = search_parameters(resource_type)
    if code in known:
        return known[code]
    if code in _known_to_all:
        return _known_to_all[code]
    if code in _unsupported:
        raise Unknown(f"Searching with '{code}' is not supported.")
    names = {*known, *_known_to_all, *CONTROLS, "_has"}
    raise Unknown(f"{resource_type} has no search parameter '{code}'.{hint(code, names)}")


def hint(word: str, known: Iterable[str]) -> str:
    """Return the sentence that offers the nearest known word, empty when none is near."""
    near = get_close_matches(word, sorted(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _list(known: Iterable[str]) -> str:
    words = sorted(known)
    return f" It has: {', '.join(words[:12])}." if words else ""
