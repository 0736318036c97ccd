"""The web app's pages: the list of cases and the case page, for whoever is signed in.

docs/case-page.md
"""

from collections.abc import Awaitable, Callable
from zoneinfo import ZoneInfo

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from smart_app import case_records, case_view
from smart_app.case_list import gather_list
from smart_app.case_sources import CaseNotFound, gather_case
from smart_app.case_timeline import timeline
from smart_app.content import build_content_routes
from smart_app.edge import FOLDER, Edge, render, to_login
from smart_app.fhir_client import ApiRefused, NotSignedIn
from smart_app.login import build_login_routes
from smart_app.messages import build_message_routes
from smart_app.security_headers import SecurityHeaders
from smart_app.session import Sessions

Handler = Callable[[Request], Awaitable[Response]]


def build_routes(
    http: httpx.AsyncClient, *, secure: bool, time_zone: str = "America/New_York", sessions: Sessions | None = None
) -> list[BaseRoute]:
    """Return the app at /app, for the server's route list.

    ``http`` reaches the FHIR API and DICOMweb of the same server, its base URL being the server's root;
    ``secure`` is whether browsers come over https; ``time_zone`` is the zone dates are shown in.
    """
    edge = Edge(http=http, sessions=sessions or Sessions(), secure=secure, zone=ZoneInfo(time_zone))
    app = Starlette(
        routes=[
            Route("/", _list_page(edge), methods=["GET"]),
            Route("/cases/{id}", _case_page(edge), methods=["GET"]),
            *build_login_routes(edge),
            *build_content_routes(edge),
            *build_message_routes(edge),
            Mount("/static", StaticFiles(directory=FOLDER / "static")),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={
            NotSignedIn: _send_to_login,
            CaseNotFound: _show_not_found,
            404: _show_not_found,
            ApiRefused: _show_unavailable,
        },
    )
    return [Route("/app", _to_list, methods=["GET"]), Mount("/app", app)]


def in_process(app: Starlette, root: str) -> httpx.AsyncClient:
    """Return an HTTP client that calls ``app`` in this process; whoever asked for it closes it.

    ``root`` is the server's public address, such as ``http://127.0.0.1:8000``.
    """
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=root)


def _list_page(edge: Edge) -> Handler:
    async def list_page(request: Request) -> Response:
        lines = await gather_list(edge.client(request), edge.now(), edge.zone)
        return render("list.html", lines=lines)

    return list_page


def _case_page(edge: Edge) -> Handler:
    async def case_page(request: Request) -> Response:
        sources = await gather_case(edge.client(request), request.path_params["id"])
        case, zone = sources.case, edge.zone
        return render(
            "case.html",
            number=case_view.title(sources),
            banner=case_view.banner(sources.patient, edge.now(), zone),
            status_text=case_view.status_words(case),
            tone=case_view.status_tone(case),
            reason=case_view.reason(case),
            stations=case_view.stations(sources, zone),
            facts=case_view.facts(sources, zone),
            questions=case_view.questions(sources.responses),
            report=case_view.report(sources, zone),
            manifest=case_records.manifest(sources, zone),
            studies=case_records.studies(sources, zone),
            deliveries=case_records.deliveries(sources, zone),
            days=timeline(sources, zone),
        )

    return case_page


async def _to_list(_: Request) -> Response:
    return RedirectResponse("/app/", status_code=308)


async def _send_to_login(request: Request, _: Exception) -> Response:
    return to_login(request)


async def _show_not_found(_: Request, __: Exception) -> Response:
    return render("error.html", 404, heading="Not found", text="There is nothing here, or you may not see it.")


async def _show_unavailable(_: Request, __: Exception) -> Response:
    text = "The server could not answer just now. Nothing was lost; try again in a moment."
    return render("error.html", 503, heading="Try again in a moment", text=text)
