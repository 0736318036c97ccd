"""transaction: every entry or none, in the order DELETE, POST, PUT and PATCH, GET; links resolved first.

https://hl7.org/fhir/R4/http.html#transaction
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.interactions.bundles import answers
from fhir_server.interactions.bundles.addresses import parse_query
from fhir_server.interactions.bundles.entries import Entry, located, parse_entries
from fhir_server.interactions.bundles.links import references, resolve_links
from fhir_server.interactions.bundles.perform import perform, write
from fhir_server.interactions.create import create_condition
from fhir_server.interactions.update import condition, condition_key, match
from fhir_server.kernel.errors import InvalidRequest, PreconditionFailed
from fhir_server.kernel.references import new_id
from fhir_server.kernel.search_query import SearchQuery
from fhir_server.store.database import Transaction
from fhir_server.store.records import Stored, WriteResult

_restful = re.compile(r"https?://.+/([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})$")
_turn = 50
_urn = ("urn:uuid:", "urn:oid:")


@dataclass(slots=True)
class _Plan:
    """What is known before the first write: who gets which id, which links lead where."""

    ids: dict[int, str] = field(default_factory=dict)
    existing: dict[int, Stored] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    claimed: dict[str, Entry] = field(default_factory=dict)

    def claim(self, target: str, entry: Entry) -> None:
        """Note that ``entry`` writes ``target``. Raises InvalidRequest when another one does already."""
        other = self.claimed.setdefault(target, entry)
        if other is not entry:
            raise InvalidRequest(
                f"{other.place} and {entry.place} both write {target}; a transaction may write it once.",
                expression=entry.place,
            )


async def apply(
    tx: Transaction, bundle: dict[str, Any], *, base_url: str = "", prefer: str = "minimal"
) -> dict[str, Any]:
    """Carry out a transaction Bundle inside ``tx`` and return the transaction-response.

    Any FhirError leaves through the caller's transaction, which rolls everything back; its issues point at
    ``Bundle.entry[i]``. ``prefer`` is the preference for each write's answer, as in the Prefer header.
    """
    entries = parse_entries(bundle)
    plan = _Plan()
    done: dict[int, dict[str, Any]] = {}
    for entry in _with_method(entries, "DELETE"):
        with located(entry):
            done[entry.index] = await _delete(tx, entry, plan, prefer)
    await _identify(tx, entries, plan)
    await _resolve(tx, entries, plan)
    for number, entry in enumerate((*_with_method(entries, "POST"), *_with_method(entries, "PUT", "PATCH"))):
        if number % _turn == 0:
            await asyncio.sleep(0)  # let other requests have their turn: a large bundle is a second of computing
        with located(entry):
            done[entry.index] = answers.written(await _write(tx, entry, plan), prefer)
    for entry in _with_method(entries, "GET", "HEAD"):
        with located(entry):
            done[entry.index] = await perform(tx, entry, base_url=base_url)
    ordered = [done[entry.index] for entry in entries]
    response: dict[str, Any] = {"resourceType": "Bundle", "type": "transaction-response"}
    return {**response, "entry": ordered} if ordered else response


def _with_method(entries: Iterable[Entry], *methods: str) -> list[Entry]:
    return [entry for entry in entries if entry.method in methods]


async def _delete(tx: Transaction, entry: Entry, plan: _Plan, prefer: str) -> dict[str, Any]:
    result = await write(tx, entry)
    if entry.id is not None:
        plan.claim(f"{entry.resource_type}/{entry.id}", entry)
    if result is None:
        return answers.nothing_deleted()
    if entry.id is None:
        plan.claim(result.stored.reference, entry)
    return answers.written(result, prefer)


async def _identify(tx: Transaction, entries: list[Entry], plan: _Plan) -> None:
    """Give each POST, PUT and PATCH its id; conditions are locked all at once, so two bundles cannot deadlock."""
    conditions: dict[int, SearchQuery] = {}
    for entry in _with_method(entries, "POST", "PUT", "PATCH"):
        with located(entry):
            asked = _condition(entry)
            if asked is not None:
                conditions[entry.index] = asked
    await tx.lock(*{condition_key(query) for query in conditions.values()})
    for entry in _with_method(entries, "POST", "PUT", "PATCH"):
        with located(entry):
            await _identify_one(tx, entry, conditions.get(entry.index), plan)


def _condition(entry: Entry) -> SearchQuery | None:
    if entry.method == "POST":
        return create_condition(entry.resource_type, entry.if_none_exist) if entry.if_none_exist is not None else None
    return condition(entry.resource_type, entry.pairs) if entry.id is None else None


async def _identify_one(tx: Transaction, entry: Entry, asked: SearchQuery | None, plan: _Plan) -> None:
    body_id = entry.body().get("id") if entry.method == "PUT" else None
    if asked is not None:
        plan.claim(condition_key(asked), entry)
        known = await match(tx, asked)
        if known is not None and entry.method == "POST":
            plan.existing[entry.index] = known
        given = known.id if known else body_id or new_id()
    else:
        given = entry.id or new_id()
    plan.ids[entry.index] = given
    target = f"{entry.resource_type}/{given}"
    if entry.index not in plan.existing:
        plan.claim(target, entry)
    _link(entry, asked, target, plan)


def _link(entry: Entry, asked: SearchQuery | None, target: str, plan: _Plan) -> None:
    """Note everything other entries may call this one by."""
    if asked is not None:
        plan.links[condition_key(asked)] = target
    if entry.full_url is None:
        return
    if plan.links.setdefault(entry.full_url, target) != target:
        raise InvalidRequest("Two entries have this fullUrl.", expression=f"{entry.place}.fullUrl")
    named = _restful.match(entry.full_url)
    if named and entry.method == "POST":
        plan.links.setdefault(named[1], target)


async def _resolve(tx: Transaction, entries: list[Entry], plan: _Plan) -> None:
    """Rewrite the bodies' links. Raises when a placeholder leads nowhere or a conditional reference is not unique."""
    for entry in _with_method(entries, "POST", "PUT", "PATCH"):
        if entry.index in plan.existing:
            continue
        with located(entry):
            for reference in references(entry.resource):
                await _check_reference(tx, reference, plan)
            entry.resource = resolve_links(entry.resource, plan.links)


