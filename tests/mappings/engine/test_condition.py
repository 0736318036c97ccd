import pytest

from mappings.engine.condition import compile_condition
from mappings.engine.context import Context
from mappings.engine.errors import MappingLoadError


class Message:
    unescape = staticmethod(str)
    segments = ()

    class delimiters:  # noqa: N801 - stands for a property
        component, repetition, subcomponent = "^", "~", "&"


CONTEXT = Context(Message(), None)


def holds(text, **values):
    def read(source):
        return lambda frame, _: frame.get(source, "")

    return compile_condition(text, read, read)(values, CONTEXT)


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("A valued", {"A": "x"}, True),
        ("A valued", {}, False),
        ("A not valued", {}, True),
        ("not A valued", {"A": "x"}, False),
        ("A = I", {"A": "I"}, True),
        ("A != I", {"A": "O"}, True),
        ('A = "two words"', {"A": "two words"}, True),
        ("A in [MR, PI]", {"A": "PI"}, True),
        ("A not in [MR, PI]", {"A": "PI"}, False),
        ("count(A) > 1", {"A": "1~2"}, True),
        ("count(A) = 0", {}, True),
        ("length(A) > 8", {"A": "196104120630"}, True),
        ("length(A) <= 8", {"A": "19610412"}, True),
        ("A valued and B valued", {"A": "1"}, False),
        ("A valued or B valued", {"A": "1"}, True),
        ("A = 1 or B = 1 and C = 1", {"A": "1"}, True),
        ("(A = 1 or B = 1) and C = 1", {"A": "1"}, False),
        ("not (A = 1 and B = 1)", {"A": "1"}, True),
        ("A VALUED AND NOT B VALUED", {"A": "1"}, True),
    ],
)
def test_the_guides_grammar(text, values, expected):
    assert holds(text, **values) is expected


@pytest.mark.parametrize(
    "text",
    ["", "A", "A =", "A ~ 1", "A in MR", "A in [MR", "A valued B", "count(A) > x", "(A valued"],
)
def test_anything_else_is_an_error_at_load(text):
    with pytest.raises(MappingLoadError):
        holds(text)
