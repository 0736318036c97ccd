"""Resource JSON in and out, exact: a decimal leaves as it came, digit for digit.

https://hl7.org/fhir/R4/json.html and https://hl7.org/fhir/R4/datatypes.html#decimal ("precision must be preserved").
"""

import re
from decimal import Decimal
from typing import Any, Self

import msgspec

from fhir_server.kernel.errors import InvalidRequest
from fhir_server.kernel.json_duplicates import find_duplicate, may_have_duplicates

type_name = "resourceType"

_first_zeros = "0.000000"  # from here on, and with an exponent, Decimal writes a number its own way


class WrittenDecimal(Decimal):
    """A decimal that Decimal itself would write with other digits than it came with: ``0.0000001``, ``1e3``."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """Return the number in ``text``, which stays beside it."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


def decimal(text: str) -> Decimal:
    """Return the number as a Decimal whose ``str`` is ``text``, digit for digit."""
    return WrittenDecimal(text) if _first_zeros in text or "e" in text or "E" in text else Decimal(text)


def _write_exactly(value: Any) -> msgspec.Raw:
    if isinstance(value, WrittenDecimal):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"{type(value).__name__} is no JSON value")


_decoder: "msgspec.json.Decoder[Any]" = msgspec.json.Decoder(float_hook=decimal)
_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_write_exactly)
_at_byte = re.compile(r"\(byte (\d+)\)")
_element_name = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def decode(body: bytes | str) -> Any:
    """Return the JSON value of ``body``; every number with a point or exponent is a ``Decimal``.

    Raises InvalidRequest with line and column of the fault (both from 1); a name that occurs twice in one object is
    a fault as well.
    """
    raw = body if isinstance(body, bytes) else _utf8(body)
    try:
        value = _decoder.decode(raw)
        written = _encoder.encode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError, ArithmeticError) as error:
        raise InvalidRequest(f"The body is not valid JSON{_place(raw, error)}: {_reason(error)}") from error
    if may_have_duplicates(raw, written):
        _refuse_duplicate(raw)
    return value


def decode_own(text: bytes | str) -> Any:
    """Return the value of JSON that this server wrote itself: what ``decode`` checks was checked on its way in."""
    return _decoder.decode(text)


def decode_resource(body: bytes | str) -> dict[str, Any]:
    """Return the resource in ``body``. Raises InvalidRequest unless it is an object with a ``resourceType``."""
    value = decode(body)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be one JSON object: a FHIR resource.")
    if not isinstance(value.get(type_name), str):
        raise InvalidRequest('The resource has no resourceType. Add it as a string, e.g. "Patient".')
    return value


def _refuse_duplicate(body: bytes) -> None:
    found = find_duplicate(body)
    if found is not None:
        named = f" '{found.name}'" if _element_name.fullmatch(found.name) else ""
        raise InvalidRequest(
            f"The name{named} at line {found.line}, column {found.column} occurs twice in one JSON object; keep one."
        )


def indented(text: bytes) -> bytes:
    """Return JSON text laid out for reading, every number as it stands."""
    return msgspec.json.format(text, indent=2) + b"\n"


def encode(value: Any) -> bytes:
    """Return ``value`` as compact UTF-8 JSON, decimals as they came in."""
    return _encoder.encode(value)


def encode_text(value: Any) -> str:
    """Return ``value`` as compact JSON text."""
    return _encoder.encode(value).decode()


def verbatim(text: str) -> msgspec.Raw:
    """Return JSON ``text`` as a value that ``encode`` writes out exactly as it is."""
    return msgspec.Raw(text.encode())


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest("The text holds half a surrogate pair.") from error


def _place(body: bytes, error: Exception) -> str:
    found = _at_byte.search(str(error))
    if not found:
        return ""
    before = body[: int(found[1])]
    line = before.count(b"\n") + 1
    column = len(before) - (before.rfind(b"\n") + 1) + 1
    return f" (line {line}, column {column})"


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, ArithmeticError):
        return "it holds a number beyond anything that can be counted"
    text = _at_byte.sub("", str(error)).removeprefix("JSON is malformed: ").partition(" - at `")[0].strip()
    return "it ends too early, or with half a surrogate pair" if text == "Input data was truncated" else text
