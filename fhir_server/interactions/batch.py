"""batch: each entry on its own, in a transaction of its own; one that fails says so and harms no other.

https://hl7.org/fhir/R4/http.html#transaction
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fhir_server.interactions.bundles import answers
from fhir_server.interactions.bundles.entries import Entry, located, parse_entry, raw_entries
from fhir_server.interactions.bundles.perform import perform
from fhir_server.kernel.errors import FhirError
from fhir_server.kernel.subject import Subject
from fhir_server.store.database import Database, Transaction

Operate = Callable[[Entry], Awaitable[dict[str, Any]]]
"""Calls the operation an entry names and returns its response entry."""

_Alone = Callable[[Entry], Awaitable[dict[str, Any]]]
_log = logging.getLogger(__name__)


async def apply(
    database: Database,
    subject: Subject,
    bundle: dict[str, Any],
    *,
    base_url: str = "",
    prefer: str = "minimal",
    request_id: str | None = None,
    operate: Operate | None = None,
) -> dict[str, Any]:
    """Carry out a batch Bundle and return the batch-response, entry for entry."""

    async def alone(entry: Entry) -> dict[str, Any]:
        if operate is not None and entry.operation is not None:
            return await operate(entry)

        async def work(tx: Transaction) -> dict[str, Any]:
            return await perform(tx, entry, base_url=base_url, prefer=prefer)

        return await database.run(subject, work, request_id=request_id)

    entries = [await _answer(alone, index, value) for index, value in enumerate(raw_entries(bundle))]
    response: dict[str, Any] = {"resourceType": "Bundle", "type": "batch-response"}
    return {**response, "entry": entries} if entries else response


async def _answer(alone: _Alone, index: int, value: Any) -> dict[str, Any]:
    try:
        entry = parse_entry(index, value)
        with located(entry):
            return await alone(entry)
    except FhirError as error:
        return answers.refused(error)
    except Exception as error:  # noqa: BLE001 - the entries before it are committed: their answers must reach the client
        _log.error("batch entry %d failed: %s", index, type(error).__name__)
        return answers.refused(FhirError("The server failed on this entry; it changed nothing."))
