"""Where a row reads: ``PID-3.4.1`` of a segment, ``CX.4.1`` of a data type, a whole segment ``NK1`` or value ``CX``."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from mappings.engine.errors import MappingLoadError

if TYPE_CHECKING:
    from mappings.engine.context import Context

_segment_source = re.compile(r"([A-Z][A-Z0-9]{2})(?:-(\d+)(?:\.(\d+)(?:\.(\d+))?)?)?")
_datatype_source = re.compile(r"([A-Z][A-Z0-9_]*)(?:\.(\d+)(?:\.(\d+))?)?")

Read = Callable[[Any, "Context"], str]


class Source(NamedTuple):
    """A parsed ``from``. ``field`` is None for a whole segment or a whole data type value."""

    name: str
    field: int | None
    component: int | None
    subcomponent: int | None
    text: str


def parse_source(text: str, *, datatype: bool) -> Source:
    """Return the parsed source. Raises MappingLoadError when it is none."""
    found = (_datatype_source if datatype else _segment_source).fullmatch(text)
    if not found:
        raise MappingLoadError(f"{text!r} is no source; write one such as {'CX.4.1' if datatype else 'PID-3.4.1'}")
    first, second, third = ([int(number) if number else None for number in found.groups()[1:]] + [None])[:3]
    return Source(found[1], first, second, third, text)


def element(index: int) -> Callable[[list[str]], str]:
    """Return the reader of element ``index`` (from 1) of a split value, ``""`` when absent."""
    at = index - 1

    def read(parts: list[str]) -> str:
        return parts[at] if at < len(parts) else ""

    return read


def split(text: str, delimiter: str) -> list[str]:
    """Split on a delimiter that may be unused (``""``)."""
    return text.split(delimiter) if delimiter else [text]


def segment_field(source: Source, own: str) -> Read:
    """Return the reader of a whole field, of the row's own segment or of the nearest other one of that name."""
    number = source.field or 0
    name = source.name
    if name == own:
        return lambda frame, _: frame.field(number)

    def foreign(_: Any, context: "Context") -> str:
        segment = context.nearest(name)
        return segment.field(number) if segment else ""

    return foreign


def inner(source: Source) -> Read | None:
    """Return what narrows one repetition to the component asked for, None when the whole repetition is."""
    if source.component is None:
        return None
    component = element(source.component)
    if source.subcomponent is None:
        return lambda text, context: component(split(text, context.component))
    sub = element(source.subcomponent)
    return lambda text, context: sub(split(component(split(text, context.component)), context.subcomponent))


def datatype_part(source: Source) -> Read:
    """Return the reader of a component of an already split value (the frame of a data type map)."""
    component = element(source.field or 1)
    if source.component is None:
        return lambda frame, _: component(frame)
    sub = element(source.component)
    return lambda frame, context: sub(split(component(frame), context.subcomponent))


def first_text(source: Source, own: str, *, datatype: bool) -> Read:
    """Return the reader conditions use: the first repetition, unescaped and stripped, ``""`` for HL7 null."""
    if datatype:
        part = datatype_part(source)
        return lambda frame, context: _plain(part(frame, context), context)
    whole = segment_field(source, own)
    narrow = inner(source)
    is_first = source.component in (None, 1) and source.subcomponent in (None, 1)

    def read(frame: Any, context: "Context") -> str:
        text = whole(frame, context)
        if not text or text.isalnum():
            return text if is_first else ""
        text = split(text, context.repetition)[0]
        return _plain(narrow(text, context) if narrow else text, context)

    return read


def _plain(text: str, context: "Context") -> str:
    return "" if text == '""' else context.unescape(text).strip()
