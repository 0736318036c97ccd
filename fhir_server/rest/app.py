"""The HTTP application: FHIR at /fhir, health and metrics beside it, host allow-list and gzip around all.

https://hl7.org/fhir/R4/http.html#root
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from fhir_server.auth.tokens import authenticate
from fhir_server.kernel.errors import FhirError, MethodNotAllowed, NotFound
from fhir_server.rest import errors
from fhir_server.rest.edge import DEFAULT_BODY_LIMIT_BYTES
from fhir_server.rest.health import Check, Measure, build_health_routes
from fhir_server.rest.metrics import Metrics
from fhir_server.rest.routes import build_router
from fhir_server.store.database import Database

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def build_app(
    database: Database,
    *,
    base_url: str,
    allowed_hosts: Sequence[str] = LOCAL_HOSTS,
    body_limit_bytes: int = DEFAULT_BODY_LIMIT_BYTES,
    fhir_routes: Sequence[BaseRoute] = (),
    checks: Mapping[str, Check] | None = None,
    measures: Sequence[Measure] = (),
    **fastapi_options: Any,
) -> FastAPI:
    """Return the application. ``base_url`` is where clients find /fhir; ``fhir_routes`` are operations under it.

    ``checks`` decide about /health/ready, ``measures`` add to /metrics.
    """
    metrics = Metrics()
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, **fastapi_options)
    app.add_middleware(GZipMiddleware, minimum_size=1024, compresslevel=5)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(allowed_hosts), www_redirect=False)
    app.add_exception_handler(HTTPException, _render_http)
    app.add_exception_handler(FhirError, _render_fhir)
    fhir = build_router(
        database,
        partial(authenticate, database),
        base_url,
        more=fhir_routes,
        body_limit_bytes=body_limit_bytes,
        metrics=metrics,
    )
    app.router.routes.extend(fhir.routes)
    app.router.routes.extend(build_health_routes(checks or {}, metrics, measures))
    return app


async def _render_fhir(_: Request, error: Exception) -> Response:
    if not isinstance(error, FhirError):
        raise error
    return errors.render(error)


async def _render_http(_: Request, error: Exception) -> Response:
    """A route that does not exist, or not with this method: said as OperationOutcome as well."""
    if not isinstance(error, HTTPException):
        raise error
    kinds: dict[int, type[FhirError]] = {404: NotFound, 405: MethodNotAllowed}
    if error.status_code not in kinds:
        return Response(status_code=error.status_code, headers=error.headers)
    response = errors.render(kinds[error.status_code]("There is nothing at this address."))
    response.headers.update(error.headers or {})
    return response
