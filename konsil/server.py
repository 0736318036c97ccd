"""Serving: the database server, the migrations, then HTTP and everything else on one event loop until SIGTERM.

https://www.uvicorn.org/deployment/#running-programmatically
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from konsil.settings import Settings

_log = logging.getLogger("konsil")
_backlog = 2048
_grace_s = 25  # systemd's and Docker's patience ends at 30 s


class _Server(uvicorn.Server):
    """Uvicorn without its signal handlers: they belong to the process, which has more to stop than HTTP."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def database_server(settings: Settings) -> Iterator[str]:
    """Yield the conninfo of a migrated database: the operator's, or the embedded one, started or shared."""
    from fhir_server.store.migrate import upgrade  # noqa: PLC0415 - `konsil --help` needs no database driver

    if settings.database_url is not None:
        conninfo = settings.database_url.get_secret_value()
        upgrade(conninfo)
        yield conninfo
        return
    from fhir_server.store import embedded  # noqa: PLC0415 - as above

    with contextlib.ExitStack() as stack:
        with _sigterm_waits():
            server = embedded.start(settings.data_dir)
            stack.callback(server.stop)
        upgrade(server.conninfo)
        yield server.conninfo


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then let requests in hand finish. Raises OSError when a port is taken."""
    import uvloop  # noqa: PLC0415 - only this command runs an event loop for long

    listener = socket.create_server((settings.host, settings.port), backlog=_backlog, family=_family(settings.host))
    with contextlib.closing(listener), database_server(settings) as conninfo:
        port = listener.getsockname()[1]
        uvloop.run(_serve(settings.model_copy(update={"port": port}), conninfo, listener))
    _log.info("stopped")


def work(settings: Settings) -> None:
    """Run jobs and deliveries until SIGTERM or SIGINT."""
    import uvloop  # noqa: PLC0415 - as above

    with database_server(settings) as conninfo:
        uvloop.run(_work(settings.model_copy(update={"worker": True}), conninfo))
    _log.info("stopped")


async def _work(settings: Settings, conninfo: str) -> None:
    from konsil.app import built  # noqa: PLC0415 - as below

    async with built(settings, conninfo):
        stop = asyncio.Event()
        _on_signals(stop.set)
        _log.info("jobs run here")
        await stop.wait()


async def _serve(settings: Settings, conninfo: str, listener: socket.socket) -> None:
    from konsil.app import built  # noqa: PLC0415 - loaded while PostgreSQL is up already

    async with built(settings, conninfo) as konsil:
        config = uvicorn.Config(
            konsil.http,
            http="httptools",
            lifespan="off",
            log_config=None,
            access_log=False,  # URLs of searches hold patient data
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_grace_s,
        )
        server = _Server(config)
        _on_signals(lambda: setattr(server, "should_exit", True))
        await konsil.mllp.start()
        _log.info("FHIR at %s", settings.fhir_url)
        try:
            await server.serve(sockets=[listener])
        finally:
            await konsil.mllp.stop()


@contextlib.contextmanager
def _sigterm_waits() -> Iterator[None]:
    """Hold SIGTERM back inside the block; from its end on, until an event loop has its own handlers, it unwinds."""
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    yield
    signal.signal(signal.SIGTERM, _end)
    if received:
        raise SystemExit(0)


def _end(*_: object) -> None:
    raise SystemExit(0)


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
