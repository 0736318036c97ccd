"""Check that a stored report is what was signed: its document Bundle against the signature in its Provenance.

docs/report.md#verifying
"""

from collections.abc import Mapping
from typing import Any

from cases.signature import InvalidSignature, verify
from fhir_server.kernel.errors import InvalidRequest
from fhir_server.kernel.references import parse_reference
from fhir_server.store.database import Transaction


async def verified(tx: Transaction, report: str, jwks: Mapping[str, Any]) -> str:
    """Return the id of the key that signed the document of ``report`` (``DiagnosticReport/id``).

    Raises InvalidSignature when there is no signature or it does not hold.
    """
    parsed = parse_reference(report)
    if parsed is None or parsed.type != "DiagnosticReport":
        raise InvalidRequest(f"'{report}' is not a report: give DiagnosticReport/<id>.")
    for stored in await tx.reader.find("Provenance", target=report):
        provenance = stored.resource()
        document = next((found for item in provenance["target"] if (found := _bundle_id(item))), None)
        if provenance.get("signature") and document:
            return verify((await tx.reader.read("Bundle", document)).resource(), provenance, jwks)
    raise InvalidSignature("The report has no signed document.", expression="Provenance.signature")


def _bundle_id(target: Mapping[str, Any]) -> str | None:
    kind, _, id = str(target.get("reference", "")).partition("/_history/")[0].partition("/")
    return id if kind == "Bundle" else None
