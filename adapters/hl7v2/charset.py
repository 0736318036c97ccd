"""Which Python codec decodes a message: MSH-18 aliases, then the site's default, then strict UTF-8, then a fallback.

HL7 v2.9 §2.14.9.18 and table 0211; the aliases outside the table are what senders write in the field.
"""

import codecs
import re

FALLBACK = "latin-1"

_aliases = {
    "ASCII": "ascii",
    "US-ASCII": "ascii",
    "ISO IR6": "ascii",
    "UNICODE": "utf-16",
    "UNICODE UTF-8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "UNICODE UTF-32": "utf-32",
    "UTF8": "utf-8",
    "ISO IR192": "utf-8",
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp_1",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "CNS 11643-1992": "big5",
    "BIG-5": "big5",
    "ANSI": "cp1252",
}
_known = re.compile(
    r"ISO[-_ ]?8859-\d{1,2}|(WINDOWS-|CP)\d{3,4}|UTF-(8|16|32)|UTF-16(LE|BE)|KOI8-[RU]|GB(18030|2312|K)|BIG5"
    r"|EUC-(JP|KR)|SHIFT[-_]JIS|ISO-2022-(JP|KR)"
)


def codec_of(declared: str) -> str | None:
    """Return the codec for one MSH-18 value, None when it is empty or names nothing known."""
    name = " ".join(declared.upper().split())
    if not name:
        return None
    if name.startswith("8859/"):
        name = f"ISO-8859-{name[5:]}"
    alias = _aliases.get(name)
    if alias is None and not _known.fullmatch(name):
        return None
    try:
        return codecs.lookup(alias or name).name
    except LookupError:
        return None


def decode(raw: bytes, declared: str, default: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Return text, codec and warnings; never fails, since the last resort maps every byte to one character."""
    warnings: list[str] = []
    first = codec_of(declared)
    if declared and first is None:
        warnings.append("MSH-18 names an unknown character set")
    for codec in dict.fromkeys(name for name in (first, default and codec_of(default), "utf-8") if name):
        try:
            text = raw.decode(codec)
        except UnicodeError:
            warnings.append(f"the message is not valid {codec}")
            continue
        return text, codec, tuple(warnings)
    warnings.append(f"no character set fits; read as {FALLBACK}, accented letters may be wrong")
    return raw.decode(FALLBACK), FALLBACK, tuple(warnings)
