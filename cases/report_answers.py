"""Read the specialist's QuestionnaireResponse against the intake's: every question needs an answer.

Question ``question-n`` of the intake is answered under ``answer-n``; the outcome is coded, the opinions are prose.
https://hl7.org/fhir/R4/questionnaireresponse.html#link
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cases import codes
from cases.report_content import Answer, Opinion
from fhir_server.kernel.errors import Issue, Unprocessable

_ROOT = "QuestionnaireResponse"
_TRIALS = "trials"
_NO_LIMITATIONS = "The specialist stated none."


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the intake: its number as text (``2`` of ``question-2``) and its words."""

    number: str
    text: str


def questions(intake: Mapping[str, Any]) -> tuple[Question, ...]:
    """Return the questions the intake asks, in its order; a question field left empty asks nothing."""
    found = (
        Question(str(item["linkId"]).removeprefix(codes.QUESTION_PREFIX), _text(item))
        for _, item in _items(intake)
        if str(item.get("linkId", "")).startswith(codes.QUESTION_PREFIX)
    )
    return tuple(question for question in found if question.text)


def opinion(answers: Mapping[str, Any], intake: Mapping[str, Any]) -> Opinion:
    """Return what the specialist wrote.

    Raises Unprocessable with one issue for each question, outcome or opinion that is missing.
    """
    asked = questions(intake)
    written = {str(item.get("linkId")): (path, item) for path, item in _items(answers)}
    issues = [*_unanswered(asked, written), *_incomplete(written)]
    if issues:
        raise Unprocessable(issues=tuple(issues))
    return Opinion(
        outcome=str(_outcome(written[codes.LINK_OUTCOME][1])),
        diagnosis=_text(written[codes.LINK_DIAGNOSIS][1]),
        plan=_text(written[codes.LINK_PLAN][1]),
        trials=_text(written.get(_TRIALS, ("", {}))[1]),
        limitations=_text(written.get(codes.LINK_LIMITATIONS, ("", {}))[1]) or _NO_LIMITATIONS,
        answers=tuple(
            Answer(question.number, question.text, _text(written[codes.ANSWER_PREFIX + question.number][1]))
            for question in asked
        ),
    )


_Written = Mapping[str, tuple[str, Mapping[str, Any]]]


def _unanswered(asked: tuple[Question, ...], written: _Written) -> Iterator[Issue]:
    if not asked:
        yield Issue("required", "The intake asks no question, so there is nothing to report on.", _ROOT)
    for question in asked:
        link = codes.ANSWER_PREFIX + question.number
        path, item = written.get(link, (f"{_ROOT}.item", {}))
        if not _text(item):
            yield Issue(
                "required",
                f"Question {question.number} has no answer. Answer it in the item with linkId '{link}'.",
                f"{path}.answer" if item else path,
            )


def _incomplete(written: _Written) -> Iterator[Issue]:
    for link, what in ((codes.LINK_DIAGNOSIS, "opinion on the diagnosis"), (codes.LINK_PLAN, "opinion on the plan")):
        path, item = written.get(link, (f"{_ROOT}.item", {}))
        if not _text(item):
            yield Issue(
                "required", f"The {what} is missing. Write it in linkId '{link}'.", f"{path}.answer" if item else path
            )
    path, item = written.get(codes.LINK_OUTCOME, (f"{_ROOT}.item", {}))
    if _outcome(item) not in codes.OUTCOMES:
        known = ", ".join(codes.OUTCOMES)
        yield Issue(
            "code-invalid" if item else "required",
            f"The outcome must be one coding of {codes.SO_OUTCOME} in linkId '{codes.LINK_OUTCOME}': {known}.",
            f"{path}.answer" if item else path,
        )


def _items(parent: Mapping[str, Any], path: str = _ROOT) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for index, item in enumerate(parent.get("item", ())):
        here = f"{path}.item[{index}]"
        yield here, item
        yield from _items(item, here)
        for number, answer in enumerate(item.get("answer", ())):
            yield from _items(answer, f"{here}.answer[{number}]")


def _text(item: Mapping[str, Any]) -> str:
    parts = (str(answer.get("valueString", "")).strip() for answer in item.get("answer", ()))
    return "\n\n".join(part for part in parts if part)


def _outcome(item: Mapping[str, Any]) -> str | None:
    given = [answer["valueCoding"] for answer in item.get("answer", ()) if "valueCoding" in answer]
    return codes.code_in({"coding": given}, codes.SO_OUTCOME) if len(given) == 1 else None
