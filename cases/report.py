"""Turn the specialist's answers into the signed report: PDF, DiagnosticReport, document Bundle, Provenance.

https://hl7.org/fhir/R4/documents.html and docs/report.md
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cases import pdf, report_document, report_people
from cases.provenance import SOFTWARE
from cases.report_answers import opinion
from cases.report_content import Letterhead, ReportContent, ReviewedRecord
from cases.report_document import ReportIds, Sources
from cases.signature import Signer
from fhir_server.kernel.errors import Gone, NotFound, Unprocessable
from fhir_server.kernel.references import parse_reference
from fhir_server.store.database import Transaction


@dataclass(frozen=True, slots=True)
class FinalReport:
    """References to what a report consists of, ready for Task.output."""

    diagnostic_report: str
    document: str
    composition: str
    pdf: str
    provenance: str


async def finalise(
    tx: Transaction,
    *,
    answers: Mapping[str, Any],
    intake: Mapping[str, Any],
    records: Sequence[str],
    programme: Letterhead,
    signer: Signer,
    base_url: str,
) -> FinalReport:
    """Write the report made of the specialist's ``answers`` to the questions of ``intake``.

    ``records`` are references to what was reviewed, ``base_url`` the public FHIR base. A second call for the same
    version of ``answers`` finds the report and writes nothing. Raises Unprocessable when a question is unanswered.
    """
    ids = ReportIds.of(answers)
    final = _references(ids)
    await tx.lock(final.provenance)
    if await _find(tx, final.provenance):
        return final
    sources = await _sources(tx, answers=answers, intake=intake, records=records, programme=programme)
    for resource in await build(ids, sources, programme=programme, signer=signer, base_url=base_url):
        await tx.writer.update(resource)
    return final


async def build(
    ids: ReportIds, sources: Sources, *, programme: Letterhead, signer: Signer, base_url: str
) -> tuple[dict[str, Any], ...]:
    """Return Binary, DiagnosticReport, Composition, document Bundle and Provenance, in the order they are written."""
    content = _content(ids, sources, programme, signer)
    data = await asyncio.to_thread(pdf.render, content)
    file = report_document.binary(ids, content, data)
    request = f"ServiceRequest/{sources.request['id']}"
    report = report_document.diagnostic_report(ids, content, request, data)
    opening = report_document.composition(ids, content, sources)
    bundle = report_document.document(
        ids,
        [
            opening,
            sources.patient,
            sources.author,
            sources.organization,
            sources.request,
            sources.intake,
            sources.answers,
            report,
            file,
            *sources.others,
            *sources.records,
        ],
        timestamp=content.signed_at.isoformat(),
        base_url=base_url,
    )
    origin = f"QuestionnaireResponse/{sources.answers['id']}"
    return (
        file,
        report,
        opening,
        bundle,
        report_document.provenance(ids, content, bundle, answers=origin, signer=signer),
    )


def _content(ids: ReportIds, sources: Sources, programme: Letterhead, signer: Signer) -> ReportContent:
    role = next((item for item in sources.others if item["resourceType"] == "PractitionerRole"), None)
    requester = next((item for item in sources.others if item["resourceType"] == "Practitioner"), None)
    return ReportContent(
        programme=programme,
        case_number=report_people.case_number(sources.request),
        patient=report_people.patient(sources.patient),
        birth_date=str(sources.patient.get("birthDate", "")),
        sex=str(sources.patient.get("gender", "")).capitalize(),
        referrer=report_people.referrer(sources.request, requester),
        specialist=report_people.practitioner(sources.author, role),
        opinion=opinion(sources.answers, sources.intake),
        records=_reviewed(sources),
        requested=_day(str(sources.request.get("authoredOn", "")), programme.time_zone),
        signed_at=_signed_at(sources.answers),
        document=f"urn:uuid:{ids.document}",
        key_id=signer.key_id,
    )


def _reviewed(sources: Sources) -> tuple[ReviewedRecord, ...]:
    """The records as the report lists them, oldest first."""
    listed = [report_people.record(item, sources.senders.get(_address(item), "")) for item in sources.records]
    return tuple(sorted(listed, key=lambda item: (item.date, item.title)))


def _address(resource: Mapping[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _day(written: str, time_zone: str) -> str:
    """Return the day of a FHIR dateTime where the programme is; one without a time is a day already."""
    if "T" not in written:
        return written
    return datetime.fromisoformat(written).astimezone(ZoneInfo(time_zone)).date().isoformat()


def _signed_at(answers: Mapping[str, Any]) -> datetime:
    """The moment the specialist put on the answers; the server's own when they gave no time of day."""
    for text in (str(answers.get("authored", "")), str(answers.get("meta", {}).get("lastUpdated", ""))):
        if "T" in text and (found := datetime.fromisoformat(text)).tzinfo:
            return found.replace(microsecond=0)
    raise Unprocessable("The answers say no time they were written.", expression="QuestionnaireResponse.authored")


