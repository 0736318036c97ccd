"""Where a row writes: ``birthDate``, ``period.start``, ``identifier[]`` (append), ``link[0].type`` (that item)."""

import marshal
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from mappings.engine.errors import MappingLoadError

Put = Callable[[dict[str, Any], Any], None]

_step = re.compile(r"(_?[A-Za-z][A-Za-z0-9]*)(\[\d*\])?")


def compile_target(text: str) -> Put:
    """Return the writer for ``text``. Raises MappingLoadError when it is no target."""
    steps = [_parse(step, text) for step in text.split(".")]
    put = _last(*steps[-1])
    for name, index in reversed(steps[:-1]):
        put = _within(name, index, put)
    return put


def top_element(text: str) -> str:
    """Return the top-level element a target touches: ``name`` for ``name[0].family``."""
    return _parse(text.split(".", maxsplit=1)[0], text)[0].lstrip("_")


def _parse(step: str, whole: str) -> tuple[str, int | None]:
    """Return element and position: None for a plain element, -1 to append."""
    found = _step.fullmatch(step)
    if not found:
        raise MappingLoadError(f"{whole!r} is no target; write one such as name[0].family")
    if found[2] is None:
        return found[1], None
    return found[1], int(found[2][1:-1] or -1)


def _last(name: str, index: int | None) -> Put:
    if index is None:
        return _set(name)
    if index < 0:
        return lambda target, value: target.setdefault(name, []).append(value)

    def put(target: dict[str, Any], value: Any) -> None:
        items = target.setdefault(name, [])
        if index < len(items):
            items[index] = value
        else:
            items.append(value)

    return put


def _set(name: str) -> Put:
    def put(target: dict[str, Any], value: Any) -> None:
        target[name] = value

    return put


def _within(name: str, index: int | None, put: Put) -> Put:
    if index is None:
        return lambda target, value: put(target.setdefault(name, {}), value)

    def nested(target: dict[str, Any], value: Any) -> None:
        items = target.setdefault(name, [])
        if 0 <= index < len(items):
            put(items[index], value)
        else:
            items.append({})
            put(items[-1], value)

    return nested


def copier(value: Any) -> Callable[[], Any]:
    """Return what makes a new copy of a constant each time, so that no two resources share one.

    Raises ValueError for what is not plain text, numbers, lists and objects of them.
    """
    if not isinstance(value, dict | list):
        return lambda: value
    return partial(marshal.loads, marshal.dumps(value))
