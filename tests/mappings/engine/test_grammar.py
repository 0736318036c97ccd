from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.engine.errors import MappingLoadError
from mappings.engine.grammar import Group, build_groups, parse_grammar

ORU = parse_grammar(
    [
        "MSH",
        {"RESULT*": [{"PATIENT?": ["PID", "NTE*"]}, {"ORDER*": ["ORC?", "OBR", "NTE*", {"OBS*": ["OBX", "NTE*"]}]}]},
    ]
)


@dataclass
class Segment:
    name: str
    position: int = 1
    fields: tuple = ()


def shape(entry):
    if isinstance(entry, Group):
        return {entry.name: [shape(inner) for inner in entry.entries]}
    return entry.name


def built(text):
    warnings = []
    root = build_groups(ORU, [Segment(name) for name in text.split()], warnings.append)
    return shape(root)[""], warnings


def test_segments_fall_into_their_groups():
    tree, warnings = built("MSH PID NTE ORC OBR OBX NTE OBX OBR OBX")
    assert tree == [
        "MSH",
        {
            "RESULT": [
                {"PATIENT": ["PID", "NTE"]},
                {"ORDER": ["ORC", "OBR", {"OBS": ["OBX", "NTE"]}, {"OBS": ["OBX"]}]},
                {"ORDER": ["OBR", {"OBS": ["OBX"]}]},
            ]
        },
    ]
    assert warnings == []


def test_a_second_patient_begins_a_new_result():
    tree, _ = built("MSH PID OBR PID OBR")
    assert [list(entry) for entry in tree[1:]] == [["RESULT"], ["RESULT"]]


def test_an_unknown_segment_stays_with_the_group_before_it_and_is_noted():
    tree, warnings = built("MSH PID OBR OBX QQQ")
    assert tree[1]["RESULT"][1] == {"ORDER": ["OBR", {"OBS": ["OBX", "QQQ"]}]}
    assert warnings == ["segment QQQ[1] has no place here; kept with the group before it"]


def test_a_z_segment_is_kept_without_a_word():
    tree, warnings = built("MSH PID ZPD")
    assert tree[1]["RESULT"] == [{"PATIENT": ["PID", "ZPD"]}]
    assert warnings == []


@given(st.lists(st.sampled_from(["PID", "OBR", "ORC", "OBX", "NTE", "ZZZ", "QQQ", "MSH"]), max_size=30))
def test_no_segment_is_ever_dropped_or_doubled(names):
    segments = [Segment(name) for name in names]
    root = build_groups(ORU, segments, lambda _: None)
    for name in set(names):
        own = [id(segment) for segment in segments if segment.name == name]
        assert [id(segment) for segment, _ in root.placed[name]] == own
        assert sorted(id(segment) for segment, _ in root.walk(name)) == sorted(own)


def test_an_item_that_is_neither_segment_nor_group_is_an_error():
    with pytest.raises(MappingLoadError):
        parse_grammar([{"A": [], "B": []}])
