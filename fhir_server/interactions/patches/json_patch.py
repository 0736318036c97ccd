"""JSON Patch: operations on the JSON of a resource, each at a JSON Pointer.

https://datatracker.ietf.org/doc/html/rfc6902
"""

import copy
from collections.abc import Callable
from typing import Any

from fhir_server.kernel.errors import InvalidRequest, Unprocessable

MEDIA_TYPE = "application/json-patch+json"
_missing = object()


def apply(document: Any, *, patch: Any) -> Any:
    """Return ``document`` with the operations applied in order. Raises InvalidRequest or Unprocessable.

    ``document`` is changed in place as far as the operations got.
    """
    if not isinstance(patch, list):
        raise InvalidRequest("A JSON Patch is a list of operations.")
    for index, operation in enumerate(patch):
        document = _apply(document, operation, index)
    return document


def _apply(document: Any, operation: Any, index: int) -> Any:
    kind = operation.get("op") if isinstance(operation, dict) else None
    if kind not in _operations:
        raise InvalidRequest(f"Operation {index} of the patch has no op that RFC 6902 knows.")
    return _operations[kind](document, operation, index)


def _do_add(document: Any, operation: dict[str, Any], index: int) -> Any:
    return _add(document, _pointer(operation, "path", index), _value(operation, index), index)


def _do_remove(document: Any, operation: dict[str, Any], index: int) -> Any:
    return _remove(document, _pointer(operation, "path", index), index)


def _do_replace(document: Any, operation: dict[str, Any], index: int) -> Any:
    path, value = _pointer(operation, "path", index), _value(operation, index)
    if not path:
        return value
    return _add(_remove(document, path, index), path, value, index)


def _do_copy(document: Any, operation: dict[str, Any], index: int) -> Any:
    value = copy.deepcopy(_at(document, _pointer(operation, "from", index), index))
    return _add(document, _pointer(operation, "path", index), value, index)


def _do_move(document: Any, operation: dict[str, Any], index: int) -> Any:
    origin = _pointer(operation, "from", index)
    value = _at(document, origin, index)
    return _add(_remove(document, origin, index), _pointer(operation, "path", index), value, index)


def _do_test(document: Any, operation: dict[str, Any], index: int) -> Any:
    if not _same(_at(document, _pointer(operation, "path", index), index), _value(operation, index)):
        raise Unprocessable(f"Operation {index} of the patch: the test failed.")
    return document


_operations: dict[Any, Callable[[Any, dict[str, Any], int], Any]] = {
    "add": _do_add,
    "remove": _do_remove,
    "replace": _do_replace,
    "copy": _do_copy,
    "move": _do_move,
    "test": _do_test,
}


def _value(operation: dict[str, Any], index: int) -> Any:
    if "value" not in operation:
        raise InvalidRequest(f"Operation {index} of the patch needs a value.")
    return copy.deepcopy(operation["value"])


def _pointer(operation: dict[str, Any], name: str, index: int) -> list[str]:
    """Return the parts of a JSON Pointer (RFC 6901)."""
    text = operation.get(name)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise InvalidRequest(f"Operation {index} of the patch needs '{name}', a JSON Pointer such as /name/0/family.")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(document: Any, path: list[str], index: int) -> Any:
    for part in path:
        if isinstance(document, dict):
            document = document.get(part, _missing)
        elif isinstance(document, list):
            position = _position(part, len(document) - 1, index)
            document = document[position]
        else:
            document = _missing
        if document is _missing:
            raise _nowhere(index)
    return document


def _add(document: Any, path: list[str], value: Any, index: int) -> Any:
    if not path:
        return value
    parent, part = _at(document, path[:-1], index), path[-1]
    if isinstance(parent, dict):
        parent[part] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if part == "-" else _position(part, len(parent), index), value)
    else:
        raise _nowhere(index)
    return document


def _remove(document: Any, path: list[str], index: int) -> Any:
    if not path:
        raise Unprocessable(f"Operation {index} of the patch would remove the whole resource.")
    parent, part = _at(document, path[:-1], index), path[-1]
    if isinstance(parent, dict) and part in parent:
        del parent[part]
    elif isinstance(parent, list):
        del parent[_position(part, len(parent) - 1, index)]
    else:
        raise _nowhere(index)
    return document


def _position(part: str, highest: int, index: int) -> int:
    if not part.isascii() or not part.isdigit() or (part != "0" and part.startswith("0")) or int(part) > highest:
        raise _nowhere(index)
    return int(part)


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON does: true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _nowhere(index: int) -> Unprocessable:
    return Unprocessable(f"Operation {index} of the patch points at something the resource does not have.")
