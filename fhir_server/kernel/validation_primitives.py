"""Whether a JSON value is a well-formed FHIR primitive.

https://hl7.org/fhir/R4/datatypes.html#primitive. A check returns None, or what the value must look like; it never
repeats the value.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from fhir_server.kernel.instants import date_range

Check = Callable[[Any], str | None]
_control = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_code = re.compile(r"[^\s\x00-\x1f]+(?: [^\s\x00-\x1f]+)*")
_id = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_oid = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+")
_uuid = re.compile(r"urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_space = re.compile(r"[\s\x00-\x1f]")
_date = re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?", re.ASCII)
_zone = r"(?:Z|[+-]\d\d:\d\d)"
_date_time = re.compile(rf"\d{{4}}(?:-\d\d(?:-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d+)?{_zone})?)?)?", re.ASCII)
_instant = re.compile(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?{_zone}", re.ASCII)
_time = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?", re.ASCII)
_base64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_division = re.compile(r"\s*(?:<\?xml[^>]*\?>\s*)?<(?:[A-Za-z]+:)?div[\s>/].*>\s*", re.DOTALL)
_active = re.compile(r"<\s*(?:script|iframe|object|embed|form|input|base|link)\b|<[^<>]*\son[a-z]+\s*=", re.IGNORECASE)
_int32 = 2**31
_longest_string = 2**20
_longest_number = 400  # digits before or after the point; what fits a database and a double alike


def _string(value: Any) -> str | None:
    if type(value) is not str:
        return "a JSON string"
    if not value:
        return "a string that is not empty (leave the element out instead)"
    if len(value) > _longest_string:
        return "a string of at most 1 MiB (put longer content into an Attachment)"
    return "a string without control characters" if _control.search(value) else None


def _boolean(value: Any) -> str | None:
    return None if value is True or value is False else "true or false, without quotes"


def _whole(low: int) -> Check:
    def check(value: Any) -> str | None:
        if type(value) is not int:
            return "a whole JSON number, without quotes"
        return None if low <= value < _int32 else f"a whole number from {low} to {_int32 - 1}"

    return check


def _decimal(value: Any) -> str | None:
    if type(value) not in {int, float} and not isinstance(value, Decimal):
        return "a JSON number, without quotes"
    exact = Decimal(value)
    exponent = exact.as_tuple().exponent
    if not isinstance(exponent, int) or max(exact.adjusted(), -exponent) > _longest_number:
        return f"a number of at most {_longest_number} digits before and after the point"
    return None


def _matching(pattern: "re.Pattern[str]", expected: str) -> Check:
    matches = pattern.fullmatch

    def check(value: Any) -> str | None:
        if type(value) is str and matches(value):
            return None
        return expected

    return check


def _uri(value: Any) -> str | None:
    if type(value) is str and value and not _space.search(value):
        return None
    return "a URI: a string that is not empty and has no spaces"


def _dated(pattern: "re.Pattern[str]", expected: str) -> Check:
    matches = pattern.fullmatch

    def check(value: Any) -> str | None:
        if type(value) is not str or not matches(value):
            return expected
        try:
            date_range(value)
        except ValueError:
            return expected + ", a day that exists"
        return None

    return check


def _base64_binary(value: Any) -> str | None:
    if type(value) is str:
        packed = "".join(value.split())
        if len(packed) % 4 == 0 and _base64.fullmatch(packed):
            return None
    return "base64 (RFC 4648 §4), its length a multiple of four"


def _xhtml(value: Any) -> str | None:
    if type(value) is not str or not _division.fullmatch(value) or _control.search(value):
        return "an XHTML <div>"
    return "XHTML without scripts, forms, frames or event attributes (txt-1)" if _active.search(value) else None


check_primitive: dict[str, Check] = {
    "base64Binary": _base64_binary,
    "boolean": _boolean,
    "canonical": _uri,
    "code": _matching(_code, "a code: a string without spaces at its ends or two in a row"),
    "date": _dated(_date, "a date such as 2024, 2024-03 or 2024-03-01"),
    "dateTime": _dated(_date_time, "a date, or date and time with seconds and zone such as 2024-03-01T10:30:00Z"),
    "decimal": _decimal,
    "id": _matching(_id, "an id: 1 to 64 of A-Z a-z 0-9 - ."),
    "instant": _dated(_instant, "an instant such as 2024-03-01T10:30:00.000Z"),
    "integer": _whole(-_int32),
    "markdown": _string,
    "oid": _matching(_oid, "an OID such as urn:oid:1.2.3"),
    "positiveInt": _whole(1),
    "string": _string,
    "time": _matching(_time, "a time such as 10:30:00"),
    "unsignedInt": _whole(0),
    "uri": _uri,
    "url": _uri,
    "uuid": _matching(_uuid, "a UUID such as urn:uuid:c757873d-ec9a-4326-a141-556f43239520"),
    "xhtml": _xhtml,
}
"""For each primitive type the check of one value."""
