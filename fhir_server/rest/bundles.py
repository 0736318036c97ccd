"""Bundles posted to the base.

https://hl7.org/fhir/R4/http.html#transaction
"""

from functools import partial
from typing import Any

from starlette.responses import Response

from fhir_server.interactions import batch, transaction
from fhir_server.kernel.errors import InvalidRequest
from fhir_server.rest import handlers, responses
from fhir_server.rest.bundle_audit import audit_rows
from fhir_server.rest.edge import Call
from fhir_server.rest.operations import operate
from fhir_server.store.database import Transaction


async def handle_bundle(call: Call) -> Response:
    """POST to the base: a transaction, or a batch, whose entries may call operations."""
    bundle = call.resource()
    kind = bundle.get("type") if bundle["resourceType"] == "Bundle" else None
    returns = call.preference.returns if call.header("prefer") else "minimal"
    if kind == "batch":
        answer = await batch.apply(
            call.database,
            call.subject,
            bundle,
            base_url=call.base_url,
            prefer=returns,
            request_id=call.id,
            operate=partial(operate, call),
        )
    elif kind == "transaction":

        async def work(tx: Transaction) -> dict[str, Any]:
            # Decoded anew: a second attempt must not start from what the first one rewrote.
            fresh = call.resource()
            return await transaction.apply(tx, fresh, base_url=call.base_url, prefer=returns)

        answer = await handlers.write(call, work)
    else:
        raise InvalidRequest("The FHIR base takes a Bundle of type transaction or batch.", expression="Bundle.type")
    rows = tuple(audit_rows(call.subject, call.id, bundle, answer))
    if rows:
        await call.database.audit.record(*rows)
    return responses.bundle(answer)
