"""What HL7 v2 traffic looks like from outside, per site: answers, times, and what waits or failed and since when.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from fhir_server.kernel.errors import FhirError
from fhir_server.rest.metrics import Histogram
from fhir_server.store import message_counts
from fhir_server.store.database import Database
from fhir_server.store.message_counts import Backlog

_CODES = ("AA", "AE", "AR", "CA", "CE", "CR")


class MessageMetrics:
    """Counters of one process; labels are names of the configuration and codes of the standard, never ids."""

    def __init__(self) -> None:
        self._received: Counter[tuple[str, str, str]] = Counter()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._answered = Histogram(
            "hl7v2_answer_seconds", "site", "Time from a complete message to its acknowledgement, commit included."
        )
        self._acknowledged = Histogram(
            "hl7v2_delivery_seconds", "destination", "Time from sending a message to its acknowledgement."
        )

    def received(self, site: str, transport: str, code: str, seconds: float) -> None:
        """Count one message; ``site`` is empty when none claimed it, ``code`` is MSA-1 or why none was sent."""
        self._received[site, transport, code] += 1
        self._answered.observe(site, seconds)

    def attempted(self, destination: str, code: str, seconds: float) -> None:
        """Count one attempt to deliver; ``code`` is MSA-1 of the receiver, empty when it gave none."""
        self._attempts[destination, code if code in _CODES else "other" if code else "none"] += 1
        self._acknowledged.observe(destination, seconds)

    async def render(self, database: Database) -> str:
        """Return counters of this process and, while the database answers, what waits in it."""
        lines = [*self._counters(), *self._answered.lines(), *self._acknowledged.lines()]
        try:
            async with database.connection() as connection:
                inbox = await message_counts.inbox_backlog(connection)
                outbox = await message_counts.outbox_backlog(connection)
        except FhirError:
            return "\n".join([*lines, ""])
        lines += [*_gauges("hl7v2_inbox", "site", inbox), *_gauges("hl7v2_outbox", "destination", outbox)]
        return "\n".join([*lines, ""])

    def _counters(self) -> Iterator[str]:
        yield "# HELP hl7v2_messages_received_total Messages answered, by acknowledgement code."
        yield "# TYPE hl7v2_messages_received_total counter"
        for (site, transport, code), count in sorted(self._received.items()):
            yield f'hl7v2_messages_received_total{{site="{site}",transport="{transport}",code="{code}"}} {count}'
        yield "# HELP hl7v2_delivery_attempts_total Attempts to deliver, by the receiver's acknowledgement code."
        yield "# TYPE hl7v2_delivery_attempts_total counter"
        for (destination, code), count in sorted(self._attempts.items()):
            yield f'hl7v2_delivery_attempts_total{{destination="{destination}",code="{code}"}} {count}'


def _gauges(name: str, label: str, backlog: Sequence[Backlog]) -> Iterator[str]:
    for suffix, meaning in (
        ("messages", "Messages that are not done, by status."),
        ("oldest_seconds", "Age of the oldest of them."),
    ):
        yield f"# HELP {name}_{suffix} {meaning}"
        yield f"# TYPE {name}_{suffix} gauge"
        for row in backlog:
            value = row.messages if suffix == "messages" else round(row.oldest_s, 3)
            yield f'{name}_{suffix}{{{label}="{row.queue}",status="{row.status}"}} {value}'
