"""Resource XML in and out, by the element definitions: the same plain dicts as JSON, decimals digit for digit.

https://hl7.org/fhir/R4/xml.html. Input goes through expat directly, in one pass, and a document with a DTD ends there:
no entity is ever declared, so there is nothing to expand or to fetch (https://hl7.org/fhir/R4/security.html#narrative).
Narrative is the only mixed content and passes as the text it is.
"""

import re
from functools import cache
from typing import Any, NamedTuple, NoReturn
from xml.parsers import expat

from fhir_server.definitions import RESOURCE_TYPES, is_complex, json_elements
from fhir_server.kernel.errors import InvalidRequest
from fhir_server.kernel.json import decimal

FHIR_NAMESPACE = "http://hl7.org/fhir"
XHTML_NAMESPACE = "http://www.w3.org/1999/xhtml"
_schema_instance = "http://www.w3.org/2001/XMLSchema-instance"
_deepest = 160  # elements; a contained resource takes two, and validation stops at 64 of JSON
_integer = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_decimal = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_longest_decimal = 1000
_integers = frozenset({"integer", "positiveInt", "unsignedInt"})
_utf8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_own_namespace = re.compile(rb'<div\b[^>]*\sxmlns=(["\'])http://www\.w3\.org/1999/xhtml\1')


class Slot(NamedTuple):
    """What may stand under one name: its place in the order of elements, whether it repeats, and its type."""

    order: int
    many: bool
    type: str
    primitive: bool


class Node(NamedTuple):
    """An element as read. ``raw`` is the text of a narrative ``div``; ``place`` is line and column, from 1."""

    name: str
    attributes: dict[str, str]
    children: list["Node"]
    place: tuple[int, int]
    raw: list[str]


@cache
def slots(type_name: str) -> dict[str, Slot]:
    """Return the elements of a type by their JSON name, in the order the specification gives them."""
    return {
        name: Slot(order, element.many, code, not is_complex(code) and code != "Resource")
        for order, (name, (element, code)) in enumerate(json_elements(type_name).items())
    }


def decode_resource(body: bytes) -> dict[str, Any]:
    """Return the resource in ``body`` as it would stand in JSON.

    Raises InvalidRequest with line and column. Elements R4 does not have, and values that are not of their type, stay
    as they are for validation to point at.
    """
    root = _Parser(body).parse()
    if root.name not in RESOURCE_TYPES:
        _refuse("The root element names no resource type of FHIR R4.", root.place)
    return _resource(root)


class _Parser:
    """Expat with handlers that build Nodes and refuse whatever FHIR XML does not have."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.stack: list[Node] = [Node("", {}, [], (1, 1), [])]
        self.division: _Division | None = None
        self.expat = expat.ParserCreate("utf-8", namespace_separator=" ")
        self.expat.buffer_text = True
        self.expat.ordered_attributes = False
        self.expat.XmlDeclHandler = self.declaration
        self.expat.StartDoctypeDeclHandler = self.doctype
        self.expat.StartElementHandler = self.start
        self.expat.EndElementHandler = self.end
        self.expat.CharacterDataHandler = self.text

    def parse(self) -> Node:
        """Return the root element."""
        if self.body[:1] in {b"\xfe", b"\xff"}:  # expat would follow a byte order mark into UTF-16
            _refuse("FHIR XML is XML 1.0 in UTF-8.", (1, 1))
        try:
            self.expat.Parse(self.body, True)  # noqa: FBT003 - expat takes "this is all" by position
        except expat.ExpatError as error:
            self.refuse(f"The body is not well-formed XML: {expat.ErrorString(error.code)}")
        except (ValueError, UnicodeError) as error:
            raise InvalidRequest("The body is not XML in UTF-8.") from error
        return self.stack[0].children[0]

    def place(self) -> tuple[int, int]:
        return self.expat.CurrentLineNumber, self.expat.CurrentColumnNumber + 1

    def refuse(self, text: str) -> NoReturn:
        _refuse(text, self.place())

    def declaration(self, version: str, encoding: str | None, _standalone: int) -> None:
        if version != "1.0" or (encoding or "utf-8").lower() not in _utf8:
            self.refuse("FHIR XML is XML 1.0 in UTF-8.")

    def doctype(self, *_: Any) -> None:
        self.refuse("A document type declaration is not allowed: FHIR XML has no DTD and no entities.")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self.stack) > _deepest:
            self.refuse("The body is nested too deeply.")
        namespace, _, local = name.rpartition(" ")
        if self.division is not None:
            self.division.start(self, namespace, local, attributes)
        elif namespace == FHIR_NAMESPACE:
            own = {key: value for key, value in attributes.items() if not key.startswith(_schema_instance)}
            node = Node(local, own, [], self.place(), [])
            self.stack[-1].children.append(node)
            self.stack.append(node)
        elif namespace == XHTML_NAMESPACE and local == "div" and len(self.stack) > 1:
            self.division = _Division(self.expat.CurrentByteIndex)
            self.division.start(self, namespace, local, attributes)
        else:
            self.refuse(f"Every element is in the namespace {FHIR_NAMESPACE}: declare it on the root with xmlns.")

    def end(self, _name: str) -> None:
        if self.division is None:
            self.stack.pop()
            return
        self.division.end()
        if not self.division.open:
            text = self.division.text(self.body, self.expat.CurrentByteIndex)
            self.stack[-1].children.append(Node("div", {}, [], self.place(), [text]))
            self.division = None

    def text(self, data: str) -> None:
        if self.division is not None:
            self.division.parts.append(_escaped(data))
        elif data.strip():
            self.refuse("Text between elements is not allowed: a value goes into the attribute 'value'.")


class _Division:
    """A narrative ``div`` being read: kept as it was written, or rewritten when its namespace was declared outside."""

    def __init__(self, begins_at: int) -> None:
        self.begins_at = begins_at
        self.open: list[str] = []
        self.parts: list[str] = []

    def start(self, parser: _Parser, namespace: str, local: str, attributes: dict[str, str]) -> None:
        if namespace != XHTML_NAMESPACE:
            parser.refuse("Narrative holds XHTML elements only.")
        if len(self.open) > _deepest:
            parser.refuse("The narrative is nested too deeply.")
        own = attributes if self.open else {"xmlns": XHTML_NAMESPACE, **attributes}
        given = "".join(f' {key.rpartition(" ")[2]}="{_escaped(value)}"' for key, value in own.items())
        self.parts.append(f"<{local}{given}>")
        self.open.append(local)

    def end(self) -> None:
        self.parts.append(f"</{self.open.pop()}>")

    def text(self, body: bytes, ends_at: int) -> str:
        """Return the narrative; for ``<div/>`` expat's end is behind the tag already, else it is before ``</div>``."""
        if not _own_namespace.match(body, self.begins_at):
            return "".join(self.parts)
        closed = len(self.parts) == 2 and body[ends_at - 2 : ends_at] == b"/>"  # noqa: PLR2004 - one start, one end
        return body[self.begins_at : ends_at if closed else body.index(b">", ends_at) + 1].decode()


