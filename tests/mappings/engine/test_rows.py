import pytest

from mappings.engine.errors import MappingLoadError
from mappings.engine.mapping import EffectiveMapping, load_base
from mappings.engine.outbound import compile_outbound
from mappings.engine.rows import parse_map
from mappings.engine.tables import load_tables
from mappings.engine.target import compile_target, top_element
from mappings.hl7v2.library import FOLDER, LIBRARY


@pytest.mark.parametrize(
    "spec",
    [
        {"id": "a"},
        {"to": "a", "from": "PID-1"},
        {"id": "a", "to": "b"},
        {"id": "a", "to": "b", "from": "PID-1", "value": 1},
        {"id": "a", "to": "b", "from": "PID-1", "script": "1"},
        "PID-1",
    ],
)
def test_a_row_that_says_too_little_or_too_much_is_an_error(spec):
    with pytest.raises(MappingLoadError):
        parse_map("segments", "PID.Patient", [spec])


def test_a_row_id_may_stand_once():
    row = {"id": "a", "to": "b", "from": "PID-1"}
    with pytest.raises(MappingLoadError, match="already taken"):
        parse_map("segments", "PID.Patient", [row, row])


@pytest.mark.parametrize(
    ("target", "value", "expected"),
    [
        ("birthDate", "x", {"birthDate": "x"}),
        ("period.start", "x", {"period": {"start": "x"}}),
        ("given[]", "x", {"given": ["x"]}),
        ("name[0].family", "x", {"name": [{"family": "x"}]}),
        ("diagnosis[].condition", "x", {"diagnosis": [{"condition": "x"}]}),
    ],
)
def test_a_target_is_written_where_it_says(target, value, expected):
    written = {}
    compile_target(target)(written, value)
    assert written == expected


def test_the_same_index_is_the_same_item_and_no_index_a_new_one():
    written = {}
    compile_target("a[0].b")(written, 1)
    compile_target("a[0].c")(written, 2)
    compile_target("a[].b")(written, 3)
    assert written == {"a": [{"b": 1, "c": 2}, {"b": 3}]}


def test_the_extension_of_a_primitive_belongs_to_the_primitive():
    assert top_element("_birthDate.extension[]") == "birthDate"


@pytest.mark.parametrize("target", ["", "a b", "a[x]", "a..b", "a[1"])
def test_what_is_no_target_is_an_error(target):
    with pytest.raises(MappingLoadError):
        compile_target(target)


def test_a_table_with_a_wrong_header_or_line_is_an_error(tmp_path):
    (tmp_path / "0001.x.csv").write_text("a,b\n")
    with pytest.raises(MappingLoadError, match="first line"):
        load_tables(tmp_path)
    (tmp_path / "0001.x.csv").write_text("source,target,display,system\nF,female\n")
    with pytest.raises(MappingLoadError, match="line 2"):
        load_tables(tmp_path)


@pytest.mark.parametrize(
    "row",
    [
        {"id": "a", "to": "PID-3"},
        {"id": "a", "to": "PV1-3", "from": "x"},
        {"id": "a", "to": "PID-3", "from": "x", "type": "none"},
        {"id": "a", "to": "PID-x", "from": "x"},
    ],
)
def test_an_outbound_row_that_fits_nothing_is_an_error(row):
    with pytest.raises(MappingLoadError):
        compile_outbound("X", [{"segment": "PID", "rows": [row]}], {"ST": lambda value, _: [value]})


def test_the_whole_base_mapping_compiles_and_its_hash_is_stable():
    mapping = EffectiveMapping(load_base(FOLDER), LIBRARY)
    mapping.check()
    assert mapping.hash == EffectiveMapping(load_base(FOLDER), LIBRARY).hash
    assert {mapping.message_of(f"ADT^{event}") for event in ("A01", "A03", "A08")} == {"ADT_A01"}
