"""HL7 primitive and coded types → FHIR primitives. HL7 v2.9 chapter 2A; https://hl7.org/fhir/R4/datatypes.html."""

import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from mappings.engine.context import Context
from mappings.engine.errors import ValueFault
from mappings.engine.tables import load_tables

_code_systems = load_tables(Path(__file__).parent / "tables")["coding-systems"].rows
_v2_table = re.compile(r"HL7(\d{3,4})")
_oid = re.compile(r"[0-2](\.(0|[1-9]\d*))+")
_thousands = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?")
_word = re.compile(r"[^A-Za-z0-9._-]+")
_spaces = re.compile(r"\s+")
_unprintable = dict.fromkeys((*range(9), 11, 12, *range(14, 32)))
"""FHIR strings hold no control characters but tab, CR and LF."""


def string(text: str, context: Context) -> str | None:
    """ST, ID, IS, SI → string, unescaped once and stripped."""
    return text if text.isalnum() else context.plain(text).translate(_unprintable).strip() or None


def formatted(text: str, context: Context) -> str | None:
    """TX, FT: the whole repetition, unescaped once; line breaks and indentation kept."""
    lines = context.unescape(text).translate(_unprintable).replace("\r\n", "\n").replace("\r", "\n")
    return lines.rstrip() if lines.strip() else None


def code(text: str, context: Context) -> str | None:
    """ID, IS → code: no leading, trailing or double spaces."""
    return text if text.isalnum() else _spaces.sub(" ", context.plain(text)) or None


def decimal(text: str, context: Context) -> Decimal | None:
    """NM → decimal with every digit kept. Raises ValueFault (102)."""
    plain = context.plain(text)
    if not plain:
        return None
    number = to_decimal(plain)
    if number is None:
        raise ValueFault("a number is not valid")
    return number


def to_decimal(text: str) -> Decimal | None:
    """Return the number in ``text`` (``+1``, ``.5``, ``1,000`` as seen in the field), None when it is none."""
    plain = text.strip().replace(" ", "")
    if "," in plain and _thousands.fullmatch(plain):
        plain = plain.replace(",", "")
    try:
        number = Decimal(plain)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def positive_integer(text: str, context: Context) -> int | None:
    """NM, SI → positiveInt; anything else is left out with a warning."""
    plain = context.plain(text)
    if plain.isdecimal() and int(plain) > 0:
        return int(plain)
    context.warn("a position that is no positive number was left out")
    return None


def boolean(text: str, context: Context) -> bool | None:
    """Table 0136: Y and N."""
    return {"Y": True, "N": False, "T": True, "F": False, "1": True, "0": False}.get(context.plain(text).upper())


def coding_system(text: str, context: Context) -> str | None:
    """Table 0396 mnemonic → URI: the site's, the published one, a v2 table, an OID, else one under the site's name."""
    name = context.plain(text)
    if not name:
        return None
    site = context.site
    known = site.code_systems.get(name)
    if known:
        return known
    found = _code_systems.get(name.upper())
    if found:
        return found.code
    return _unlisted_system(name, site.namespace)


def _unlisted_system(name: str, namespace: str) -> str:
    table = _v2_table.fullmatch(name.upper())
    if table:
        return f"http://terminology.hl7.org/CodeSystem/v2-{table[1].zfill(4)}"
    if name.startswith(("http://", "https://", "urn:")) and " " not in name:
        return name
    if _oid.fullmatch(name):
        return f"urn:oid:{name}"
    return f"{namespace}/CodeSystem/{_word.sub('-', name)}"


def contact_value(frame: list[str], context: Context) -> str | None:
    """XTN → ContactPoint.value: e-mail (4), unformatted (12), the parts (5-8), or the text of 1."""
    parts = [context.plain(part) for part in frame] + [""] * 12
    email, country, area, local, extension, unformatted = parts[3], parts[4], parts[5], parts[6], parts[7], parts[11]
    if local and not parts[0]:
        number = " ".join(part for part in (f"+{country.lstrip('+')}" if country else "", area, local) if part)
        return f"{number} ext {extension}" if extension else number
    return parts[0] or unformatted or email or None


def contact_system(frame: list[str], _: Context) -> str:
    """XTN without XTN-3: e-mail when XTN-2 says NET or XTN-4 holds one, else phone."""
    is_net = len(frame) > 1 and frame[1].strip() == "NET"
    return "email" if is_net or (len(frame) > 3 and frame[3].strip(' "')) else "phone"  # noqa: PLR2004 - XTN-4


def local_code(frame: list[str], context: Context) -> str | None:
    """CWE with neither code nor original text: what it says is its text."""
    parts = [context.plain(part) for part in frame[:9]] + [""] * 9
    if parts[0] or parts[3]:
        return None
    return parts[1] or parts[4] or None


VALUES: dict[str, Any] = {
    "ST": string,
    "TX": formatted,
    "code": code,
    "decimal": decimal,
    "positiveInt": positive_integer,
    "boolean": boolean,
    "coding_system": coding_system,
}
FRAMES: dict[str, Any] = {"contact_value": contact_value, "contact_system": contact_system, "local_code": local_code}
