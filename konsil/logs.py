"""What the log says: one line for each event, ids and types only.

Libraries that would write URLs of searches, job arguments or payloads are held to warnings: URLs hold patient data.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

_quiet = (
    "httpx",
    "httpcore",
    "procrastinate",
    "alembic",
    "uvicorn",
    "uvicorn.error",
    "hl7apy",
    "pynetdicom",
    "pydicom",
)


class JsonLines(logging.Formatter):
    """One JSON object for each record: time (UTC), level, logger, message; control characters cannot forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        event = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


class TextLines(logging.Formatter):
    """The same for people: control characters of a message are shown, not obeyed."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name logging calls
        """Return the line with line breaks and escapes made visible."""
        line = super().formatMessage(record)
        return "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)


def configure(level: str, style: Literal["text", "json"]) -> None:
    """Send the log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    text = TextLines("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(JsonLines() if style == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _quiet:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
