"""Resource JSON in and out, exact: a decimal leaves as it came, digit for digit.

https://hl7.org/fhir/R4/json.html and https://hl7.org/fhir/R4/datatypes.html#decimal ("precision must be preserved").
"""

import re
from decimal import Decimal
from typing import Any

import msgspec

from fhir_server.kernel.errors import InvalidRequest

type_name = "resourceType"

_decoder: "msgspec.json.Decoder[Any]" = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")
_at_byte = re.compile(r"\(byte (\d+)\)")


def decode(body: bytes | str) -> Any:
    """Return the JSON value of ``body``; every number with a point or exponent is a ``Decimal``.

    Raises InvalidRequest with line and column of the fault (both from 1).
    """
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InvalidRequest(f"The body is not valid JSON{_place(body, error)}: {_reason(error)}") from error


def decode_resource(body: bytes | str) -> dict[str, Any]:
    """Return the resource in ``body``. Raises InvalidRequest unless it is an object with a ``resourceType``."""
    value = decode(body)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be one JSON object: a FHIR resource.")
    if not isinstance(value.get(type_name), str):
        raise InvalidRequest('The resource has no resourceType. Add it as a string, e.g. "Patient".')
    return value


def encode(value: Any) -> bytes:
    """Return ``value`` as compact UTF-8 JSON, decimals as they came in."""
    return _encoder.encode(value)


def encode_text(value: Any) -> str:
    """Return ``value`` as compact JSON text."""
    return _encoder.encode(value).decode()


def verbatim(text: str) -> msgspec.Raw:
    """Return JSON ``text`` as a value that ``encode`` writes out exactly as it is."""
    return msgspec.Raw(text.encode())


def _place(body: bytes | str, error: Exception) -> str:
    found = _at_byte.search(str(error))
    if not found:
        return ""
    raw = body.encode() if isinstance(body, str) else body
    before = raw[: int(found[1])]
    line = before.count(b"\n") + 1
    column = len(before) - (before.rfind(b"\n") + 1) + 1
    return f" (line {line}, column {column})"


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return _at_byte.sub("", str(error)).removeprefix("JSON is malformed: ").strip()
