import base64

import pytest

from fhir_server.kernel.errors import InvalidSearch
from fhir_server.kernel.subject import Subject

BASE = {"resourceType": "Basic", "code": {"text": "page"}}


@pytest.fixture
async def basics(shelf):
    """Twenty resources: every third without a date, dates in pairs."""
    for number in range(20):
        date = {} if number % 3 == 0 else {"created": f"2024-01-{number // 2 + 1:02}"}
        await shelf.update({**BASE, "id": f"b{number:02}", **date})
    return shelf


async def walk(shelf, *pairs, between=None):
    seen, cursor = [], None
    while True:
        page = await shelf.page("Basic", *pairs, *([("_cursor", cursor)] if cursor else []))
        seen += [stored.id for stored in page.matches]
        if page.next is None:
            return seen
        cursor = page.next
        if between:
            await between()


@pytest.mark.parametrize("count", [1, 3, 7, 19, 20, 21])
@pytest.mark.parametrize(
    "sort", ["_id", "-_id", "created", "-created", "-created,-_lastUpdated", "_lastUpdated", "code"]
)
async def test_pages_together_are_the_whole_in_order(basics, sort, count):
    whole = await basics.search("Basic", ("_sort", sort), ("_count", "100"))
    assert len(whole) == 20
    assert await walk(basics, ("_sort", sort), ("_count", str(count))) == whole


@pytest.mark.parametrize("sort", ["created", "-created"])
async def test_resources_without_the_sort_value_come_last(basics, sort):
    whole = await basics.search("Basic", ("_sort", sort))
    assert whole[-7:] == ["b00", "b03", "b06", "b09", "b12", "b15", "b18"]


async def test_ties_are_ordered_by_id(basics):
    whole = await basics.search("Basic", ("_sort", "-created"))
    assert whole[:3] == ["b19", "b16", "b17"]


async def test_writes_between_two_pages_neither_repeat_nor_lose_what_was_there(basics):
    written = iter(range(100))

    async def write():
        await basics.update({**BASE, "id": f"a{next(written):02}", "created": "2023-01-01"})
        await basics.update({**BASE, "id": f"c{next(written):02}", "created": "2025-01-01"})
        await basics.delete("Basic", "a00")

    seen = await walk(basics, ("_sort", "-created"), ("_count", "4"), between=write)
    old = [id for id in seen if id.startswith("b")]
    assert sorted(old) == [f"b{number:02}" for number in range(20)]


async def test_a_cursor_that_was_tampered_with_is_refused(basics):
    cursor = (await basics.page("Basic", ("_count", "2"))).next
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for place in range(len(raw)):
        changed = raw.copy()
        changed[place] ^= 1
        with pytest.raises(InvalidSearch):
            await basics.page("Basic", ("_count", "2"), ("_cursor", base64.urlsafe_b64encode(changed).decode()))


@pytest.mark.parametrize("cursor", ["x", "!", "ü", "A" * 5000])
async def test_a_cursor_that_is_none_is_refused(basics, cursor):
    with pytest.raises(InvalidSearch):
        await basics.page("Basic", ("_cursor", cursor))


async def test_a_cursor_is_good_for_its_own_search_only(basics):
    cursor = (await basics.page("Basic", ("_count", "2"))).next
    with pytest.raises(InvalidSearch):
        await basics.page("Basic", ("_count", "2"), ("_sort", "-_id"), ("_cursor", cursor))
    page = await basics.page("Basic", ("_count", "5"), ("_cursor", cursor))
    assert [stored.id for stored in page.matches] == (await basics.search("Basic"))[2:7]


async def test_a_cursor_of_another_subject_is_refused(basics):
    cursor = (await basics.page("Basic", ("_count", "2"))).next
    other = basics.of(Subject.system("other", "system/Basic.rs"))
    with pytest.raises(InvalidSearch):
        await other.page("Basic", ("_count", "2"), ("_cursor", cursor))


async def test_a_cursor_holds_after_a_restart(basics, database_url, everyone):
    cursor = (await basics.page("Basic", ("_count", "2"))).next
    first = await basics.page("Basic", ("_count", "2"), ("_cursor", cursor))
    restarted = await type(basics.database).open(database_url)
    basics.database, old = restarted, basics.database
    try:
        assert (await basics.page("Basic", ("_count", "2"), ("_cursor", cursor))).matches == first.matches
    finally:
        basics.database = old
        await restarted.close()
