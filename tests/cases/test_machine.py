from itertools import product
from pathlib import Path

import pytest

from cases import codes, machine
from cases.machine import TABLE, State
from cases.preconditions import PRECONDITIONS

_cells = [
    (kind, source, target)
    for kind in codes.KINDS
    for source, target in product((None, *machine.states(kind)), machine.states(kind))
    if source != target
]
_legal = {(row.kind, row.source, row.target) for row in TABLE}


@pytest.mark.parametrize(("kind", "source", "target"), [cell for cell in _cells if cell not in _legal])
def test_a_cell_that_is_no_row_is_illegal(kind, source, target):
    assert machine.find(kind, source, target) is None
    assert target not in machine.targets(kind, source)


def test_every_row_is_written_once():
    assert len(_legal) == len(TABLE)


@pytest.mark.parametrize("kind", codes.KINDS)
def test_every_state_can_be_reached_from_creation(kind):
    reached, frontier = set(), {None}
    while frontier:
        found = {target for source in frontier for target in machine.targets(kind, source)}
        frontier = found - reached
        reached |= found
    assert reached == set(machine.states(kind))


@pytest.mark.parametrize("row", [row for row in TABLE if row.source and row.source.closed], ids=str)
def test_a_closed_task_only_becomes_entered_in_error(row):
    assert row.target == State("entered-in-error")


@pytest.mark.parametrize("kind", codes.KINDS)
def test_every_open_state_has_a_way_out(kind):
    stuck = [state for state in machine.states(kind) if not state.closed and not machine.targets(kind, state)]
    assert stuck == []


def test_rows_name_only_known_actors_and_preconditions():
    assert {actor for row in TABLE for actor in row.actors} == machine.ACTORS
    assert {name for row in TABLE for name in row.needs} == set(PRECONDITIONS)


def test_only_a_received_case_can_be_rejected():
    sources = {row.source.status for row in TABLE if row.kind == codes.CASE and row.target.status == "rejected"}
    assert sources == {"received"}


def test_a_submitted_case_may_leave_its_business_status_out():
    task = {"status": "requested", "code": codes.concept(codes.SO_TASK, codes.CASE)}
    assert machine.state_of(task) == State("requested", codes.SUBMITTED)


def test_the_documentation_shows_the_diagrams_the_table_prints():
    text = Path("docs/cases.md").read_text()
    for kind in codes.KINDS:
        assert machine.diagram(kind) in text
