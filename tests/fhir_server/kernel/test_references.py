import pytest

from fhir_server.kernel.references import Reference, is_id, new_id, parse_reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", Reference("Patient", "1")),
        ("Patient/a-b.C/_history/7", Reference("Patient", "a-b.C", "7")),
        ("MedicinalProduct/x", Reference("MedicinalProduct", "x")),
    ],
)
def test_literal_references_are_parsed_and_written_back(text, expected):
    assert parse_reference(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    ["", "1", "Patient", "Patient/", "Unicorn/1", "patient/1", "Patient/1/", "Patient/1/_history", "http://x/Patient/1",
     "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "#p", "Patient/" + "x" * 65, "Patient/1 ", "Patient/ä"],
)  # fmt: skip
def test_anything_else_is_no_literal_reference(text):
    assert parse_reference(text) is None


def test_new_ids_are_ids_and_differ():
    made = {new_id() for _ in range(100)}
    assert len(made) == 100
    assert all(map(is_id, made))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a-1.B", True), ("x" * 64, True), ("", False), ("x" * 65, False), ("a_b", False), ("a\n", False)],
)
def test_ids_are_up_to_64_letters_digits_hyphens_and_points(text, expected):
    assert is_id(text) is expected
