"""Health and metrics for whoever runs the server. Liveness never asks a dependency; readiness asks all of them.

https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fhir_server.rest.metrics import Metrics

Check = Callable[[], Awaitable[bool]]
Measure = Callable[[], Awaitable[str]]
"""Further metrics, as text that Prometheus reads."""


def build_health_routes(checks: Mapping[str, Check], metrics: Metrics, measures: Sequence[Measure] = ()) -> list[Route]:
    """Return /health/live, /health/ready (503 unless every check says yes) and /metrics."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        found = {name: await check() for name, check in checks.items()}
        well = all(found.values())
        return JSONResponse({"status": "ready" if well else "not ready", "checks": found}, 200 if well else 503)

    async def scrape(_: Request) -> Response:
        text = metrics.render() + "".join([await measure() for measure in measures])
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", scrape)]
