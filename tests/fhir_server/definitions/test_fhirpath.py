import pytest

from fhir_server.definitions import RESOURCE_TYPES, search_parameters
from fhir_server.definitions.fhirpath import (
    Binary,
    Call,
    Dot,
    ExpressionError,
    Index,
    Literal,
    Name,
    alternatives,
    parse,
    render,
    root_name,
)


def test_as_binds_tighter_than_union():
    assert parse("A.b as C | D.e") == Binary("|", Binary("as", Dot(Name("A"), Name("b")), Name("C")), parse("D.e"))


def test_functions_literals_and_indexers_are_parsed():
    assert parse("a.where(b='it\\'s')") == Dot(Name("a"), Call("where", (Binary("=", Name("b"), Literal("it's")),)))
    assert parse("a[0]") == Index(Name("a"), 0)
    assert parse("a.exists() and a != false") == Binary(
        "and", Dot(Name("a"), Call("exists", ())), Binary("!=", Name("a"), Literal(value=False))
    )


def test_alternatives_and_roots_of_a_union_are_found():
    found = alternatives(parse("Patient.name | (Person.name as HumanName) | name"))
    assert [root_name(node) for node in found] == ["Patient", "Person", "name"]


def test_what_is_rendered_parses_to_the_same_tree():
    expressions = {p.expression for t in RESOURCE_TYPES for p in search_parameters(t).values()}
    for expression in expressions:
        assert parse(render(parse(expression))) == parse(expression)


@pytest.mark.parametrize("expression", ["", "a.", "a b", "a.where(", "a[b]", "(a", "a ~ b", "a.b()c", "'open"])
def test_what_is_no_expression_is_refused(expression):
    with pytest.raises(ExpressionError):
        parse(expression)
