"""A message's plan: which resources its groups become, in which order, how each is keyed, written and referred to.

https://hl7.org/fhir/uv/v2mappings/message_maps.html
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mappings.engine.closures import RunMap
from mappings.engine.compiler import Compiler
from mappings.engine.condition import Test, compile_condition
from mappings.engine.context import Context, Draft, business_id
from mappings.engine.errors import MappingLoadError, ValueFault
from mappings.engine.grammar import Group, Node, build_groups, parse_grammar
from mappings.engine.library import FoldFunction, KeyFunction, Library
from mappings.engine.protocol import Message, Segment, Site
from mappings.engine.rows import RowMap, parse_map
from mappings.engine.source import first_text, parse_source
from mappings.engine.target import Put, compile_target, copier

_words = {
    "name", "type", "group", "segment", "maps", "mode", "key", "when", "refs", "defaults", "fallback", "rows", "fold",
    "reopens", "outside",
}  # fmt: skip
_WHOSE = "patient"
"""The item nothing may be without that refers to it: what is nobody's is not written."""
_modes = ("merge", "ensure", "replace")


@dataclass(frozen=True, slots=True)
class Ref:
    """How one resource of the plan refers to others: by Reference, or (``attachment``) by an Attachment.

    A Reference looks around the resource's group, ever wider; an Attachment only inside it.
    """

    to: str
    name: str
    put: Put
    every: bool
    attachment: bool

    def read(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Return the Attachment that stands already where ``content[0].attachment`` points, else an empty one."""
        if self.every:
            return {}
        found = resource.get("content") or [{}]
        return dict(found[0].get("attachment", {}))


@dataclass(frozen=True, slots=True)
class Item:
    """One kind of resource a message makes. ``maps`` pairs a segment's name with its compiled map."""

    name: str
    type: str
    group: str
    segment: str | None
    maps: tuple[tuple[str, RunMap], ...]
    mode: str
    key: KeyFunction
    test: Test | None
    refs: tuple[Ref, ...]
    defaults: Mapping[str, Any]
    fallback: Mapping[str, Callable[[], Any]]
    fold: FoldFunction | None
    reopens: Test | None
    outside: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled message: its name (``ORU_R01``), grammar and items."""

    name: str
    grammar: Node
    items: tuple[Item, ...]

    def run(
        self, message: Message, site: Site, *, traced: bool = False, codes: dict[Any, Any] | None = None
    ) -> Context:
        """Map a message; the returned context holds drafts, warnings and (``traced``) the trace.

        ``codes`` is what this site's codes were converted to before; it belongs to this plan's mapping.

        Raises ValueFault where a value breaks its data type.
        """
        context = Context(message, site, traced=traced, codes=codes)
        context.root = context.group = build_groups(self.grammar, message.segments, context.warn)
        pending: list[tuple[Item, Draft]] = []
        for item in self.items:
            for frame, group in _occurrences(item, context):
                draft = _build(item, frame, group, context)
                if draft is not None:
                    pending.append((item, draft))
        for item, draft in reversed(pending):  # a report repeats the attachments its documents have by then
            _refer(item, draft, context)
        return context


def inline_maps(message: str, spec: Mapping[str, Any]) -> dict[str, RowMap]:
    """Return the maps a message file holds itself (``rows`` of an item), by address ``messages/ORU_R01/report``."""
    maps = [
        parse_map(f"messages/{message}", str(item.get("name")), item["rows"])
        for item in spec.get("resources", ())
        if "rows" in item
    ]
    return {row_map.address: row_map for row_map in maps}


def compile_plan(name: str, spec: Mapping[str, Any], compiler: Compiler, library: Library) -> Plan:
    """Return the plan of one message file. Raises MappingLoadError naming the item that is wrong."""
    items = tuple(_item(name, item, compiler, library) for item in spec["resources"])
    return Plan(name, parse_grammar(spec["grammar"]), items)


def _item(message: str, spec: Mapping[str, Any], compiler: Compiler, library: Library) -> Item:
    where = f"messages/{message}/{spec.get('name')}"
    unknown = spec.keys() - _words
    if unknown or not {"name", "type", "key"} <= spec.keys() or spec.get("mode", "ensure") not in _modes:
        raise MappingLoadError(f"{where}: needs name, type and key, a known mode, and no word {sorted(unknown)}")
    segment = spec.get("segment")
    maps = [(text.split(".")[0], compiler.run_map(f"segments/{text}")) for text in spec.get("maps", ())]
    if "rows" in spec:
        maps.append((segment or "", compiler.run_map(where)))
    return Item(
        name=spec["name"],
        type=spec["type"],
        group=spec.get("group", ""),
        segment=segment,
        maps=tuple(maps),
        mode=spec.get("mode", "ensure"),
        key=library.key(spec["key"], where),
        test=_test(spec.get("when"), segment or ""),
        refs=tuple(_ref(to, name) for to, names in spec.get("refs", {}).items() for name in _listed(names)),
        defaults=spec.get("defaults", {}),
        fallback={name: copier(value) for name, value in spec.get("fallback", {}).items()},
        fold=library.fold(spec["fold"], where) if "fold" in spec else None,
        reopens=_test(spec.get("reopens"), segment or ""),
        outside=spec.get("outside", ""),
    )


def _listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names


def _ref(to: str, text: str) -> Ref:
    name, _, kind = text.partition(" as ")
    if kind not in ("", "Attachment"):
        raise MappingLoadError(f"refs: {text!r} must be a name, or a name as Attachment")
    return Ref(to, name, compile_target(to), every="[]" in to, attachment=bool(kind))


def _test(text: str | None, own: str) -> Test | None:
    if text is None:
        return None
    return compile_condition(
        text,
        lambda source: first_text(parse_source(source, datatype=False), own, datatype=False),
        lambda source: first_text(parse_source(source, datatype=False), own, datatype=False),
    )


def _occurrences(item: Item, context: Context) -> list[tuple[Segment | None, Group]]:
    if item.segment is None:
        return [(None, group) for group in context.root.groups(item.group)]
    found = context.root.placed.get(item.segment, [])
    if item.group:
        found = [pair for pair in found if pair[1].within(item.group)]
    if item.outside:
        found = [pair for pair in found if not pair[1].within(item.outside)]
    return [*(item.fold(found, context) if item.fold else found)]


def _build(item: Item, frame: Segment | None, group: Group, context: Context) -> Draft | None:
    context.group = group
    if item.test and not item.test(frame, context):
        return None
    resource: dict[str, Any] = {"resourceType": item.type, "id": ""}
    context.clears = []
    context.trail = [item.type]
    context.resource = resource
    for name, run in item.maps:
        source = frame if name in (item.segment, "") else _beside(name, group, context)
        if source is not None or not name:
            run(source, context, resource)
    key = item.key(resource, frame, context)
    if key is None:
        return None
    resource["id"] = business_id(item.type, key.text)
    draft = Draft(item.name, resource, item.mode, key.match, context.clears, item.defaults, group)
    draft.reopens = bool(item.reopens and item.reopens(frame, context))
    return context.add(draft)


def _beside(name: str, group: Group, context: Context) -> Segment | None:
    """Return the segment a map reads beside its item's own: of the group, of one within it, else of those around."""
    if name not in context.root.placed:
        return None
    return group.first(name) or next((found for found, _ in group.walk(name)), None) or context.nearest(name)


def _refer(item: Item, draft: Draft, context: Context) -> None:
    for ref in item.refs:
        found = context.inside(ref.name, draft.group) if ref.attachment else context.built(ref.name, draft.group)
        if not found and ref.name == _WHOSE:
            raise ValueFault(
                "a segment stands outside of any patient's part of the message", code="100", location="PID^1"
            )
        for other in found if ref.every else found[:1]:
            if ref.attachment:
                _attach(ref, draft.resource, other.resource)
            else:
                ref.put(draft.resource, {"reference": other.reference})
    for name, copy in item.fallback.items():
        if name not in draft.resource:
            draft.resource[name] = copy()


def _attach(ref: Ref, resource: dict[str, Any], other: dict[str, Any]) -> None:
    """Point an Attachment at a Binary (over a title that is there already), or repeat a document's."""
    if other["resourceType"] == "Binary":
        attachment = {"contentType": other["contentType"], "url": f"Binary/{other['id']}"}
    else:
        attachment = dict(other["content"][0]["attachment"])
    known = ref.read(resource)
    ref.put(resource, {**known, **attachment} if known else attachment)
