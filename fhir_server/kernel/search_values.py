"""The value grammar of each search parameter type.

https://hl7.org/fhir/R4/search.html#ptypes. Errors are ValueErrors that never repeat the value: it may name a patient.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fhir_server.definitions import RESOURCE_TYPES, SearchParameter, search_parameters, ucum
from fhir_server.kernel.instants import date_range
from fhir_server.kernel.references import is_id, parse_reference

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_most_alternatives = 5000
_prefixed = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)", re.DOTALL)
_number = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_escaped = re.compile(r"\\([,|$\\])")
_absolute = re.compile(r"(?:https?|urn):\S+", re.IGNORECASE)
_near_distance = "50"
_approximation = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class StringValue:
    """Text to match, as the modifier says; ``:text`` of a token is one too."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenValue:
    """``system`` None: any system; ``""``: no system. ``code`` None: any code of the system."""

    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class TypedIdentifierValue:
    """``identifier:of-type=system|code|value``: the identifier's type and its value."""

    system: str
    code: str
    value: str


@dataclass(frozen=True, slots=True)
class DateValue:
    """A comparison with the span ``[low, high)`` in UTC; for ``ap`` the span is widened already."""

    prefix: str
    low: datetime
    high: datetime


@dataclass(frozen=True, slots=True)
class NumberValue:
    """A comparison with a number; ``eq``, ``ne`` and ``ap`` mean the range ``[low, high)`` its precision implies."""

    prefix: str
    value: Decimal
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """A number as in NumberValue with ``system`` and ``code`` (the code, or without system the unit); None is any."""

    prefix: str
    value: Decimal
    low: Decimal
    high: Decimal
    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """A resource of this server by ``id`` and perhaps ``type`` and ``version``, or anything else by ``url``."""

    type: str | None
    id: str | None
    url: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class UriValue:
    """A URI, compared as it is written."""

    uri: str


@dataclass(frozen=True, slots=True)
class CompositeValue:
    """One value for each component of a composite parameter."""

    parts: tuple["SearchValue", ...]


@dataclass(frozen=True, slots=True)
class MissingValue:
    """``:missing``: whether the element has to be absent."""

    missing: bool


@dataclass(frozen=True, slots=True)
class NearValue:
    """A place and how far around it, in metres."""

    latitude: Decimal
    longitude: Decimal
    distance_m: Decimal


SearchValue = (
    StringValue
    | TokenValue
    | TypedIdentifierValue
    | DateValue
    | NumberValue
    | QuantityValue
    | ReferenceValue
    | UriValue
    | CompositeValue
    | MissingValue
    | NearValue
)


def split_escaped(text: str, separator: str) -> list[str]:
    r"""Return the parts between separators that no ``\`` stands before; escapes stay in the parts."""
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        if text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    r"""Return the text with ``\,``, ``\|``, ``\$`` and ``\\`` replaced by the character they stand for."""
    return _escaped.sub(r"\1", text)


def parse_values(
    parameter: SearchParameter, modifier: str | None, text: str, *, resource_type: str, base_url: str = ""
) -> tuple[SearchValue, ...]:
    """Return the alternatives in ``a,b,c``. Raises ValueError saying what is wrong, without the value."""
    if "\x00" in text:
        raise ValueError("it holds a NUL character")
    if text.count(",") >= _most_alternatives:
        raise ValueError(f"it has more than {_most_alternatives} alternatives; send several searches")
    parse = _parser(parameter, modifier, resource_type, base_url)
    values = []
    for part in split_escaped(text, ","):
        if not part.strip():
            raise ValueError("it has an empty value")
        values.append(parse(part))
    return tuple(values)


Parse = Callable[[str], SearchValue]


def _parser(parameter: SearchParameter, modifier: str | None, resource_type: str, base_url: str) -> Parse:
    if modifier in _by_modifier:
        return _by_modifier[modifier]
    match parameter.type:
        case "reference":
            return lambda text: _reference(text, modifier, base_url)
        case "composite":
            known = search_parameters(resource_type)
            parts = [_parser(known[code], None, resource_type, base_url) for _, code in parameter.components]
            return lambda text: _composite(text, parts)
        case "special":
            return _by_code[parameter.code]
        case _:
            return _by_type[parameter.type]


def _string(text: str) -> StringValue:
    return StringValue(unescape(text))


def _token(text: str) -> TokenValue:
    parts = [unescape(part) for part in split_escaped(text, "|")]
    match parts:
        case [code]:
            return TokenValue(None, code)
        case [system, code] if system or code:
            return TokenValue(system, code or None)
        case _:
            raise ValueError("a token is written as code, system|code, |code or system|")


def _typed_identifier(text: str) -> TypedIdentifierValue:
    parts = [unescape(part) for part in split_escaped(text, "|")]
    if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - its three parts
        raise ValueError("with :of-type it is written as system|code|value, all three present")
    return TypedIdentifierValue(*parts)


def _missing(text: str) -> MissingValue:
    if text not in {"true", "false"}:
        raise ValueError("with :missing it is true or false")
    return MissingValue(text == "true")


def _split_prefix(text: str) -> tuple[str, str]:
    found = _prefixed.fullmatch(text)
    return ("eq", text) if found is None else (found[1] or "eq", found[2])


