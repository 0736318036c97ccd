"""Meta as a set of profiles, tags and security labels.

https://hl7.org/fhir/R4/resource.html#Meta: a tag or label is told by system and code, a profile by its whole URL.
"""

from collections.abc import Callable
from typing import Any

from fhir_server.kernel.errors import PreconditionFailed
from fhir_server.operations.calls.operation import Answer, Invocation
from fhir_server.store.database import Transaction

Json = dict[str, Any]
SETS = ("profile", "security", "tag")


def united(meta: Json, more: Json) -> Json:
    """Return ``meta`` with what ``more`` adds to its sets."""
    return _each_set(meta, more, lambda old, new: [*old, *(item for item in new if _key(item) not in _keys(old))])


def without(meta: Json, less: Json) -> Json:
    """Return ``meta`` with what ``less`` names taken from its sets; a set that is empty then is left out."""
    return _each_set(meta, less, lambda old, gone: [item for item in old if _key(item) not in _keys(gone)])


def _each_set(meta: Json, other: Json, combine: Callable[[list[Any], list[Any]], list[Any]]) -> Json:
    kept = {name: value for name, value in meta.items() if name not in SETS}
    sets = {name: combine(meta.get(name, []), _distinct(other.get(name, []))) for name in SETS}
    return kept | {name: items for name, items in sets.items() if items}


def _distinct(items: list[Any]) -> list[Any]:
    return list({_key(item): item for item in reversed(items)}.values())[::-1]


def _keys(items: list[Any]) -> set[Any]:
    return {_key(item) for item in items}


def _key(item: Any) -> Any:
    return (item.get("system"), item.get("code")) if isinstance(item, dict) else item


async def change_meta(tx: Transaction, call: Invocation, change: Callable[[Json, Json], Json]) -> Answer:
    """Make a version whose meta is changed by the call's ``meta``; what changes nothing makes none.

    Raises NotFound, Gone, Forbidden, PreconditionFailed (If-Match), InvalidResource. A write that comes between is
    taken up: the row is locked by then, so the second attempt is on what there is.
    """
    try:
        return await _attempt(tx, call, change)
    except PreconditionFailed:
        if call.if_match is not None:
            raise
    return await _attempt(tx, call, change)


async def _attempt(tx: Transaction, call: Invocation, change: Callable[[Json, Json], Json]) -> Answer:
    current = await tx.reader.read(call.resource_type or "", call.id or "")
    resource = current.resource()
    meta = change(resource.get("meta", {}), call.inputs.one("meta"))
    if_match = current.version if call.if_match is None else call.if_match
    result = await tx.writer.update({**resource, "meta": meta}, if_match=if_match)
    return Answer(returned(result.stored.resource()["meta"]))


def returned(meta: Json) -> Json:
    """Return a Meta as the ``return`` of an operation; one that says nothing has no place in JSON."""
    parameter = [{"name": "return", "valueMeta": meta}]
    return {"resourceType": "Parameters", **({"parameter": parameter} if meta else {})}
