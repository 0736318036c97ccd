"""$validate: would this resource be accepted, as it is or as a create, an update or a delete?

https://hl7.org/fhir/R4/resource-operation-validate.html. With a mode the very write is done and taken back, so that
the answer is what the write path says: access, guards, versions and all.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fhir_server.definitions import RESOURCE_TYPES
from fhir_server.kernel.errors import FhirError, InvalidRequest, Issue
from fhir_server.kernel.validation import validate as faults_of
from fhir_server.operations.calls.operation import Answer, Invocation, Operation, Parameter, Writing
from fhir_server.store.database import Transaction
from fhir_server.store.failures import Collision

Json = dict[str, Any]
_base = "http://hl7.org/fhir/StructureDefinition/"
_modes = ("create", "update", "delete", "profile")
_letters = {"create": "c", "update": "u", "delete": "d", "profile": "r"}
_server_error = 500


class _TakenBackError(Exception):
    """Ends a trial that went well."""


async def validate(tx: Transaction, call: Invocation) -> Answer:
    """Return what is wrong as issues; none means all is well.

    Raises InvalidRequest when it is not clear what to check, NotFound or Gone for the stored resource to check,
    Forbidden without the letter the mode stands for.
    """
    mode = _mode(tx, call)
    resource = call.inputs.one("resource")
    if mode == "delete":
        return Answer(tuple(await _tried(tx, lambda: _delete(tx, call))))
    if resource is None:
        resource = await _stored(tx, call, mode)
    issues = [*_of_other_type(resource, call), *faults_of(resource)]
    if not _errors(issues):
        issues += _profiles(resource, call.inputs.one("profile"))
    if mode in ("create", "update") and not _errors(issues):
        issues += await _tried(tx, lambda: _write(tx, call, mode, resource))
    return Answer(tuple(issues))


def _mode(tx: Transaction, call: Invocation) -> str | None:
    mode: str | None = call.inputs.one("mode")
    if mode is None:
        return None
    if mode not in _modes:
        raise InvalidRequest(f"mode must be one of: {', '.join(_modes)}.")
    if mode != "create" and call.id is None:
        raise InvalidRequest(f"mode={mode} is for {call.resource_type}/[id]/$validate.")
    if mode == "profile" and (call.inputs.one("profile") is None or call.inputs.one("resource") is not None):
        raise InvalidRequest("mode=profile checks the stored resource: give a profile, and no resource.")
    tx.subject.require(call.resource_type or "", _letters[mode])
    return mode


async def _stored(tx: Transaction, call: Invocation, mode: str | None) -> Json:
    """Return the stored resource an instance-level call without a resource is about."""
    if call.id is None or mode in ("create", "update"):
        raise InvalidRequest("Send the resource to check, alone or as the parameter 'resource' of a Parameters.")
    return (await tx.reader.read(call.resource_type or "", call.id)).resource()


def _errors(issues: list[Issue]) -> bool:
    return any(issue.severity in ("fatal", "error") for issue in issues)


def _of_other_type(resource: Json, call: Invocation) -> list[Issue]:
    stated = resource.get("resourceType")
    if stated == call.resource_type or stated not in RESOURCE_TYPES:
        return []
    return [Issue("structure", f"The resource is a {stated}, the URL says {call.resource_type}.", "resourceType")]


def _profiles(resource: Json, asked: str | None) -> list[Issue]:
    """Say of each profile that it was not checked: base R4 is all this server knows.

    One that was asked for is an error: nobody may take silence for conformance. One the resource claims is a warning.
    """
    resource_type = resource["resourceType"]
    found = []
    if asked is not None and asked != _base + resource_type:
        text = "The profile asked for is not known to this server. The resource was checked against base R4 only."
        found.append(Issue("not-supported", text))
    for index, claimed in enumerate(resource.get("meta", {}).get("profile", ())):
        if claimed not in (asked, _base + resource_type):
            text = "This profile is not known to this server and was not checked."
            found.append(Issue("not-supported", text, f"{resource_type}.meta.profile[{index}]", "warning"))
    return found


async def _tried(tx: Transaction, attempt: Callable[[], Awaitable[list[Issue]]]) -> list[Issue]:
    """Do the write and take it back. What it refuses is an issue; what is no answer rises."""
    issues: list[Issue] = []
    try:
        async with tx.savepoint():
            issues += await attempt()
            await tx.writer.flush()
            raise _TakenBackError  # noqa: TRY301 - leaving the savepoint this way is what undoes it
    except _TakenBackError:
        return issues
    except FhirError as error:
        if error.status >= _server_error or isinstance(error, Collision):
            raise
        return list(error.issues)


async def _write(tx: Transaction, call: Invocation, mode: str | None, resource: Json) -> list[Issue]:
    if mode == "create":
        await tx.writer.create(resource)
        return []
    if resource.get("id") != call.id:
        at = f"{call.resource_type}.id"
        return [Issue("value", f"The resource's id must be the one in the URL: {call.id}.", at)]
    result = await tx.writer.update(resource, if_match=call.if_match)
    if result.outcome == "created":
        return [
            Issue("informational", "There is no such resource: the update would create it.", severity="information")
        ]
    return []


async def _delete(tx: Transaction, call: Invocation) -> list[Issue]:
    if await tx.writer.delete(call.resource_type or "", call.id or "", if_match=call.if_match) is None:
        text = "There is no such resource: the delete would succeed and change nothing."
        return [Issue("informational", text, severity="information")]
    return []


OPERATION = Operation(
    name="validate",
    definition="http://hl7.org/fhir/OperationDefinition/Resource-validate",
    access={"type": "c", "instance": "r"},
    parameters=(Parameter("resource", "Resource"), Parameter("mode", "code"), Parameter("profile", "uri")),
    does=Writing(validate),
)
