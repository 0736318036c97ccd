"""Gather over the FHIR API what one case page shows.

https://hl7.org/fhir/R4/http.html#search
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smart_app import vocabulary as words
from smart_app.fhir_client import FhirClient
from smart_app.wording import code_in, kind, target

Resource = Mapping[str, Any]


class CaseNotFound(Exception):
    """There is no such case, or the user may not see it: the same answer."""


@dataclass(frozen=True, slots=True)
class CaseSources:
    """Every resource of one case page. ``known`` holds people and records by reference."""

    request: Resource
    patient: Resource
    case: Resource
    tasks: Sequence[Resource]
    history: Sequence[Resource]
    responses: Sequence[Resource]
    reports: Sequence[Resource]
    provenances: Sequence[Resource]
    known: Mapping[str, Resource]

    def of_kind(self, wanted: str) -> list[Resource]:
        """Return the sub-Tasks of a kind, oldest first."""
        found = [task for task in self.tasks if kind(task) == wanted]
        return sorted(found, key=lambda task: (str(task.get("authoredOn", "")), str(task["id"])))


async def gather_case(client: FhirClient, id: str) -> CaseSources:
    """Return the case of the Task or ServiceRequest ``id``. Raises CaseNotFound."""
    request = await _request(client, id)
    address = f"ServiceRequest/{request['id']}"
    patient, tasks, reports, responses = await asyncio.gather(
        client.read(target(request.get("subject"))),
        client.search("Task", ("focus", address)),
        client.search("DiagnosticReport", ("based-on", address)),
        client.search("QuestionnaireResponse", ("based-on", address)),
    )
    if patient is None:
        raise CaseNotFound
    case = _case_task(tasks)
    known, history = await asyncio.gather(client.read_all(_mentioned(request, tasks)), _history(client, case))
    known |= await client.read_all(_behind_roles(known))
    return CaseSources(
        request=request,
        patient=patient,
        case=case,
        tasks=tasks,
        history=history,
        responses=_unique(responses, known),
        reports=reports,
        provenances=await _provenances(client, [*tasks, *reports, *_records(tasks, known)]),
        known=known,
    )


async def _request(client: FhirClient, id: str) -> Resource:
    task = await client.read(f"Task/{id}")
    request = await client.read(target((task or {}).get("focus")) if task else f"ServiceRequest/{id}")
    if request is None or request["resourceType"] != "ServiceRequest":
        raise CaseNotFound
    return request


async def _history(client: FhirClient, case: Resource) -> list[Resource]:
    return await client.history(f"Task/{case['id']}") if case.get("id") else []


async def _provenances(client: FhirClient, resources: Sequence[Resource]) -> list[Resource]:
    references = list(dict.fromkeys(f"{item['resourceType']}/{item['id']}" for item in resources))
    if not references:
        return []
    return await client.search("Provenance", ("target", ",".join(references)))


def _case_task(tasks: Sequence[Resource]) -> Resource:
    """The case Task; a request nobody took up yet has none."""
    cases = [task for task in tasks if kind(task) == words.CASE]
    whole = [task for task in tasks if not task.get("partOf") and not kind(task)]
    return next(iter(cases or whole), {})


def _mentioned(request: Resource, tasks: Sequence[Resource]) -> list[str]:
    found = [target(request.get("requester"))]
    for task in tasks:
        found += [target(task.get("owner")), target(task.get("requester"))]
        found += [target(item) for item in task.get("restriction", {}).get("recipient", ())]
        found += [target(item.get("valueReference")) for side in ("input", "output") for item in task.get(side, ())]
    return [reference for reference in found if reference]


def _behind_roles(known: Mapping[str, Resource]) -> list[str]:
    roles = [item for item in known.values() if item["resourceType"] == "PractitionerRole"]
    return [target(role.get("practitioner")) for role in roles]


def _records(tasks: Sequence[Resource], known: Mapping[str, Resource]) -> list[Resource]:
    references = [
        target(item.get("valueReference"))
        for task in tasks
        for item in task.get("output", ())
        if code_in(item.get("type"), words.SO_OUTPUT) == "record"
    ]
    return [known[reference] for reference in references if reference in known]


def _unique(responses: Sequence[Resource], known: Mapping[str, Resource]) -> list[Resource]:
    named = [item for item in known.values() if item["resourceType"] == "QuestionnaireResponse"]
    return list({item["id"]: item for item in (*named, *responses)}.values())