def _date(text: str) -> DateValue:
    prefix, date = _split_prefix(unescape(text))
    if " " in date:
        raise ValueError("it holds a space where a time zone may begin: write + as %2B in a URL")
    try:
        low, high = date_range(date)
    except ValueError as error:
        raise ValueError(f"{error}, with one of the prefixes {', '.join(PREFIXES)} or none") from error
    if prefix == "ap":
        slack = abs(datetime.now(UTC) - low) / 10
        low, high = _clamped(low, -slack), _clamped(high, slack)
    return DateValue(prefix, low, high)


def _clamped(moment: datetime, span: timedelta) -> datetime:
    try:
        return moment + span
    except OverflowError:
        return moment


def _decimal(text: str) -> Decimal:
    if not _number.fullmatch(text):
        raise ValueError(f"not a number such as 5.4 or 1e-3, with one of the prefixes {', '.join(PREFIXES)} or none")
    return Decimal(text)


def _implied_range(prefix: str, value: Decimal) -> tuple[Decimal, Decimal]:
    """Return what the number's last digit leaves open: 100 is [99.5, 100.5), 1e2 is [50, 150)."""
    exponent = value.as_tuple().exponent
    half = Decimal(5).scaleb(int(exponent) - 1)
    if prefix == "ap":
        half = max(half, abs(value) * _approximation)
    return value - half, value + half


def _number_value(text: str) -> NumberValue:
    prefix, number = _split_prefix(unescape(text))
    value = _decimal(number)
    return NumberValue(prefix, value, *_implied_range(prefix, value))


def _quantity(text: str) -> QuantityValue:
    parts = [unescape(part) for part in split_escaped(text, "|")]
    if len(parts) not in {1, 3}:
        raise ValueError("a quantity is written as number, number|system|code or number||code")
    prefix, number = _split_prefix(parts[0])
    value = _decimal(number)
    system, code = (parts[1] or None, parts[2] or None) if len(parts) > 1 else (None, None)
    return QuantityValue(prefix, value, *_implied_range(prefix, value), system, code)


def _reference(text: str, type: str | None, base_url: str) -> ReferenceValue:
    plain = unescape(text)
    if base_url and plain.startswith(base_url.rstrip("/") + "/"):
        plain = plain[len(base_url.rstrip("/")) + 1 :]
    if _absolute.fullmatch(plain):
        return ReferenceValue(type, None, plain)
    if is_id(plain):
        return ReferenceValue(type, plain)
    found = parse_reference(plain)
    if found is None:
        raise ValueError("a reference is written as id, Type/id (a type of FHIR R4) or an absolute URL")
    if type not in {None, found.type}:
        raise ValueError(f"the modifier says {type}, the value another type")
    return ReferenceValue(found.type, found.id, None, found.version)


def _uri(text: str) -> UriValue:
    return UriValue(unescape(text))


def _composite(text: str, parts: list[Parse]) -> CompositeValue:
    written = split_escaped(text, "$")
    if len(written) != len(parts) or not all(written):
        raise ValueError(f"it is a composite of {len(parts)} values joined with $")
    return CompositeValue(tuple(parse(part) for parse, part in zip(parts, written, strict=True)))


def _near(text: str) -> NearValue:
    """Read ``latitude|longitude|distance|unit``; without a unit the distance is in kilometres.

    https://hl7.org/fhir/R4/location.html#search
    """
    latitude, longitude, distance, unit = (*(unescape(part) for part in split_escaped(text, "|")), "", "", "")[:4]
    measure = ucum.unit(unit or "km")
    if measure is None or measure.dimension != "m":
        raise ValueError("its distance is in no unit of length of UCUM, such as km or [mi_i]")
    place = NearValue(_decimal(latitude), _decimal(longitude), measure.to_base(_decimal(distance or _near_distance)))
    if abs(place.latitude) > 90 or abs(place.longitude) > 180 or place.distance_m < 0:  # noqa: PLR2004 - degrees
        raise ValueError("it is no place on earth: latitude from -90 to 90, longitude from -180 to 180, a distance")
    return place


def _list_id(text: str) -> ReferenceValue:
    plain = text.removeprefix("List/")
    if not is_id(plain):
        raise ValueError("it is the id of a List; lists such as $current-problems are not kept here")
    return ReferenceValue("List", plain)


_by_code: dict[str, Parse] = {"near": _near, "_text": _string, "_content": _string, "_list": _list_id}
_by_type: dict[str, Parse] = {
    "string": _string,
    "token": _token,
    "date": _date,
    "number": _number_value,
    "quantity": _quantity,
    "uri": _uri,
}
_by_modifier: dict[str | None, Parse] = {
    "missing": _missing,
    "text": _string,
    "of-type": _typed_identifier,
    "identifier": _token,
    "in": _uri,
    "not-in": _uri,
}
_for_any_type = frozenset({"missing"})
_for_type: dict[str, frozenset[str]] = {
    "string": frozenset({"exact", "contains"}),
    "token": frozenset({"text", "not", "above", "below", "in", "not-in", "of-type"}),
    "reference": frozenset({"identifier", "above", "below"}),
    "uri": frozenset({"above", "below"}),
}


def modifiers(parameter: SearchParameter) -> frozenset[str]:
    """Return the modifiers R4 defines for the parameter; a reference's also are the types it may point at."""
    allowed = _for_any_type | _for_type.get(parameter.type, frozenset())
    if parameter.type == "reference":
        allowed |= set(parameter.targets) or RESOURCE_TYPES
    if parameter.code in {"_text", "_content", "_list"}:
        return frozenset()
    if not parameter.code.endswith("identifier"):
        allowed -= {"of-type"}
    return allowed
