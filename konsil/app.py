"""The composition root: which parts a running Konsil has, built one after the other in plain sight.

The layout is that of docs/decisions; the HTTP addresses are those of https://hl7.org/fhir/R4/http.html#root.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from adapters.dicomweb.blobs import Blobs
from adapters.dicomweb.routes import build_router as build_dicomweb
from adapters.hl7v2.delivery import Delivery
from adapters.hl7v2.drop import Drop
from adapters.hl7v2.metrics import MessageMetrics
from adapters.hl7v2.receive import Intake
from adapters.hl7v2.routes import Service
from adapters.hl7v2.routes import build_routes as build_hl7v2
from adapters.hl7v2.server import Limits, MllpServer
from adapters.hl7v2.sites import InvalidSite, Sites, load_sites
from adapters.hl7v2.tls import server_context
from cases.guard import GUARDS
from cases.react import CONDITIONS, REACTIONS
from cases.signature import Signer
from fhir_server.auth.tokens import authenticate
from fhir_server.jobs.app import Jobs
from fhir_server.kernel.subject import Subject
from fhir_server.rest.app import LOCAL_HOSTS, build_app
from fhir_server.store.database import Database
from fhir_server.store.wiring import Wiring
from konsil.archives import load_archives
from konsil.jobs import Parts, register
from konsil.settings import Settings
from programmes.load import load
from smart_app.routes import build_routes as build_web_app
from smart_app.routes import in_process

_log = logging.getLogger("konsil")
_mib = 1024 * 1024
_a_day_s = 24 * 3600  # no pull takes longer; what is staged since then was left by a crash
_loader = Subject.system(
    "programmes",
    "system/Organization.ru system/HealthcareService.ru system/PlanDefinition.ru system/Questionnaire.ru "
    "system/ChargeItemDefinition.ru system/Practitioner.ru system/PractitionerRole.ru system/Endpoint.ru",
)


@dataclass(frozen=True, slots=True)
class Konsil:
    """A built Konsil: ``http`` is the application to serve, ``mllp`` the server to start."""

    settings: Settings
    database: Database
    http: FastAPI
    mllp: MllpServer


@asynccontextmanager
async def built(settings: Settings, conninfo: str) -> AsyncIterator[Konsil]:
    """Build every part on the database at ``conninfo``, start what runs in the background, take it down in reverse."""
    async with AsyncExitStack() as stack:
        jobs = Jobs(conninfo)
        database = await open_database(stack, settings, conninfo, build_wiring(jobs))
        parts = build_parts(settings, database)
        register(jobs, parts)
        await load_programmes(database, settings.programmes)
        metrics = MessageMetrics()
        intake = Intake(database, parts.sites, enqueue=jobs.enqueue, metrics=metrics)
        who = partial(authenticate, database)
        messages = Service(database, who, parts.sites, intake, settings.mllp_port, jobs.enqueue)
        http = build_http(stack, settings, parts, messages, metrics)
        mllp = build_mllp(settings, parts, intake)
        if settings.worker:
            delivery = Delivery(database, conninfo, parts.sites.destinations, enqueue=jobs.enqueue, metrics=metrics)
            run_in_background(stack, jobs, delivery, build_drops(parts.sites, intake), settings.worker_concurrency)
        yield Konsil(settings, database, http, mllp)


def build_wiring(jobs: Jobs) -> Wiring:
    """Return the guards that may refuse a write and the jobs that follow one."""
    return Wiring(guards=GUARDS, reactions=REACTIONS, enqueue=jobs.enqueue, conditions=CONDITIONS)


async def open_database(stack: AsyncExitStack, settings: Settings, conninfo: str, wiring: Wiring) -> Database:
    """Return the open database; ``stack`` closes it."""
    database = await Database.open(conninfo, wiring=wiring, max_connections=settings.database_connections)
    stack.push_async_callback(database.close)
    return database


def build_parts(settings: Settings, database: Database) -> Parts:
    """Return what jobs and adapters share: sites, archives, blobs, the key that signs reports."""
    blobs = Blobs.open(settings.blobs_url or settings.data_dir / "blobs")
    blobs.sweep(_a_day_s, time.time())
    return Parts(
        database=database,
        sites=load_checked_sites(settings),
        archives=load_archives(settings.sites_dir),
        blobs=blobs,
        signer=Signer.open(settings.data_dir / "keys"),
        fhir_url=settings.fhir_url,
        dicomweb_url=settings.dicomweb_url,
    )


async def load_programmes(database: Database, names: Sequence[str]) -> None:
    """Write the programmes' resources; what is unchanged gets no new version."""
    for name in names:
        async with database.transaction(_loader) as tx:
            await load(tx, name)


