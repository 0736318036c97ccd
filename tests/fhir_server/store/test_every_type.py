"""Every resource type is written and every parameter of it searched. https://hl7.org/fhir/R4/searchparameter-registry.html"""

import pytest

from fhir_server.definitions import RESOURCE_TYPES, search_parameters
from fhir_server.kernel.search_query import parse_search

_values = {
    "string": "words",
    "token": "http://example.org/a|en",
    "reference": "p-1",
    "date": "ge2024-02",
    "number": "gt0",
    "quantity": "gt0",
    "uri": "http://example.org/a",
    "special": "47.37|8.54|5|km",
}


async def test_every_type_is_stored_read_and_searched_by_every_parameter(database, everyone, sample):
    for resource_type in sorted(RESOURCE_TYPES):
        async with database.transaction(everyone) as tx:
            for seed in range(3):
                stored = (await tx.writer.create(sample(resource_type, seed, 0.8))).stored
                assert (await tx.reader.read(resource_type, stored.id)).body == stored.body
        async with database.reading(everyone) as reader:
            for parameter in search_parameters(resource_type).values():
                for name, value in (
                    (parameter.code, _value(resource_type, parameter)),
                    (f"{parameter.code}:missing", "false"),
                ):
                    await reader.search(parse_search(resource_type, [(name, value)]))
                if parameter.type not in ("composite", "special"):
                    await reader.search(parse_search(resource_type, [("_sort", f"-{parameter.code}")]))


def _value(resource_type, parameter):
    if parameter.type != "composite":
        return _values[parameter.type]
    known = search_parameters(resource_type)
    return "$".join(_values[known[code].type] for _, code in parameter.components)


@pytest.mark.parametrize("resource_type", ["Patient", "Observation", "Encounter", "Task", "Claim", "ValueSet"])
async def test_a_resource_is_found_by_every_token_and_reference_it_was_indexed_by(
    database, everyone, sample, resource_type
):
    async with database.transaction(everyone) as tx:
        await tx.writer.create(sample(resource_type, 7, 0.9), id="findable")
        for parameter in search_parameters(resource_type).values():
            if parameter.type in _values and parameter.code not in ("_id", "_lastUpdated"):
                present = parse_search(resource_type, [(f"{parameter.code}:missing", "false"), ("_id", "findable")])
                absent = parse_search(resource_type, [(f"{parameter.code}:missing", "true"), ("_id", "findable")])
                found = [len((await tx.reader.search(query)).matches) for query in (present, absent)]
                assert sorted(found) == [0, 1], parameter.code
