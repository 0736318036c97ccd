"""Full text: what a narrative says to its reader, and everything a resource says.

https://hl7.org/fhir/R4/search.html#text. Words are found whatever their case; ``"two words"`` beside each other, ``or``
and ``-`` as in web searches. https://www.postgresql.org/docs/current/textsearch-controls.html
"""

import html
import re
from typing import Any

from sqlalchemy import JSON, ColumnElement, FromClause, Text, and_, cast, func, literal, or_
from sqlalchemy.dialects.postgresql import JSONB, REGCONFIG, TSQUERY

from fhir_server.kernel.search_values import StringValue

Json = dict[str, Any]
_tag = re.compile(r"<[^>]*>")
_plain = re.compile(r"[a-z0-9]+")
_most_characters = 200_000  # a tsvector holds one MB


def narrative(resource: Json) -> str:
    """Return the text of the narrative without its markup."""
    text = resource.get("text")
    div = text.get("div") if isinstance(text, dict) else None
    if not isinstance(div, str):
        return ""
    plain = html.unescape(_tag.sub(" ", div[:_most_characters])).replace("\x00", " ")
    return " ".join(plain.split())


def in_narrative(table: FromClause, values: tuple[StringValue, ...]) -> ColumnElement[bool]:
    """Return the condition that the narrative says one of the texts; an index answers it."""
    words = func.to_tsvector(_simple(), table.c.narrative)
    return or_(*(_matches(words, value) for value in values))


def in_content(table: FromClause, values: tuple[StringValue, ...]) -> ColumnElement[bool]:
    """Return the condition that the resource says one of the texts, anywhere. No index answers it."""
    body = cast(func.nullif(table.c.body, ""), JSON)
    words = func.json_to_tsvector(_simple(), body, cast(literal('["string", "numeric", "boolean"]', Text), JSONB))
    return or_(*(and_(*_holds(table.c.body, value), _matches(words, value)) for value in values))


def _holds(body: ColumnElement[Any], value: StringValue) -> list[ColumnElement[bool]]:
    """Return what the stored text must hold for plain words: a tenth of the work of reading it as JSON."""
    words = value.text.lower().split()
    if "or" in words or not all(_plain.fullmatch(word) for word in words):
        return []
    return [body.icontains(word, autoescape=True) for word in words]


def _simple() -> ColumnElement[Any]:
    """The configuration that takes words as they are: a record has many languages."""
    return literal("simple", REGCONFIG)


def _matches(words: ColumnElement[Any], value: StringValue) -> ColumnElement[bool]:
    wanted = func.websearch_to_tsquery(_simple(), literal(value.text, Text), type_=TSQUERY)
    return words.op("@@", is_comparison=True)(wanted)
