r"""Delimiters and escape sequences of HL7 v2.9 §2.5.4 and §2.7: ``\F\ \S\ \T\ \R\ \E\ \P\ \Xdd..\ \.br\``.

Unescaping happens once, and only where the escape character occurs at all.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple


class Delimiters(NamedTuple):
    """The delimiters of one message, from MSH-1 and MSH-2; ``""`` for one the sender does not use."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""

    @property
    def encoding_characters(self) -> str:
        """MSH-2."""
        return "".join(self[1:])


STANDARD = Delimiters()

_commands = r"\.(?:br|ce|fi|nf|sp\+?\d*|sk\+?\d*|in[+-]?\d*|ti[+-]?\d*)"


@lru_cache(maxsize=64)
def unescaper(delimiters: Delimiters, codec: str) -> Callable[[str], str]:
    r"""Return the function that resolves escape sequences once; unknown ones (``\Z..\``, ``\C..\``) stay as sent."""
    mark = delimiters.escape
    if not mark:
        return str
    quoted = re.escape(mark)
    pattern = re.compile(f"{quoted}([FSTREPHN]|X(?:[0-9A-Fa-f]{{2}})+|{_commands}){quoted}")
    fixed = _fixed_meanings(delimiters)

    def meaning(found: re.Match[str]) -> str:
        sequence = found[1]
        known = fixed.get(sequence)
        if known is not None:
            return known
        return _bytes(sequence[1:], codec) if sequence[0] == "X" else _command(sequence)

    def unescape(text: str) -> str:
        return pattern.sub(meaning, text) if mark in text else text

    return unescape


@lru_cache(maxsize=64)
def escaper(delimiters: Delimiters) -> Callable[[str], str]:
    r"""Return the function that makes any text safe inside a field: it can end neither field nor segment.

    Line breaks become ``\.br\``, other control characters ``\Xdd\``.
    """
    mark = delimiters.escape or "\\"
    names = zip(delimiters, "FSRETP", strict=True)
    table = {ord(character): f"{mark}{name}{mark}" for character, name in names if character}
    table |= {code: f"{mark}X{code:02X}{mark}" for code in (*range(32), 127) if code not in table}
    table |= {ord("\n"): f"{mark}.br{mark}", ord("\x85"): f"{mark}.br{mark}"}

    def escape(text: str) -> str:
        return text.replace("\r\n", "\n").replace("\r", "\n").translate(table)

    return escape


def _fixed_meanings(delimiters: Delimiters) -> dict[str, str]:
    return {
        "F": delimiters.field,
        "S": delimiters.component,
        "R": delimiters.repetition,
        "E": delimiters.escape,
        "T": delimiters.subcomponent or "&",
        "P": delimiters.truncation or "#",
        "H": "",
        "N": "",
        ".br": "\n",
        ".ce": "\n",
        ".fi": "",
        ".nf": "",
    }


def _bytes(digits: str, codec: str) -> str:
    data = bytes.fromhex(digits)
    try:
        return data.decode(codec)
    except UnicodeError:
        return data.decode("latin-1")


def _command(sequence: str) -> str:
    name, count = sequence[:3], int("".join(filter(str.isdigit, sequence)) or "1")
    if name == ".sp":
        return "\n" * min(count, 80)
    return " " * min(count, 80) if name == ".sk" else ""
