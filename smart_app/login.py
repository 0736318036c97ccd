"""Signing in: a token typed once, or a one-time link; afterwards the browser holds only a session cookie.

https://datatracker.ietf.org/doc/html/draft-ietf-oauth-browser-based-apps
"""

from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from smart_app.edge import Edge, render, safe_next
from smart_app.fhir_client import ApiRefused, FhirClient, NotSignedIn


@dataclass(frozen=True, slots=True)
class Login:
    """The pages that open and close sessions."""

    edge: Edge

    async def show(self, request: Request) -> Response:
        """GET: the form, or the session behind a one-time code."""
        destination = safe_next(request.query_params.get("next", ""))
        code = request.query_params.get("code")
        if code is None:
            return _form(destination)
        token = self.edge.sessions.redeem(code)
        if token is None:
            return _form(destination, "This link was used already or is too old. Sign in with a token.", 410)
        return self._open(token, destination, cross_site=request.headers.get("sec-fetch-site") == "cross-site")

    async def submit(self, request: Request) -> Response:
        """POST of the form."""
        if not is_own_form(request):
            return _form("/app/", "The form was sent from another site. Sign in here.", 403)
        form = await request.form()
        token, destination = str(form.get("token", "")).strip(), safe_next(str(form.get("next", "")))
        if not await _is_valid(self.edge, token):
            return _form(destination, "The token is not valid, or no longer.", 401)
        return self._open(token, destination)

    async def link(self, request: Request) -> Response:
        """POST with a bearer token: answers a one-time link to ``next`` as JSON, for a person's browser."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not await _is_valid(self.edge, token.strip()):
            return JSONResponse({"error": "invalid_token"}, 401, {"WWW-Authenticate": "Bearer"})
        destination = safe_next(request.query_params.get("next", ""))
        query = urlencode({"code": self.edge.sessions.link(token.strip()), "next": destination})
        root = f"{request.url.scheme}://{request.url.netloc}"
        return JSONResponse({"url": f"{root}/app/login?{query}"}, 201)

    async def leave(self, request: Request) -> Response:
        """POST: end the session."""
        response = RedirectResponse("/app/login", status_code=303)
        if is_own_form(request):
            self.edge.sessions.close(request.cookies.get(self.edge.cookie, ""))
            self.edge.drop_cookie(response)
        return response

    def _open(self, token: str, destination: str, *, cross_site: bool = False) -> Response:
        """Open the session. A browser that came from another site would not send a new strict cookie on a redirect."""
        page = render("continue.html", destination=destination) if cross_site else RedirectResponse(destination, 303)
        self.edge.set_cookie(page, self.edge.sessions.open(token))
        return page


def build_login_routes(edge: Edge) -> list[Route]:
    """Return the routes below /app that open and close sessions."""
    login = Login(edge)
    return [
        Route("/login", login.show, methods=["GET"]),
        Route("/login", login.submit, methods=["POST"]),
        Route("/login/link", login.link, methods=["POST"]),
        Route("/logout", login.leave, methods=["POST"]),
    ]


def _form(destination: str, error: str = "", status: int = 200) -> Response:
    return render("login.html", status, destination=destination, error=error)


async def _is_valid(edge: Edge, token: str) -> bool:
    """Ask the API: a token it does not know is a 401; one without the scope for this search is still a token."""
    if not token or not token.isascii() or any(letter.isspace() for letter in token):
        return False
    try:
        await FhirClient(edge.http, token).get("/fhir/Task", accept="application/fhir+json", params=[("_count", "1")])
    except NotSignedIn:
        return False
    except ApiRefused as refused:
        if refused.status == 403:  # noqa: PLR2004 - Forbidden
            return True
        raise
    return True


def is_own_form(request: Request) -> bool:
    """Tell whether the browser says the form is ours; both headers are out of a page's reach."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
