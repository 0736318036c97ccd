"""The job ``cases.react``: after every write that can move a case, look at it, decide, apply, until nothing is left.

One transaction for each job, one job at a time for each patient. Running it twice changes nothing: what is decided
depends only on what is stored, and every resource made here has a deterministic id.
docs/cases.md#reactions
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cases import codes, gather
from cases.apply import Application, apply, explain
from cases.calendar import utc
from cases.cancel_request import take_up
from cases.decide import decide
from cases.decisions import Explain
from cases.machine import state_of
from cases.provenance import actor, provenance_id, transition
from cases.repoint import repoint
from cases.signature import Signer
from fhir_server.kernel.errors import Gone, NotFound
from fhir_server.store.database import Database, Transaction
from fhir_server.store.wiring import Condition, Enqueue
from programmes.model import Programme

JOB: Final = "cases.react"
REACTIONS: Final[Mapping[str, tuple[str, ...]]] = dict.fromkeys(gather.WATCHED, (JOB,))
"""For the root's Wiring: the job that follows a write of each of these types."""
_lock: Final = "case:"
CONDITIONS: Final[Mapping[str, Condition]] = {
    JOB: Condition(
        types=frozenset(gather.WATCHED) - {"Task", "ServiceRequest"},
        resource_type="Task",
        codes=((codes.SO_TASK, codes.CASE), codes.FULFILL),
        lock=_lock,
    )
}
"""For the root's Wiring: records of a patient who has no case move none; Task and ServiceRequest may open one."""

_most_rounds = 40


class Unsettled(RuntimeError):
    """The rules keep deciding without coming to rest: a fault of the rules, left visible as a failed job."""


def system_clock() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Reactor:
    """Runs ``cases.react``. ``base_url`` is the public FHIR base that goes into documents."""

    database: Database
    enqueue: Enqueue
    signer: Signer
    base_url: str
    clock: Callable[[], datetime] = system_clock

    async def react(self, resource_type: str, id: str, version: int) -> None:
        """Bring every case of the resource's patient to where the stored facts take it."""
        if resource_type == "Patient":
            await repoint(self.database, f"Patient/{id}", now=utc(self.clock()))
        async with self.database.transaction(gather.SUBJECT) as tx:
            patient = await gather.patient_of(tx.reader, resource_type, id)
            if patient is None:
                return
            await tx.lock(_lock + patient)
            if resource_type == "Task":
                await take_up(tx, id)
                await self._attest(tx, id, version)
            trigger = id if resource_type == "Task" else None
            for task in await gather.case_tasks(tx.reader, patient, trigger):
                await self._settle(tx, str(task["id"]))

    async def _settle(self, tx: Transaction, task: str) -> None:
        for _ in range(_most_rounds):
            case = await gather.read(tx.reader, f"Task/{task}")
            snapshot = await gather.snapshot(tx.reader, case) if case else None
            if snapshot is None:
                return
            programme = await gather.programme_of(tx.reader, snapshot.case, snapshot.request)
            if programme is None:
                await self._without_programme(tx, snapshot.case)
                return
            now = self.clock()
            commands = decide(snapshot, programme, now)
            if not commands:
                return
            at = self._application(tx, programme, now)
            for command in commands:
                await apply(command, at)
        raise Unsettled(f"Task/{task} did not come to rest in {_most_rounds} rounds.")

    async def _attest(self, tx: Transaction, id: str, version: int) -> None:
        """Give a transition somebody else made its Provenance; the workflow's own have theirs already."""
        if await gather.read(tx.reader, f"Provenance/{provenance_id(id, version)}"):
            return
        task = await _version(tx, id, version)
        before = await _version(tx, id, version - 1) if version > 1 else None
        if task is None or codes.kind_of(task) is None:
            return
        if before is None or state_of(before) != state_of(task):
            activity = f"set-{task['status']}" if before else "submit"
            await tx.writer.update(transition(task, version, activity, now=utc(self.clock()), who=actor(task)))

    async def _without_programme(self, tx: Transaction, case: Mapping[str, Any]) -> None:
        words = "No programme is known that this case is addressed to. Name one in Task.instantiatesCanonical."
        reason = (codes.REASON_NO_PROGRAMME, words)
        if codes.kind_of(dict(case)) and codes.code_in(case.get("statusReason"), codes.SO_REASON) != reason[0]:
            await explain(tx, Explain(str(case["id"]), reason), self.clock())

    def _application(self, tx: Transaction, programme: Programme, now: datetime) -> Application:
        return Application(tx, programme, now, self.signer, self.base_url, self.enqueue)


async def _version(tx: Transaction, id: str, version: int) -> dict[str, Any] | None:
    try:
        return (await tx.reader.vread("Task", id, str(version))).resource()
    except (NotFound, Gone):
        return None
