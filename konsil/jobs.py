"""Which jobs there are and what does them: the one table of all background work."""

from collections.abc import Mapping
from dataclasses import dataclass

from adapters.dicomweb.blobs import Blobs
from adapters.dicomweb.client import Pacs
from adapters.dicomweb.pull import DISCOVER, Imaging
from adapters.hl7v2 import report_delivery
from adapters.hl7v2.lanes import Lanes
from adapters.hl7v2.receive import PROCESS
from adapters.hl7v2.report_delivery import ReportDelivery
from adapters.hl7v2.sites import Sites
from cases import delivery, react
from cases.apply import DISCOVER_IMAGES
from cases.delivery import Deliveries
from cases.react import Reactor
from cases.signature import Signer
from fhir_server.jobs.app import Jobs
from fhir_server.jobs.retry import Backoff
from fhir_server.kernel.subject import Subject
from fhir_server.store.database import Database

_scheduler = Subject.system("scheduler", "")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the jobs work with. ``fhir_url`` and ``dicomweb_url`` are the public addresses."""

    database: Database
    sites: Sites
    archives: Mapping[str, Pacs]
    blobs: Blobs
    signer: Signer
    fhir_url: str
    dicomweb_url: str


def register(jobs: Jobs, parts: Parts) -> None:
    """Give every job its work."""
    _register_cases(jobs, parts)
    _register_imaging(jobs, parts)
    jobs.register(PROCESS, Lanes(parts.database, parts.sites).process)
    jobs.register(report_delivery.JOB, ReportDelivery(parts.database, parts.sites).deliver)


def _register_cases(jobs: Jobs, parts: Parts) -> None:
    reactor = Reactor(parts.database, jobs.enqueue, parts.signer, parts.fhir_url)
    deliveries = Deliveries(parts.database)
    jobs.register(react.JOB, reactor.react, Backoff(first_s=0.2, longest_s=60))
    jobs.register(delivery.DONE, deliveries.done)
    jobs.register(delivery.FAILED, deliveries.failed)


def _register_imaging(jobs: Jobs, parts: Parts) -> None:
    Imaging(parts.database, parts.blobs, parts.archives, parts.dicomweb_url, jobs).register()

    async def request(patient: str) -> None:
        """Ask every archive in a job of its own, so that one that is down holds up none."""
        async with parts.database.transaction(_scheduler) as tx:
            for site in parts.archives:
                arguments = {"patient": patient, "site": site}
                await jobs.enqueue(tx.connection, DISCOVER, arguments, f"{site}:{patient}")

    jobs.register(DISCOVER_IMAGES, request)
