"""The operations pages: HL7 v2 messages with what failed and why, one message beside what it became, the outbox.

For tokens with system/MessageHeader scopes; docs/adapters/hl7v2.md#operations-pages
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from smart_app.edge import Edge, render
from smart_app.fhir_client import ApiRefused, FhirClient
from smart_app.login import is_own_form
from smart_app.wording import show_time

STATUSES = ("failed", "held", "accepted", "refused", "partial", "passed", "processed")
TONES = {
    "failed": "stopped", "refused": "stopped", "held": "waiting", "accepted": "active", "waiting": "active",
    "processed": "done", "delivered": "done",
}  # fmt: skip
_ACTIONS = {"inbox": ("replay", "hold", "pass"), "outbox": ("resend", "skip")}
_FILTERS = ("status", "site", "type", "error", "location", "patient")
_MOST_RESOURCES = 40
_API = {"inbox": "/hl7v2/messages", "outbox": "/hl7v2/outbox"}

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one app."""

    edge: Edge

    async def inbox(self, request: Request) -> Response:
        """GET: the messages that match the filters, newest first."""
        asked = {name: request.query_params.get(name, "").strip() for name in (*_FILTERS, "before")}
        given = {name: value for name, value in asked.items() if value}
        found = await _read(self.edge.client(request), _API["inbox"], given)
        older = urlencode({**given, "before": found["next"]}) if found["next"] else ""
        return render(
            "messages.html",
            found=found,
            asked=asked,
            older=older,
            statuses=STATUSES,
            tones=TONES,
            at=self._at,
            live="live" in request.query_params,
        )

    async def message(self, request: Request) -> Response:
        """GET: one message as a tree, its answer and error, and the resources it wrote."""
        client = self.edge.client(request)
        found = await _read(client, f"{_API['inbox']}/{request.path_params['id']}", {})
        names = list(dict.fromkeys(name.partition("/_history/")[0] for name in found["resources"]))
        stored = await client.read_all(names[:_MOST_RESOURCES])
        resources = [(name, _pretty(stored.get(name))) for name in names]
        said = request.query_params.get("said", "")
        return render("message.html", found=found, resources=resources, said=said, tones=TONES, at=self._at)

    async def outbox(self, request: Request) -> Response:
        """GET: what goes out, newest first."""
        status = request.query_params.get("status", "")
        found = await _read(self.edge.client(request), _API["outbox"], {"status": status} if status else {})
        return render("outbox.html", found=found, status=status, tones=TONES, at=self._at)

    async def act(self, request: Request) -> Response:
        """POST of a button: replay, hold or pass a message; resend or skip an outgoing one."""
        box = "outbox" if request.url.path.startswith("/app/outbox/") else "inbox"
        id, action = request.path_params["id"], request.path_params["action"]
        if not is_own_form(request) or action not in _ACTIONS[box]:
            return render("error.html", 403, heading="Not done", text="The button was pressed on another site.")
        client = self.edge.client(request)
        try:
            said = (await client.post(f"{_API[box]}/{id}/{action}")).json()["status"]
        except ApiRefused as refused:
            if refused.status != httpx.codes.UNPROCESSABLE_ENTITY:
                raise
            said = "unchanged"
        where = f"/app/messages/{id}?{urlencode({'said': said})}" if box == "inbox" else "/app/outbox"
        return RedirectResponse(where, status_code=303)

    def _at(self, instant: str) -> str:
        return show_time(instant, self.edge.zone)


def build_message_routes(edge: Edge) -> list[Route]:
    """Return the routes below /app for whoever looks after the interfaces."""
    pages = Pages(edge)
    return [
        Route("/messages", _for_operators(pages.inbox), methods=["GET"]),
        Route("/messages/{id:int}", _for_operators(pages.message), methods=["GET"]),
        Route("/outbox", _for_operators(pages.outbox), methods=["GET"]),
        Route("/messages/{id:int}/{action}", _for_operators(pages.act), methods=["POST"]),
        Route("/outbox/{id:int}/{action}", _for_operators(pages.act), methods=["POST"]),
    ]


def _for_operators(page: Handler) -> Handler:
    async def answered(request: Request) -> Response:
        try:
            return await page(request)
        except ApiRefused as refused:
            text = _WORDS.get(refused.status)
            if text is None:
                raise
            return render("error.html", refused.status, heading=text[0], text=text[1])

    return answered


_WORDS: Mapping[int, tuple[str, str]] = {
    400: ("Nothing to show", "A filter does not mean anything. Go back and choose another."),
    403: ("For operators", "This needs a token with a system/MessageHeader scope."),
    404: ("Not found", "There is no such message."),
}


async def _read(client: FhirClient, path: str, params: Mapping[str, str]) -> dict[str, Any]:
    response = await client.get(path, accept="application/json", params=params.items())
    found: dict[str, Any] = response.json()
    return found


def _pretty(resource: Mapping[str, Any] | None) -> str:
    return json.dumps(resource, indent=2, ensure_ascii=False) if resource is not None else ""
