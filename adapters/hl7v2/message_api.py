"""What operators see and do over HTTP, as JSON: the inbox with its backlog, one message as a tree, the outbox.

Values are shown to whoever holds ``system/MessageHeader.r``; lists and answers to actions carry none.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from adapters.hl7v2 import delivery, replay
from adapters.hl7v2.conversion import MappingError
from adapters.hl7v2.convert import explain
from adapters.hl7v2.sites import Sites
from adapters.hl7v2.tokenizer import MalformedMessage, Message
from fhir_server.kernel.errors import InvalidRequest, Unprocessable
from fhir_server.kernel.subject import Subject
from fhir_server.store import message_counts
from fhir_server.store.database import Database
from fhir_server.store.messages import STATUSES, InboundMessage, Listed
from fhir_server.store.wiring import Enqueue

Json = dict[str, Any]

_MOST = 200
_SHOWN = 400
_FILTERS = ("status", "site", "type", "error", "location")
_OUTGOING = (
    "id", "destination", "control_id", "reference", "status", "attempts", "errors",
    "created_at", "next_attempt_at", "acknowledgement_code", "last_error", "delivered_at",
)  # fmt: skip
_WORDS = (*_FILTERS, "patient", "before", "count")


class MessageApi:
    """The operations, each for an authenticated Subject whose scope was checked before."""

    def __init__(self, database: Database, sites: Sites, *, port: int = 0, enqueue: Enqueue | None = None) -> None:
        self._database = database
        self._sites = sites
        self._port = port
        self._enqueue = enqueue

    async def listed(self, subject: Subject, asked: Mapping[str, str]) -> Json:
        """Return a page of messages, newest first, and how many are where. Raises InvalidRequest."""
        unknown = [name for name in asked if name not in _WORDS]
        if unknown:
            raise InvalidRequest(f"'{unknown[0]}' is not a filter; known are {', '.join(_WORDS)}.")
        count = min(_number(asked, "count") or 50, _MOST)
        wanted: Json = {
            name: asked[name] for name in ("status", "site", "type", "error", "location") if asked.get(name)
        }
        if wanted.get("status", "failed") not in STATUSES:
            raise InvalidRequest(f"A status is one of {', '.join(STATUSES)}.")
        if asked.get("patient"):
            wanted["patients"] = await self._identifiers(subject, asked["patient"])
        rows = await replay.list_messages(self._database, before=_number(asked, "before"), count=count + 1, **wanted)
        async with self._database.connection() as connection:
            backlog = await message_counts.inbox_backlog(connection)
        page = rows[:count]
        return {
            "messages": [_line(row) for row in page],
            "next": page[-1].id if len(rows) > count else None,
            "backlog": [asdict(row) for row in backlog],
            "sites": sorted(self._sites.by_name),
        }

    async def shown(self, id: int) -> Json:
        """Return one message: its row, its segments as a tree, and where each of its values goes. Raises NotFound."""
        message = (await replay.show(self._database, id)).message
        site = self._sites.by_name.get(message.site)
        try:
            parsed = Message.parse(message.raw, site.mapping.charset if site else None)
        except MalformedMessage:
            lines = message.raw.decode("utf-8", "replace").replace("\n", "\r").split("\r")
            tree = [{"name": "?", "fields": [_field("", line)]} for line in lines if line]
            return _row(message) | {"segments": tree, "mapping": []}
        return _row(message) | {"segments": _tree(parsed), "mapping": self._mapping(parsed, message)}

    async def replayed(self, id: int) -> Json:
        """Process a message again and return what became of it. Raises NotFound, Unprocessable."""
        outcome = await replay.replay(self._database, self._sites, id, port=self._port, enqueue=self._enqueue)
        names = ("status", "acknowledgement_code", "error_code", "error_location", "error_text")
        return {name: getattr(outcome, name) for name in names} | {"resources": list(outcome.resources)}

    async def held(self, id: int) -> Json:
        """Hold a failed or waiting message. Raises Unprocessable."""
        await replay.hold(self._database, id)
        return {"status": "held"}

    async def passed(self, id: int) -> Json:
        """Give a failed or held message up. Raises Unprocessable."""
        await replay.pass_over(self._database, id, enqueue=self._enqueue)
        return {"status": "passed"}

    async def outgoing(self, asked: Mapping[str, str]) -> Json:
        """Return outgoing messages, newest first, and how many wait for each destination."""
        rows = await delivery.list_outbound(self._database, status=asked.get("status") or None, count=_MOST)
        async with self._database.connection() as connection:
            backlog = await message_counts.outbox_backlog(connection)
        found = [{name: _plain(getattr(row, name)) for name in _OUTGOING} for row in rows]
        return {"messages": found, "backlog": [asdict(row) for row in backlog]}

    async def resent(self, id: int) -> Json:
        """Put a failed or held outgoing message back into its queue. Raises Unprocessable."""
        if not await delivery.try_again(self._database, id):
            raise Unprocessable(f"Outgoing message {id} is neither failed nor held.")
        return {"status": "waiting"}

    async def skipped(self, id: int) -> Json:
        """Fail a held or waiting outgoing message, so that the next may go. Raises Unprocessable."""
        if not await delivery.skip(self._database, id, self._enqueue):
            raise Unprocessable(f"Outgoing message {id} is neither held nor waiting, or is just being sent.")
        return {"status": "failed"}

    async def _identifiers(self, subject: Subject, patient: str) -> list[str]:
        """Return ``system|value`` of a Patient whom the Subject may read. Raises NotFound, Forbidden."""
        async with self._database.reading(subject) as reader:
            resource = (await reader.read("Patient", patient)).resource()
        return [f"{item.get('system', '')}|{item.get('value', '')}" for item in resource.get("identifier", ())]

    def _mapping(self, parsed: Message, message: InboundMessage) -> list[Json]:
        site = self._sites.by_name.get(message.site)
        if site is None:
            return []
        try:
            rows = explain(parsed, site.mapping)
        except MappingError:
            return []
        return [
            {"source": row.source, "value": _short(row.value), "path": row.path, "row": row.row, "layer": row.layer}
            for row in rows
        ]


def _line(row: Listed) -> Json:
    return {field.name: _plain(getattr(row, field.name)) for field in fields(row)}


def _row(message: InboundMessage) -> Json:
    hidden = {"raw", "digest", "acknowledgement", "lane", "patient"}
    return {f.name: _plain(getattr(message, f.name)) for f in fields(message) if f.name not in hidden} | {
        "size_bytes": len(message.raw),
        "acknowledgement": (message.acknowledgement or b"").decode("utf-8", "replace").replace("\r", "\n").strip(),
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _tree(message: Message) -> list[Json]:
    found = []
    for segment in message.segments:
        name = f"{segment.name}-" if segment.position == 1 else f"{segment.name}[{segment.position}]-"
        numbered = [(number, text) for number, text in enumerate(segment.fields) if number and text]
        shown = [_field(f"{name}{n}", text) | {"parts": _parts(message, f"{name}{n}", text)} for n, text in numbered]
        found.append({"name": segment.name, "fields": shown})
    return found


def _parts(message: Message, path: str, text: str) -> list[Json]:
    """Return the components of a field that has more than one value; those of a large one are not worth a list."""
    if len(text) > _SHOWN or path in ("MSH-1", "MSH-2"):
        return []
    repetitions = message.split(text, message.delimiters.repetition)
    found = []
    for n, repetition in enumerate(repetitions, 1):
        components = message.split(repetition, message.delimiters.component)
        where = f"{path}[{n}]" if len(repetitions) > 1 else path
        if len(repetitions) > 1 or len(components) > 1:
            found += [_field(f"{where}.{at}", message.unescape(part)) for at, part in enumerate(components, 1) if part]
    return found


def _field(path: str, text: str) -> Json:
    return {"path": path, "text": _short(text), "parts": []}


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def _number(asked: Mapping[str, str], name: str) -> int | None:
    text = asked.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) < 2**63:
        raise InvalidRequest(f"{name} is a whole number.")
    return int(text)
