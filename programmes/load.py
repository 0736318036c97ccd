"""Load a programme's resources into the server: PUT under their own ids, so loading twice writes nothing new.

https://hl7.org/fhir/R4/http.html#upsert
"""

from importlib import resources
from typing import Any

from fhir_server.kernel import json
from fhir_server.kernel.subject import Subject
from fhir_server.store.database import Transaction
from fhir_server.store.records import WriteResult
from programmes.model import InvalidProgramme, Programme

LOADER = Subject.system(
    "programmes",
    "system/Organization.crus system/HealthcareService.crus system/PlanDefinition.crus system/Questionnaire.crus "
    "system/ChargeItemDefinition.crus system/Practitioner.crus system/PractitionerRole.crus",
)
"""The narrow Subject a programme is loaded with."""

_order = (
    "Organization",
    "HealthcareService",
    "Practitioner",
    "PractitionerRole",
    "Questionnaire",
    "ChargeItemDefinition",
    "PlanDefinition",
)


def names() -> tuple[str, ...]:
    """Return the programmes that come with the house."""
    folders = resources.files("programmes").iterdir()
    return tuple(sorted(item.name for item in folders if item.is_dir() and (item / "plan-definition.json").is_file()))


def definition(name: str) -> tuple[dict[str, Any], ...]:
    """Return the resources of a programme, referenced ones first. Raises InvalidProgramme when it does not add up."""
    if name not in names():
        raise InvalidProgramme(f"There is no programme '{name}'. Known: {', '.join(names())}.")
    found: list[dict[str, Any]] = []
    for file in (resources.files("programmes") / name).iterdir():
        if file.name.endswith(".json"):
            content = json.decode_resource(file.read_bytes())
            entries = content.get("entry", ()) if content["resourceType"] == "Bundle" else ({"resource": content},)
            found.extend(entry["resource"] for entry in entries)
    unknown = {item["resourceType"] for item in found} - set(_order)
    if unknown:
        raise InvalidProgramme(
            f"Programme '{name}' holds {', '.join(sorted(unknown))}, which the loader may not write."
        )
    for item in found:
        if item["resourceType"] == "PlanDefinition":
            Programme.from_plan(item)
    return tuple(sorted(found, key=lambda item: (_order.index(item["resourceType"]), item["id"])))


async def load(tx: Transaction, name: str) -> tuple[WriteResult, ...]:
    """Write the programme's resources in the caller's transaction; what is unchanged gets no new version."""
    return tuple([await tx.writer.update(resource) for resource in definition(name)])
