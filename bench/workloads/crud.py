"""W1, the 36-request life of nine linked resources, and W2, a mix of creates, reads, updates and deletes."""

import json
import random
from collections.abc import Callable
from typing import Any

from bench.client import Connection
from bench.vocabulary import LOINC, RXNORM, UCUM, concept

Resource = dict[str, Any]
CREATED, DELETED = (201,), (200, 204)
_claim_type = concept("http://terminology.hl7.org/CodeSystem/claim-type", "professional")
_at = "2026-03-01T08:00:00+00:00"


def _chain(number: int) -> tuple[tuple[str, Callable[[dict[str, str]], Resource]], ...]:
    """Return the nine resources, each made from the references to those before it."""

    def ref(of: dict[str, str], kind: str) -> dict[str, str]:
        return {"reference": of[kind]}

    claim = {"status": "active", "type": _claim_type, "use": "claim", "created": _at}
    return (
        ("Patient", lambda _: {"name": [{"family": f"Bench{number}", "given": ["Iteration"]}], "gender": "female",
                               "birthDate": f"19{number % 60 + 40}-0{number % 9 + 1}-12"}),
        ("Location", lambda _: {"status": "active", "name": f"Ward {number}"}),
        ("Organization", lambda _: {"active": True, "name": f"Clinic {number}"}),
        ("Practitioner", lambda _: {"active": True, "name": [{"family": f"Doctor{number}"}]}),
        ("Encounter", lambda of: {
            "status": "finished", "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
                                            "code": "AMB"},
            "subject": ref(of, "Patient"), "participant": [{"individual": ref(of, "Practitioner")}],
            "location": [{"location": ref(of, "Location")}], "serviceProvider": ref(of, "Organization"),
            "period": {"start": _at, "end": "2026-03-01T09:00:00+00:00"}}),
        ("Observation", lambda of: observation(of["Patient"], number) | {"encounter": ref(of, "Encounter")}),
        ("MedicationRequest", lambda of: prescription(of["Patient"]) | {"encounter": ref(of, "Encounter"),
                                                                        "requester": ref(of, "Practitioner")}),
        ("Claim", lambda of: claim | {
            "patient": ref(of, "Patient"), "provider": ref(of, "Practitioner"), "priority": concept(
                "http://terminology.hl7.org/CodeSystem/processpriority", "normal"),
            "prescription": ref(of, "MedicationRequest"),
            "insurance": [{"sequence": 1, "focal": True, "coverage": {"display": "Self-pay"}}]}),
        ("ExplanationOfBenefit", lambda of: claim | {
            "patient": ref(of, "Patient"), "provider": ref(of, "Practitioner"), "insurer": ref(of, "Organization"),
            "outcome": "complete", "claim": ref(of, "Claim"),
            "insurance": [{"focal": True, "coverage": {"display": "Self-pay"}}]}),
    )  # fmt: skip


async def crud_life(connection: Connection, number: int) -> int:
    """W1: nine creates with live references, nine reads, nine updates, nine deletes; 36 requests."""
    of: dict[str, str] = {}
    for kind, make in _chain(number):
        body = {"resourceType": kind} | make(of)
        created = await connection.send(f"create {kind}", "POST", f"/{kind}", encoded(body), expect=CREATED)
        of[kind] = f"{kind}/{created['id']}"
    read = {kind: await connection.send(f"read {kind}", "GET", f"/{at}") for kind, at in of.items()}
    for kind, at in of.items():
        read[kind]["language"] = "en"
        await connection.send(f"update {kind}", "PUT", f"/{at}", encoded(read[kind]))
    for kind, at in reversed(of.items()):
        await connection.send(f"delete {kind}", "DELETE", f"/{at}", expect=DELETED)
    return 36


def observation(patient: str, number: int) -> Resource:
    """Return a laboratory Observation of a patient."""
    base = "http://terminology.hl7.org/CodeSystem/observation-category"
    quantity = {"value": 0.5 + number % 100 / 100, "unit": "mg/dL", "system": UCUM, "code": "mg/dL"}
    return {"resourceType": "Observation", "status": "final", "category": [concept(base, "laboratory")],
            "code": concept(LOINC, "2160-0", "Creatinine"), "subject": {"reference": patient},
            "effectiveDateTime": _at, "valueQuantity": quantity}  # fmt: skip


def prescription(patient: str) -> Resource:
    """Return a MedicationRequest of a patient."""
    return {"resourceType": "MedicationRequest", "status": "active", "intent": "order",
            "medicationCodeableConcept": concept(RXNORM, "314076", "lisinopril 10 MG Oral Tablet"),
            "subject": {"reference": patient}, "authoredOn": _at}  # fmt: skip


def encoded(resource: Resource) -> bytes:
    """Return a resource as it goes over the wire."""
    return json.dumps(resource).encode()


class CrudMix:
    """W2: creates 10 %, reads 60 %, updates 25 %, deletes 5 %, over five types that the run makes itself."""

    shares = (("create", 10), ("read", 60), ("update", 25), ("delete", 5))

    def __init__(self, patients: list[str]) -> None:
        """Begin with references to patients that stay."""
        self.patients = patients
        self.own: list[Resource] = []
        self.dice = random.Random("mix")

    async def step(self, connection: Connection, number: int) -> int:
        """Do one request of the mix."""
        action = self.dice.choices([a for a, _ in self.shares], [share for _, share in self.shares])[0]
        if action == "create" or len(self.own) < 20:
            body = self._new(number)
            self.own.append(
                await connection.send("create", "POST", f"/{body['resourceType']}", encoded(body), expect=CREATED)
            )
            return 1
        # Taken out while it is used: two connections must not write one resource at a time.
        resource = self.own.pop(self.dice.randrange(len(self.own)))
        at = f"/{resource['resourceType']}/{resource['id']}"
        if action == "read":
            self.own.append(await connection.send("read", "GET", at))
        elif action == "update":
            resource["language"] = "de" if resource.get("language") == "en" else "en"
            self.own.append(await connection.send("update", "PUT", at, encoded(resource)))
        else:
            await connection.send("delete", "DELETE", at, expect=DELETED)
        return 1

    def _new(self, number: int) -> Resource:
        patient = self.patients[number % len(self.patients)]
        kinds: tuple[Callable[[], Resource], ...] = (
            lambda: {"resourceType": "Patient", "name": [{"family": f"Mix{number}"}], "gender": "male"},
            lambda: observation(patient, number),
            lambda: {"resourceType": "Condition", "subject": {"reference": patient},
                     "code": concept("http://snomed.info/sct", "38341003", "Hypertensive disorder")},
            lambda: {"resourceType": "Encounter", "status": "finished", "subject": {"reference": patient},
                     "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}},
            lambda: prescription(patient),
        )  # fmt: skip
        return kinds[number % len(kinds)]()
