"""What every page needs: the session behind the cookie, the API client for it, and templates that escape.

https://developer.mozilla.org/en-US/docs/Web/HTTP/Headers/Set-Cookie
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import httpx
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from smart_app.fhir_client import FhirClient, NotSignedIn
from smart_app.session import Sessions

FOLDER = Path(__file__).parent
_templates = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True)
class Edge:
    """The app's parts. ``secure`` is whether browsers reach it over https: then the cookie is a ``__Host-`` one."""

    http: httpx.AsyncClient
    sessions: Sessions
    secure: bool
    zone: ZoneInfo
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def cookie(self) -> str:
        """The name of the session cookie."""
        return "__Host-konsil" if self.secure else "konsil"

    def client(self, request: Request) -> FhirClient:
        """Return the API client of the signed-in user. Raises NotSignedIn."""
        token = self.sessions.token(request.cookies.get(self.cookie, ""))
        if token is None:
            raise NotSignedIn(httpx.codes.UNAUTHORIZED)
        return FhirClient(self.http, token)

    def set_cookie(self, response: Response, name: str) -> None:
        """Give the browser its session; it goes when the browser closes, and never to another site."""
        response.set_cookie(self.cookie, name, path="/", secure=self.secure, httponly=True, samesite="strict")

    def drop_cookie(self, response: Response) -> None:
        """Take the session from the browser."""
        response.delete_cookie(self.cookie, path="/", secure=self.secure, httponly=True, samesite="strict")


def render(template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
    """Return the page made of ``template``; every value is escaped."""
    return HTMLResponse(_templates.get_template(template).render(**values), status_code=status_code)


def to_login(request: Request) -> RedirectResponse:
    """Return the way to the login page and back to where the user was going."""
    return RedirectResponse(f"/app/login?{urlencode({'next': request.url.path})}", status_code=303)


def safe_next(path: str) -> str:
    """Return ``path`` if it is a page of this app, else the list of cases: never a way out to another site."""
    plain = path.startswith("/app/") and not set(path) & set("\\\r\n\t") and "//" not in path
    return path if plain else "/app/"