def build_http(
    stack: AsyncExitStack, settings: Settings, parts: Parts, messages: Service, metrics: MessageMetrics
) -> FastAPI:
    """Return the HTTP application: FHIR, DICOMweb, HL7 v2, the web app, health, metrics and the published keys."""
    app = build_app(
        parts.database,
        base_url=settings.fhir_url,
        allowed_hosts=_hosts(settings),
        body_limit_bytes=settings.body_limit_mib * _mib,
        checks={"database": parts.database.is_reachable},
        measures=[partial(metrics.render, parts.database)],
    )
    who = partial(authenticate, parts.database)
    app.router.routes.append(
        Mount("/dicomweb", build_dicomweb(parts.database, who, parts.blobs, base_url=settings.dicomweb_url))
    )
    app.router.routes.extend(build_hl7v2(messages))
    client = in_process(app, settings.root_url)
    stack.push_async_callback(client.aclose)
    app.router.routes.extend(build_web_app(client, secure=settings.root_url.startswith("https://")))
    app.router.routes.append(Route("/.well-known/jwks.json", partial(_published_keys, parts.signer), methods=["GET"]))
    return app


def build_drops(sites: Sites, intake: Intake) -> list[Drop]:
    """Return what takes messages from the folders of the sites that have one."""
    return [
        Drop(intake, site.name, Path(drop.folder), limit_bytes=site.frame_limit_bytes, interval_s=drop.interval_s)
        for site in sites.by_name.values()
        if (drop := site.drop)
    ]


def build_mllp(settings: Settings, parts: Parts, intake: Intake) -> MllpServer:
    """Return the MLLP server, not yet listening."""
    return MllpServer(
        intake,
        settings.mllp_host,
        settings.mllp_port,
        site_ports=parts.sites.ports,
        limits=Limits(frame_bytes=parts.sites.frame_limit_bytes),
        tls=mllp_security(settings),
        allow_plain=settings.allow_plain_mllp,
    )


def mllp_security(settings: Settings) -> ssl.SSLContext | None:
    """Return how MLLP connections are secured, None when they are plain. Raises InvalidCertificate."""
    certificate, key = settings.mllp_tls_certificate, settings.mllp_tls_key
    return server_context(certificate, key, settings.mllp_tls_client_ca) if certificate and key else None


def load_checked_sites(settings: Settings) -> Sites:
    """Return the sites. Raises InvalidSite for what contradicts the settings or would be unsafe."""
    sites = load_sites(settings.sites_dir)
    wrong = sites.problems(
        client_certificates=settings.mllp_tls_client_ca is not None, allow_plain=settings.allow_plain_mllp
    )
    if wrong:
        raise InvalidSite("\n".join(wrong))
    return sites


def run_in_background(
    stack: AsyncExitStack, jobs: Jobs, delivery: Delivery, drops: Sequence[Drop], concurrency: int
) -> None:
    """Run jobs and deliveries and take files until the stack closes; one that ends by itself is started again."""
    background: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        ("jobs", partial(jobs.run_worker, concurrency=concurrency)),
        ("delivery", delivery.run),
        *(("files", drop.run) for drop in drops),
    ]
    for name, work in background:
        task = asyncio.create_task(_kept_running(name, work), name=name)
        stack.push_async_callback(_cancelled, task)


async def _kept_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever ended it (PostgreSQL restarted), it must run again
            _log.warning("%s stopped (%s); it starts again in a second", name, type(error).__name__)
        await asyncio.sleep(1)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _published_keys(signer: Signer, _: Request) -> Response:
    """The public key that report signatures verify with (RFC 7517)."""
    return JSONResponse(signer.jwks(), headers={"Cache-Control": "public, max-age=3600"})


def _hosts(settings: Settings) -> tuple[str, ...]:
    """Return the host names to answer to: loopback, what clients call the server, and what the operator added."""
    named = urlsplit(settings.root_url).hostname or ""
    return tuple(dict.fromkeys((*LOCAL_HOSTS, named, *settings.trusted_hosts)))
