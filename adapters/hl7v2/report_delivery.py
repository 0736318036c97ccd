"""The job ``hl7v2.deliver``: a signed report becomes ORU^R01 and MDM^T02 in the queue of the hospital that asked.

HL7 v2.9 §7.3.1 and §9.6.2. Control ids derive from report version and recipient, so that the job run twice queues once.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from adapters.hl7v2.delivery import enqueue_outbound
from adapters.hl7v2.outbound import Envelope, Report, mdm_t02, oru_r01
from adapters.hl7v2.sites import Destination, Site, Sites
from fhir_server.kernel.errors import Unprocessable
from fhir_server.kernel.json import decode_resource
from fhir_server.kernel.subject import Subject
from fhir_server.store.database import Database, Transaction

JOB: Final = "hl7v2.deliver"
DESTINATION: Final = "report"
SUBJECT: Final = Subject.system(
    "hl7v2-delivery",
    "system/DiagnosticReport.r system/Patient.r system/ServiceRequest.r system/Practitioner.r "
    "system/PractitionerRole.r system/Encounter.r system/Binary.r system/Task.r",
)
_application, _facility = "KONSIL", "HARBOR"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ReportDelivery:
    """Queues reports. ``clock`` is the moment that goes into MSH-7."""

    database: Database
    sites: Sites
    clock: Callable[[], datetime] = _now

    async def deliver(self, report: str, recipient: str, task: str) -> None:
        """Queue ``report`` (``DiagnosticReport/id``) for the site of its order; ``task`` is the delivery's reference.

        Raises Unprocessable when no configured site asked for it: a person must look at the configuration.
        """
        async with self.database.transaction(SUBJECT) as tx:
            content, version = await self._content(tx, report, recipient)
            site, destination = self._destination(content)
            for name, write in (("O", oru_r01), ("M", mdm_t02)):
                control_id = _control_id(name, report, version, task)
                envelope = Envelope(
                    control_id,
                    self.clock().astimezone(site.zone),
                    _application,
                    _facility,
                    destination.application,
                    destination.facility,
                )
                raw = write(content, envelope, site.mapping)
                await enqueue_outbound(tx, destination.name, control_id, raw, task)

    async def _content(self, tx: Transaction, report: str, recipient: str) -> tuple[Report, int]:
        stored = await tx.reader.read(*_parts(report))
        resource = stored.resource()
        order = await _read(tx, resource["basedOn"][0]["reference"])
        form = next(form for form in resource["presentedForm"] if form["contentType"] == "application/pdf")
        return Report(
            report=resource,
            patient=await _read(tx, resource["subject"]["reference"]),
            order=order,
            text=str(resource.get("conclusion", "")),
            pdf=await _binary(tx, form),
            requester=await _person(tx, recipient or order.get("requester", {}).get("reference", "")),
            author=await _person(tx, resource.get("resultsInterpreter", [{}])[0].get("reference", "")),
            document_number=next(iter(resource.get("identifier", ())), None),
        ), stored.version

    def _destination(self, content: Report) -> tuple[Site, Destination]:
        """The site that knows the order's placer number, else the patient's number."""
        numbers = (*content.order.get("identifier", ()), *content.patient.get("identifier", ()))
        systems = [item.get("system") for item in numbers]
        for system in systems:
            for site in self.sites.by_name.values():
                known = {value for authority in site.mapping.authorities.values() for value in authority.values()}
                if system in known and DESTINATION in site.destinations:
                    return site, site.destinations[DESTINATION]
        raise Unprocessable("No site with a destination 'report' knows the numbers of this order or patient.")


async def _read(tx: Transaction, reference: str) -> dict[str, Any]:
    return (await tx.reader.read(*_parts(reference))).resource()


async def _person(tx: Transaction, reference: str) -> dict[str, Any] | None:
    """Return the Practitioner of a reference, through its role when it names one."""
    if not reference.startswith(("Practitioner/", "PractitionerRole/")):
        return None
    found = await _read(tx, reference)
    if found["resourceType"] == "PractitionerRole":
        return await _person(tx, found.get("practitioner", {}).get("reference", ""))
    return found


async def _binary(tx: Transaction, form: dict[str, Any]) -> bytes:

    if "data" in form:
        return base64.b64decode(form["data"])
    stored = await tx.reader.read(*_parts(form["url"]))
    return base64.b64decode(decode_resource(stored.body)["data"])


def _parts(reference: str) -> tuple[str, str]:
    kind, _, id = reference.partition("/_history/")[0].rpartition("/")
    return kind.rpartition("/")[2], id


def _control_id(kind: str, report: str, version: int, task: str) -> str:
    """Return MSH-10, at most 20 characters, the same for the same report, version and recipient."""
    digest = hashlib.sha256(f"{kind} {report} {version} {task}".encode()).hexdigest()
    return f"H{kind}{digest[:16].upper()}"
