"""Resources as XML text, elements in the order of the definitions, decimals digit for digit.

https://hl7.org/fhir/R4/xml.html
"""

import html.entities
import re
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from fhir_server.kernel.errors import Unprocessable
from fhir_server.kernel.xml import FHIR_NAMESPACE, XHTML_NAMESPACE, Slot, slots

_declaration = '<?xml version="1.0" encoding="UTF-8"?>'
_escapes = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
_special = re.compile('[&<>"\\n\\r\\t\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\ufffe\uffff]')
_named = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_prolog = re.compile(r"^\s*(?:<\?xml[^>]*\?>)?\s*")
_of_xml = frozenset({"amp", "lt", "gt", "quot", "apos"})
_replacement = "\ufffd"  # for characters XML cannot carry at all


def encode(resource: dict[str, Any], *, pretty: bool = False) -> bytes:
    """Return the resource, as decoded from JSON, as UTF-8 XML; ``pretty`` indents it by two spaces."""
    parts = [_declaration, *_resource(resource, f' xmlns="{FHIR_NAMESPACE}"', 0)]
    return (_indented(parts) if pretty else "".join(part.lstrip(" ") for part in parts)).encode()


def _indented(parts: list[str]) -> str:
    return "\n".join(parts) + "\n"


def _resource(value: dict[str, Any], namespace: str, depth: int) -> Iterator[str]:
    """Yield one line for each tag, indented by ``depth``."""
    name = value["resourceType"]
    yield from _tagged(name, namespace, _children(value, name, depth + 1, is_resource=True), depth)


def _tagged(name: str, attributes: str, children: Iterator[str], depth: int) -> Iterator[str]:
    space = "  " * depth
    first = next(children, None)
    if first is None:
        yield f"{space}<{name}{attributes}/>"
        return
    yield f"{space}<{name}{attributes}>"
    yield first
    yield from children
    yield f"{space}</{name}>"


def _children(value: dict[str, Any], type_name: str, depth: int, *, is_resource: bool = False) -> Iterator[str]:
    known = slots(type_name)
    outside = {"resourceType"} if is_resource else {"id", "url"} if type_name == "Extension" else {"id"}
    names = {key.removeprefix("_") for key in value if key not in outside}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise Unprocessable(f"A {type_name} holds an element R4 does not have, so it cannot be given as XML.")
    for name in sorted(names, key=lambda one: known[one].order):
        slot = known[name]
        if slot.primitive:
            yield from _primitives(name, value.get(name), value.get(f"_{name}"), slot, depth)
        else:
            for item in value[name] if slot.many else (value[name],):
                yield from _complex(name, item, slot, depth)


def _complex(name: str, value: dict[str, Any], slot: Slot, depth: int) -> Iterator[str]:
    if slot.type == "Resource":
        return _tagged(name, "", _resource(value, "", depth + 1), depth)
    attributes = _attribute("id", value.get("id"))
    if slot.type == "Extension":
        attributes += _attribute("url", value.get("url"))
    return _tagged(name, attributes, _children(value, slot.type, depth + 1), depth)


def _primitives(name: str, value: Any, extra: Any, slot: Slot, depth: int) -> Iterator[str]:
    if not slot.many:
        yield from _primitive(name, value, extra or {}, slot, depth)
        return
    values, extras = value or [], extra or []
    for index in range(max(len(values), len(extras))):
        one = values[index] if index < len(values) else None
        beside = extras[index] if index < len(extras) else None
        yield from _primitive(name, one, beside or {}, slot, depth)


def _primitive(name: str, value: Any, extra: dict[str, Any], slot: Slot, depth: int) -> Iterator[str]:
    if slot.type == "xhtml":
        yield "  " * depth + narrative(str(value))
        return
    attributes = _attribute("id", extra.get("id")) + _attribute("value", value)
    yield from _tagged(name, attributes, _children(extra, "Element", depth + 1), depth)


def _attribute(name: str, value: Any) -> str:
    if value is None:
        return ""
    if value is True or value is False:
        return f' {name}="{str(value).lower()}"'
    if type(value) is str:
        return f' {name}="{_special.sub(_escape, value)}"'
    return f' {name}="{value!s}"'


def _escape(found: "re.Match[str]") -> str:
    return _escapes.get(found[0], _replacement)


def narrative(text: str) -> str:
    """Return a narrative as it may stand in XML: named entities as numbers, and if it is no XML, its text."""
    division = _named.sub(_numbered, _prolog.sub("", text))
    if "xmlns" not in division.partition(">")[0]:
        division = division.replace("<div", f'<div xmlns="{XHTML_NAMESPACE}"', 1)
    return (
        division
        if _is_division(division)
        else f'<div xmlns="{XHTML_NAMESPACE}"><p>{_special.sub(_escape, text)}</p></div>'
    )


def _numbered(found: "re.Match[str]") -> str:
    if found[1] in _of_xml or found[1] not in html.entities.name2codepoint:
        return found[0]
    return f"&#{html.entities.name2codepoint[found[1]]};"


def _is_division(text: str) -> bool:
    """Tell whether the text is one well-formed XHTML div without a DTD."""
    roots: list[str] = []
    parser = expat.ParserCreate("utf-8", namespace_separator=" ")

    def start(name: str, _: dict[str, str]) -> None:
        if not roots:
            roots.append(name)

    def doctype(*_: Any) -> None:
        roots.append("a DTD")

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text.encode(), True)  # noqa: FBT003 - expat takes "this is all" by position
    except (expat.ExpatError, UnicodeError):
        return False
    return roots[:1] == [f"{XHTML_NAMESPACE} div"]
