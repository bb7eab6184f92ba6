"""How many items go out together, and how many of them run at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook.scale.backlog import Item
from tta_notebook.scale.hands import Dealt
from tta_notebook.scale.roster import Roster
from tta_notebook.scale.sizes import MOST_ITEMS, Sizes, shortened

COUNTS = st.integers(1, 10_000)


@pytest.mark.parametrize(
    ("limit", "items", "places", "width", "length"),
    [
        (100, 10_000, 2, 50, 500),  # a quarter of a place's share would be 1250
        (100, 1000, 2, 50, 125),  # four chunks a place
        (100, 100, 2, 50, 50),  # four a place would leave room in every place
        (100, 3, 2, 50, 2),
        (3, 12, 2, 2, 2),
        (1, 10, 4, 1, 3),  # one place is used, whatever there are
        (None, 1000, 2, 100, 125),
        (None, 10, 4, 100, 3),
        (100, None, 4, 25, 25),  # as many as run at once, where nobody knows how many there are
        (None, None, 4, 100, 100),
        (10, 0, 2, 5, 1),
    ],
)
def test_chunks_fill_their_places_and_even_out(limit, items, places, width, length):
    sizes = Sizes(limit, None, items)
    assert sizes.width(places, 0) == width
    assert sizes.length(places, width) == length


def test_what_is_left_free_beside_chunks_that_end_is_filled_bit_by_bit():
    sizes = Sizes(100, None, 10_000)
    width = sizes.width(2, running=88)
    assert (width, sizes.length(2, width)) == (12, 12)


@pytest.mark.parametrize(
    ("width", "left", "is_ending"),
    [(50, 50, False), (50, 38, False), (50, 37, True), (1, 1, False), (2, 2, False), (2, 1, True)],
)
def test_a_chunk_is_ending_when_a_quarter_of_its_width_is_free(width, left, is_ending):
    items = {index: Item(index, b"") for index in range(left)}
    assert Dealt(1, "a", items, width, 0, is_alone=False).is_ending == is_ending


def test_a_stated_size_is_kept():
    assert Sizes(4, 7, 1000).length(2, 2) == 7


@given(limit=COUNTS, places=COUNTS, running=st.integers(0, 20_000))
def test_no_chunk_is_wider_than_the_room_there_is(limit, places, running):
    width = Sizes(limit, None, None).width(places, running)
    assert (width > 0) == (running < limit)
    assert width + min(running, limit) <= limit


@given(limit=st.one_of(st.none(), COUNTS), items=COUNTS, places=COUNTS)
def test_a_chunk_has_at_least_one_item_and_not_too_many(limit, items, places):
    sizes = Sizes(limit, None, items)
    assert 1 <= sizes.length(places, sizes.width(places, 0)) <= MOST_ITEMS


def test_chunks_get_eight_times_smaller_with_every_attempt():
    assert [shortened(500, attempts) for attempts in range(5)] == [500, 62, 7, 1, 1]


def test_of_workers_beyond_the_limit_the_first_are_used():
    roster = Roster()
    assert not roster
    roster.update({"a": 1, "b": 2, "nobody": 0})
    roster.limit(2)
    roster.update({"a": 3, "b": 2, "c": 4})
    assert (list(roster), roster.places) == ([("a", 3), ("b", 2)], 5)
    roster.lose("a")
    roster.lose("unknown")
    assert list(roster) == [("b", 2), ("c", 4)]
    roster.limit(None)
    roster.update({"d": 1})
    assert roster.places == 7