def _resource(node: Node) -> dict[str, Any]:
    if node.attributes:
        _refuse("A resource has no attributes: its id is the element <id value=…/>.", node.place)
    return {"resourceType": node.name, **_children(node, node.name)}


def _object(node: Node, type_name: str) -> dict[str, Any]:
    allowed = ("id", "url") if type_name == "Extension" else ("id",)
    if any(name not in allowed for name in node.attributes):
        _refuse(f"<{node.name}> is a {type_name}: its attributes may be {' and '.join(allowed)}.", node.place)
    return {**node.attributes, **_children(node, type_name)}


def _children(node: Node, type_name: str) -> dict[str, Any]:
    known = slots(type_name)
    found: dict[str, list[Node]] = {}
    for child in node.children:
        found.setdefault(child.name, []).append(child)
    made: dict[str, Any] = {}
    for name, nodes in found.items():
        slot = known.get(name)
        if slot is None:
            made[name] = nodes[0].attributes.get("value", {})
        elif len(nodes) > 1 and not slot.many:
            _refuse(f"{type_name}.{name} may occur once only.", nodes[1].place)
        elif slot.primitive:
            made |= _primitives(name, nodes, slot)
        else:
            values = [_complex(one, slot) for one in nodes]
            made[name] = values if slot.many else values[0]
    return made


def _complex(node: Node, slot: Slot) -> dict[str, Any]:
    if slot.type != "Resource":
        return _object(node, slot.type)
    if len(node.children) != 1 or node.children[0].name not in RESOURCE_TYPES:
        _refuse(f"<{node.name}> holds one resource of FHIR R4.", node.place)
    return _resource(node.children[0])


def _primitives(name: str, nodes: list[Node], slot: Slot) -> dict[str, Any]:
    values = [_value(node, slot.type) for node in nodes]
    extras = [_extra(node) for node in nodes]
    made: dict[str, Any] = {}
    if any(value is not None for value in values):
        made[name] = values if slot.many else values[0]
    if any(extras):
        made[f"_{name}"] = [extra or None for extra in extras] if slot.many else extras[0]
    return made


def _value(node: Node, type_name: str) -> Any:
    """Return the value as JSON has it; what is not of the type stays text."""
    if type_name == "xhtml":
        if not node.raw:
            _refuse(f'The narrative is a <div xmlns="{XHTML_NAMESPACE}">.', node.place)
        return node.raw[0]
    text = node.attributes.get("value")
    if text is None and not node.children:
        _refuse(f"<{node.name}> has neither a value nor extensions: leave it out.", node.place)
    if text is None or (type_name == "boolean" and text not in {"true", "false"}):
        return text
    if type_name == "boolean":
        return text == "true"
    if type_name in _integers and _integer.fullmatch(text):
        return int(text)
    if type_name == "decimal" and len(text) <= _longest_decimal and _decimal.fullmatch(text):
        return int(text) if _integer.fullmatch(text) else decimal(text)
    return text


def _extra(node: Node) -> dict[str, Any]:
    """Return what stands beside a primitive's value: its id and extensions."""
    if any(name not in {"id", "value"} for name in node.attributes):
        _refuse(f"<{node.name}> has the attributes value and id only.", node.place)
    own = {"id": node.attributes["id"]} if "id" in node.attributes else {}
    return {**own, **_children(node, "Element")}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _refuse(text: str, place: tuple[int, int]) -> NoReturn:
    raise InvalidRequest(f"{text} (line {place[0]}, column {place[1]})")