async def _check_reference(tx: Transaction, reference: str, plan: _Plan) -> None:
    if reference in plan.links:
        return
    if reference.startswith(_urn) and reference.partition("#")[0] not in plan.links:
        raise InvalidRequest(f"The reference {reference} is the fullUrl of no entry in this transaction.")
    resource_type, mark, query = reference.partition("?")
    if not mark or resource_type not in RESOURCE_TYPES:
        return
    asked = condition(resource_type, parse_query(query))
    target = plan.links.get(condition_key(asked))
    if target is None:
        known = await match(tx, asked)
        if known is None:
            raise PreconditionFailed(f"A conditional reference to {resource_type} matches no resource.")
        target = known.reference
    plan.links[reference] = target


async def _write(tx: Transaction, entry: Entry, plan: _Plan) -> WriteResult:
    known = plan.existing.get(entry.index)
    if known is not None:
        return WriteResult(known, "existing")
    given = plan.ids[entry.index]
    entry.if_none_exist = None  # decided under the lock already
    if entry.method == "POST":
        result = await write(tx, entry, id=given)
    else:
        result = await write(tx, _addressed(entry, given))
    if result is None:
        raise InvalidRequest("The write made nothing.")
    return result


def _addressed(entry: Entry, id: str) -> Entry:
    """Turn a conditional update or patch, its target now known, into one that names the target."""
    if entry.id is None:
        entry.segments, entry.pairs = (entry.resource_type, id), ()
        if entry.method == "PUT":
            entry.resource = {**entry.body(), "id": entry.body().get("id", id)}
    return entry
