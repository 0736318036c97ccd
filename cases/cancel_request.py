"""Take up what asks for the end of a case from outside: a Task ``abort`` for its ServiceRequest becomes the case's own.

An order system's cancel request (HL7 v2 ORC-1 ``CA``) is a request: a coordinator accepts or rejects it.
https://hl7.org/fhir/R4/codesystem-task-code.html
"""

from typing import Any, Final

from cases import codes, gather
from cases.machine import state_of
from cases.snapshot import reference, target
from fhir_server.store.database import Transaction

ASKS_TO_END: Final = ("http://hl7.org/fhir/CodeSystem/task-code", "abort")


async def take_up(tx: Transaction, id: str) -> None:
    """Make a requested ``abort`` Task part of the open case it is about; nothing for any other Task."""
    task = await gather.read(tx.reader, f"Task/{id}")
    if task is None or not _is_request(task):
        return
    known = await gather.find(tx.reader, "Task", focus=target(task.get("focus")), code=f"{codes.SO_TASK}|{codes.CASE}")
    case = next((case for case in known if not state_of(case).closed), None)
    if case is None:
        return
    version = int(task["meta"]["versionId"])
    codings = [*task["code"]["coding"], {"system": codes.SO_TASK, "code": codes.ABORT}]
    changed = task | {"partOf": [{"reference": reference(case)}], "code": task["code"] | {"coding": codings}}
    await tx.writer.update(changed, if_match=version)


def _is_request(task: dict[str, Any]) -> bool:
    is_open = task.get("status") == "requested" and "partOf" not in task
    return is_open and codes.kind_of(task) is None and codes.has_code(task.get("code"), ASKS_TO_END)
