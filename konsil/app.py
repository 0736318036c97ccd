"""The composition root: which parts a running Konsil has, built one after the other in plain sight.

The layout is that of docs/decisions; the HTTP addresses are those of https://hl7.org/fhir/R4/http.html#root.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import FastAPI

from fhir_server.rest.app import LOCAL_HOSTS, build_app
from fhir_server.store.database import Database
from fhir_server.store.wiring import Wiring
from konsil.settings import Settings

_mib = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Konsil:
    """A built Konsil: ``http`` is the application to serve."""

    settings: Settings
    database: Database
    http: FastAPI


@asynccontextmanager
async def built(settings: Settings, conninfo: str) -> AsyncIterator[Konsil]:
    """Build every part on the database at ``conninfo``, and take it down again in reverse order."""
    async with AsyncExitStack() as stack:
        wiring = build_wiring()
        database = await open_database(stack, settings, conninfo, wiring)
        http = build_http(settings, database)
        yield Konsil(settings, database, http)


def build_wiring() -> Wiring:
    """Return the guards that may refuse a write and the jobs that follow one."""
    return Wiring()


async def open_database(stack: AsyncExitStack, settings: Settings, conninfo: str, wiring: Wiring) -> Database:
    """Return the open database; ``stack`` closes it."""
    database = await Database.open(conninfo, wiring=wiring, max_connections=settings.database_connections)
    stack.push_async_callback(database.close)
    return database


def build_http(settings: Settings, database: Database) -> FastAPI:
    """Return the HTTP application: FHIR, health and metrics."""
    return build_app(
        database,
        base_url=settings.fhir_url,
        allowed_hosts=_hosts(settings),
        body_limit_bytes=settings.body_limit_mib * _mib,
        checks={"database": database.is_reachable},
    )


def _hosts(settings: Settings) -> tuple[str, ...]:
    """Return the host names to answer to: loopback, what clients call the server, and what the operator added."""
    named = urlsplit(settings.root_url).hostname or ""
    return tuple(dict.fromkeys((*LOCAL_HOSTS, named, *settings.trusted_hosts)))
