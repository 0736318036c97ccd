"""Tell in which roles a Subject acts on a Task: the workflow, who asked, a coordinator, or the specialist asked.

A system token stands for whichever role its owner has authenticated; the machine still decides what may happen.
"""

from cases import codes, gather
from cases.machine import ACTORS, COORDINATOR, PLACER, SPECIALIST
from cases.snapshot import Resource, target
from fhir_server.kernel.subject import Subject
from fhir_server.store.reader import Reader


async def roles_of(subject: Subject, task: Resource, reader: Reader) -> frozenset[str]:
    """Return the actors (see machine.ACTORS) this Subject is on ``task``."""
    if subject.reference == "system":
        return ACTORS
    names = await identities(subject, reader)
    found: set[str] = set()
    if names & await _placers(task, reader):
        found.add(PLACER)
    if target(task.get("owner")) in names:
        found.add(SPECIALIST if codes.kind_of(dict(task)) == codes.SPECIALIST_REVIEW else PLACER)
    if await _coordinates(names, reader):
        found.add(COORDINATOR)
    return frozenset(found)


async def identities(subject: Subject, reader: Reader) -> frozenset[str]:
    """Return the Subject's own reference, its Practitioner and the PractitionerRoles of that Practitioner."""
    own = subject.reference
    if own.startswith("PractitionerRole/"):
        role = await gather.read(reader, own)
        own = target((role or {}).get("practitioner"))
    if not own.startswith("Practitioner/"):
        return frozenset({subject.reference})
    held = await gather.find(reader, "PractitionerRole", practitioner=own, active="true")
    return frozenset({subject.reference, own, *(f"PractitionerRole/{role['id']}" for role in held)})


async def _placers(task: Resource, reader: Reader) -> set[str]:
    request = await gather.read(reader, target(task.get("focus"))) or {}
    people = {target(task.get("requester")), target(request.get("requester")), target(task.get("for"))}
    return people - {""}


async def _coordinates(names: frozenset[str], reader: Reader) -> bool:
    held = [name for name in names if name.startswith("PractitionerRole/")]
    for name in held:
        role = await gather.read(reader, name) or {}
        if any(codes.has_code(code, (codes.SO_ROLE, codes.COORDINATOR)) for code in role.get("code", ())):
            return True
    return False
