"""Narrative XHTML of the report's sections: every word people wrote is escaped, no attribute is theirs.

https://hl7.org/fhir/R4/narrative.html
"""

import re
from collections.abc import Iterable
from html import escape
from typing import Any

from cases.report_content import ReportContent

_not_xml = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def narrative(body: str) -> dict[str, str]:
    """Return a Narrative of finished XHTML ``body``."""
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{body}</div>'}


def prose(text: str) -> str:
    """Return paragraphs of XHTML for plain text: a blank line ends a paragraph, a line break stays one."""
    blocks = (block.strip() for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")))
    return "".join(f"<p>{'<br/>'.join(clean(line) for line in block.split(chr(10)))}</p>" for block in blocks if block)


def clean(text: str) -> str:
    """Return ``text`` escaped for XHTML, without characters XML cannot carry."""
    return escape(_not_xml.sub("", text))


def answers(content: ReportContent) -> dict[str, str]:
    """Return the narrative of questions and answers, as a definition list."""
    pairs = (f"<dt>{clean(answer.question)}</dt><dd>{prose(answer.answer)}</dd>" for answer in content.opinion.answers)
    return narrative(f"<dl>{''.join(pairs)}</dl>")


def records(content: ReportContent) -> dict[str, str]:
    """Return the narrative of the records reviewed, as a table."""
    if not content.records:
        return narrative("<p>No records were listed for this report.</p>")
    rows = (_row((record.date, record.title, record.source)) for record in content.records)
    head = "<thead><tr><th>Date</th><th>Record</th><th>Source</th></tr></thead>"
    return narrative(f"<table>{head}<tbody>{''.join(rows)}</tbody></table>")


def summary(content: ReportContent, outcome: str) -> dict[str, str]:
    """Return the narrative of the document as a whole: who it is about and what came out."""
    lines: tuple[tuple[str, Any], ...] = (
        ("Patient", f"{content.patient.name} {content.patient.detail}"),
        ("Case", content.case_number),
        ("Specialist", content.specialist.name),
        ("Outcome", outcome),
    )
    return narrative("".join(f"<p><b>{label}:</b> {clean(text)}</p>" for label, text in lines))


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<td>{clean(cell)}</td>' for cell in cells)}</tr>"