async def _sources(
    tx: Transaction,
    *,
    answers: Mapping[str, Any],
    intake: Mapping[str, Any],
    records: Sequence[str],
    programme: Letterhead,
) -> Sources:
    request = await _need(tx, _first(answers.get("basedOn")), "QuestionnaireResponse.basedOn")
    _same_patient(answers, request)
    author = await _need(tx, answers.get("author"), "QuestionnaireResponse.author")
    roles = [author] if author["resourceType"] == "PractitionerRole" else await _roles(tx, author, programme.reference)
    if author["resourceType"] == "PractitionerRole":
        author = await _need(tx, author.get("practitioner"), "QuestionnaireResponse.author")
    reviewed = [found for reference in dict.fromkeys(records) if (found := await _find(tx, reference))]
    return Sources(
        request=request,
        patient=await _need(tx, request.get("subject"), "ServiceRequest.subject"),
        answers=answers,
        intake=intake,
        author=author,
        organization=await _need(tx, {"reference": programme.reference}, "Composition.custodian"),
        others=[item for item in (await _requester(tx, request), *roles[:1]) if item],
        records=reviewed,
        senders={_address(item): await _sender(tx, _address(item)) for item in reviewed},
    )


async def _sender(tx: Transaction, reference: str) -> str:
    """Who sent a record, from the Provenance its message left; empty when none did."""
    told = [stored.resource() for stored in await tx.reader.find("Provenance", target=reference)]
    for provenance in sorted(told, key=lambda item: str(item["recorded"])):
        for agent in provenance["agent"]:
            if agent["who"].get("display") and agent["who"] != SOFTWARE:
                return str(agent["who"]["display"])
    return ""


async def _requester(tx: Transaction, request: Mapping[str, Any]) -> dict[str, Any] | None:
    found = await _find(tx, str(request.get("requester", {}).get("reference", "")))
    if found and found["resourceType"] == "PractitionerRole":
        return await _find(tx, str(found.get("practitioner", {}).get("reference", "")))
    return found


def _same_patient(answers: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    if answers.get("subject", {}).get("reference") != request.get("subject", {}).get("reference"):
        raise Unprocessable(
            "The answers are about another patient than the request.", expression="QuestionnaireResponse.subject"
        )


async def _roles(tx: Transaction, author: Mapping[str, Any], organization: str) -> list[dict[str, Any]]:
    """The author's roles, those in the programme itself first."""
    stored = await tx.reader.find("PractitionerRole", practitioner=f"Practitioner/{author['id']}")
    roles = [item.resource() for item in stored]
    return sorted(roles, key=lambda role: role.get("organization", {}).get("reference") != organization)


async def _need(tx: Transaction, reference: Mapping[str, Any] | None, expression: str) -> dict[str, Any]:
    found = await _find(tx, str((reference or {}).get("reference", "")))
    if found is None:
        raise Unprocessable(f"{expression} names no resource that can be read here.", expression=expression)
    return found


async def _find(tx: Transaction, reference: str) -> dict[str, Any] | None:
    target = parse_reference(reference)
    if target is None:
        return None
    try:
        return (await tx.reader.read(target.type, target.id)).resource()
    except (NotFound, Gone):
        return None


def _first(references: Sequence[Mapping[str, Any]] | None) -> Mapping[str, Any] | None:
    return next(iter(references or ()), None)


def _references(ids: ReportIds) -> FinalReport:
    return FinalReport(
        diagnostic_report=f"DiagnosticReport/{ids.diagnostic_report}",
        document=f"Bundle/{ids.document}",
        composition=f"Composition/{ids.composition}",
        pdf=f"Binary/{ids.pdf}",
        provenance=f"Provenance/{ids.provenance}",
    )
