"""Group building: a greedy walk through a message's grammar puts each segment in its place; none is ever dropped.

HL7 v2.9 §2.5.2 (abstract message syntax), written as YAML: ``PID`` required, ``PD1?`` optional, ``NK1*`` repeating,
``ORDER*: [ORC?, OBR, …]`` a group. A group begins only with its leading segments, up to the first required one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from mappings.engine.errors import MappingLoadError
from mappings.engine.protocol import Segment


@dataclass(frozen=True, slots=True)
class Node:
    """A segment (no ``children``) or a group of the grammar. ``starts`` are the segment names it can begin with."""

    name: str
    optional: bool
    repeats: bool
    children: tuple["Node", ...]
    starts: frozenset[str]


@dataclass(slots=True, eq=False)
class Group:
    """One occurrence of a group; ``entries`` are its segments and inner groups in order.

    ``placed`` of the whole message is every segment by name, with the group that holds it.
    """

    name: str
    parent: "Group | None" = None
    entries: list[Union[Segment, "Group"]] = field(default_factory=list)
    built: dict[str, dict[str, Any]] = field(default_factory=dict)
    placed: dict[str, list[tuple[Segment, "Group"]]] = field(default_factory=dict)

    def first(self, name: str) -> Segment | None:
        """Return the first segment of this name directly in the group."""
        for entry in self.entries:
            if entry.name == name and not isinstance(entry, Group):
                return entry
        return None

    def own(self, name: str) -> list[Segment]:
        """Return all segments of this name directly in the group."""
        return [entry for entry in self.entries if entry.name == name and not isinstance(entry, Group)]

    def walk(self, name: str) -> Iterator[tuple[Segment, "Group"]]:
        """Return every segment of this name in the group and below, with the group that holds it."""
        for entry in self.entries:
            if isinstance(entry, Group):
                yield from entry.walk(name)
            elif entry.name == name:
                yield entry, self

    def within(self, name: str) -> bool:
        """Tell whether the group is, or lies in, a group of this name."""
        group: Group | None = self
        while group is not None and group.name != name:
            group = group.parent
        return group is not None

    def groups(self, name: str) -> Iterator["Group"]:
        """Return every group of this name here and below; ``""`` is the whole message."""
        if self.name == name:
            yield self
        for entry in self.entries:
            if isinstance(entry, Group):
                yield from entry.groups(name)


def parse_grammar(items: Sequence[Any], name: str = "") -> Node:
    """Return the grammar of a message. Raises MappingLoadError on an item that is neither segment nor group."""
    children = tuple(_parse(item) for item in items)
    return Node(name, optional=False, repeats=False, children=children, starts=_starts(children))


def _parse(item: Any) -> Node:
    if isinstance(item, str):
        name = item.rstrip("?*")
        return Node(name, "?" in item or "*" in item, "*" in item, (), frozenset({name}))
    if isinstance(item, dict) and len(item) == 1:
        [(text, inside)] = item.items()
        children = tuple(_parse(child) for child in inside)
        return Node(text.rstrip("?*"), "?" in text or "*" in text, "*" in text, children, _starts(children))
    raise MappingLoadError(f"{item!r} is neither a segment nor a group of a grammar")


def _starts(children: Sequence[Node]) -> frozenset[str]:
    names: frozenset[str] = frozenset()
    for child in children:
        names |= child.starts
        if not child.optional:
            break
    return names


@dataclass(slots=True)
class _Open:
    """A group being filled and how far the walk through its children has come."""

    node: Node
    group: Group
    at: int = 0


def build_groups(grammar: Node, segments: Sequence[Segment], warn: Callable[[str], None]) -> Group:
    """Return the message as a tree. A segment the grammar has no place for joins the current group, with a warning."""
    root = Group("")
    stack = [_Open(grammar, root)]
    placed = root.placed
    for segment in segments:
        name = segment.name
        depth = len(stack) - 1
        while depth >= 0 and not _place(stack, depth, name):
            depth -= 1
        group = stack[-1].group if depth >= 0 else _group_of_misplaced(stack, segment, warn)
        group.entries.append(segment)
        placed.setdefault(name, []).append((segment, group))
    return root


def _group_of_misplaced(stack: list[_Open], segment: Segment, warn: Callable[[str], None]) -> Group:
    """Keep a segment that comes too late with the closest group that may hold it, any other with the current one."""
    name = segment.name
    for level in reversed(stack):
        if any(child.name == name and not child.children for child in level.node.children):
            warn(f"segment {name}[{segment.position}] stands out of order")
            return level.group
        for child in level.node.children:
            if not child.repeats and any(inner.name == name and not inner.children for inner in child.children):
                warn(f"segment {name}[{segment.position}] stands out of order")
                return _only_group(level.group, child.name)
    if not name.startswith("Z"):
        warn(f"segment {name}[{segment.position}] has no place here; kept with the group before it")
    return stack[-1].group


def _only_group(around: Group, name: str) -> Group:
    """Return the group of this name that does not repeat, opened now when it was not there."""
    for entry in around.entries:
        if isinstance(entry, Group) and entry.name == name:
            return entry
    group = Group(name, around)
    around.entries.append(group)
    return group


def _place(stack: list[_Open], depth: int, name: str) -> bool:
    """Move the walk to where ``name`` may stand in the group at ``depth``; False when it may not."""
    current = stack[depth]
    for index in range(current.at, len(current.node.children)):
        child = current.node.children[index]
        if name not in child.starts:
            continue
        del stack[depth + 1 :]
        current.at = index if child.repeats else index + 1
        if child.children:
            _enter(stack, child, name)
        return True
    if depth and current.node.repeats and name in current.node.starts:
        del stack[depth:]
        _enter(stack, current.node, name)
        return True
    return False


def _enter(stack: list[_Open], node: Node, name: str) -> None:
    """Open a group (and the inner ones that begin it) up to where segment ``name`` stands."""
    around = stack[-1].group
    group = Group(node.name, around) if node.repeats else _only_group(around, node.name)
    if node.repeats:
        around.entries.append(group)
    stack.append(_Open(node, group))
    for index, child in enumerate(node.children):
        if name in child.starts:
            stack[-1].at = index if child.repeats else index + 1
            if child.children:
                _enter(stack, child, name)
            return
