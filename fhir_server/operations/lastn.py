"""$lastn: the newest Observations of each code.

https://hl7.org/fhir/R4/observation-operation-lastn.html
"""

from fhir_server.definitions import search_parameters
from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.search_query import SearchQuery, parse_search
from fhir_server.operations.calls.operation import Answer, Invocation, Operation, Page, Parameter, Reading
from fhir_server.store.reader import Reader

_subjects = frozenset({"patient", "subject"})
_refused = frozenset({"_sort", "_count", "_cursor", "_total", "_summary", "_elements", "_include", "_revinclude"})


async def lastn(reader: Reader, call: Invocation) -> Answer:
    """Return the ``max`` newest Observations (one, if not said) of each code that the search parameters find.

    Codes that share a coding are one, codes without codings are told by their text, and subjects are kept apart. Of
    Observations that tie for the last place all are returned. Raises InvalidSearch without a subject, or without a
    category or code.
    """
    query = _query(call)
    matches = tuple(await reader.latest(query, call.inputs.one("max", 1)))
    return Answer(Page(matches, total=len(matches)))


def _query(call: Invocation) -> SearchQuery:
    for name, _ in call.inputs.search:
        if name.partition(":")[0] in _refused:
            raise InvalidSearch(f"$lastn has its own order and size: leave '{name}' out.")
    query = parse_search("Observation", call.inputs.search, base_url=call.base_url)
    codes = {one.parameter.code for one in query.criteria if one.modifier not in ("missing", "not", "not-in")}
    if not codes & _subjects:
        raise InvalidSearch("$lastn needs 'patient' or 'subject'.")
    if not codes & _code_parameters():
        raise InvalidSearch("$lastn needs 'category' or 'code', or another parameter that looks at a code.")
    return query


def _code_parameters() -> frozenset[str]:
    """Return category and the parameters that look at a code, alone or with a value."""
    return frozenset({"category", *(code for code in search_parameters("Observation") if "code" in code.split("-"))})


OPERATION = Operation(
    name="lastn",
    definition="http://hl7.org/fhir/OperationDefinition/Observation-lastn",
    access={"type": "s"},
    resource_types=frozenset({"Observation"}),
    parameters=(Parameter("max", "positiveInt"),),
    searches=True,
    does=Reading(lastn),
)
