"""The route table of the FHIR API.

https://hl7.org/fhir/R4/http.html#summary
"""

from collections.abc import Sequence

from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router

from fhir_server.interactions.capabilities import capability_statement
from fhir_server.kernel import json
from fhir_server.operations import offered
from fhir_server.rest import binary, bundles, handlers
from fhir_server.rest.edge import DEFAULT_BODY_LIMIT_BYTES, Authenticate, Call, Edge, Endpoint, Handler
from fhir_server.rest.metrics import Metrics
from fhir_server.rest.negotiation import CONTENT_TYPE
from fhir_server.rest.operations import operation_routes
from fhir_server.store.database import Database

_table: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "", "search-system", handlers.handle_search),
    ("GET", "/", "search-system", handlers.handle_search),
    ("POST", "/_search", "search-system", handlers.handle_search),
    ("GET", "/_history", "history-system", handlers.handle_history),
    ("GET", "/{type}/_history", "history-type", handlers.handle_history),
    ("GET", "/{type}/{id}", "read", handlers.handle_read),
    ("GET", "/{type}", "search-type", handlers.handle_search),
    ("POST", "/{type}/_search", "search-type", handlers.handle_search),
    ("POST", "/{type}", "create", handlers.handle_create),
    ("PUT", "/{type}/{id}", "update", handlers.handle_update),
    ("PATCH", "/{type}/{id}", "patch", handlers.handle_patch),
    ("DELETE", "/{type}/{id}", "delete", handlers.handle_delete),
    ("GET", "/{type}/{id}/_history", "history-instance", handlers.handle_history),
    ("GET", "/{type}/{id}/_history/{version}", "vread", handlers.handle_vread),
    ("GET", "/{type}/{id}/{inner}", "search-compartment", handlers.handle_search),
    ("POST", "/", "transaction", bundles.handle_bundle),
    ("POST", "", "transaction", bundles.handle_bundle),
    ("PUT", "/{type}", "update", handlers.handle_update),
    ("PATCH", "/{type}", "patch", handlers.handle_patch),
    ("DELETE", "/{type}", "delete", handlers.handle_delete),
)
_binary: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/Binary/_history", "history-type", handlers.handle_history),
    ("GET", "/Binary/{id}", "read", binary.handle_read_binary),
    ("POST", "/Binary", "create", binary.handle_create_binary),
    ("PUT", "/Binary/{id}", "update", binary.handle_update_binary),
    ("GET", "/Binary/{id}/_history/{version}", "vread", binary.handle_vread_binary),
)
_all_methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def build_router(
    database: Database,
    authenticate: Authenticate,
    base_url: str,
    *,
    prefix: str = "/fhir",
    more: Sequence[BaseRoute] = (),
    body_limit_bytes: int = DEFAULT_BODY_LIMIT_BYTES,
    metrics: Metrics | None = None,
) -> Router:
    """Return the FHIR API below ``prefix``, which is where ``base_url`` leads.

    ``more`` are routes that go before the table, with their full paths.
    """
    edge = Edge(database, authenticate, base_url.rstrip("/"), body_limit_bytes, metrics or Metrics())
    metadata = Endpoint(edge, "capabilities", _metadata_handler(edge.base_url), open=True)
    unknown = Endpoint(edge, "unknown", handlers.handle_unknown)
    routes: list[BaseRoute] = [*more, Route(f"{prefix}/metadata", metadata, methods=["GET"])]
    routes += operation_routes(edge, prefix)
    for method, path, interaction, handler in _binary:
        endpoint = Endpoint(edge, interaction, handler, content_of="Binary")
        routes.append(Route(prefix + path, endpoint, methods=[method]))
    for method, path, interaction, handler in _table:
        routes.append(Route(prefix + path, Endpoint(edge, interaction, handler), methods=[method]))
    routes += [Route(prefix + path, unknown, methods=_all_methods) for path in ("", "/{path:path}")]
    return Router(routes, redirect_slashes=False)


def _metadata_handler(base_url: str) -> Handler:
    rendered: list[bytes] = []

    async def metadata(_: Call) -> Response:
        if not rendered:
            rendered.append(json.encode(capability_statement(base_url, operations=offered)))
        return Response(rendered[0], media_type=CONTENT_TYPE)

    return metadata
