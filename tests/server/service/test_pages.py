from dataclasses import replace

import pytest

from server.core.errors import InvalidParameters
from server.core.judge import ListReading
from server.core.objects import Clock, Listed
from server.core.positions import make_position
from server.service.pages import Found, Share, has_more_than_etag, make_page, next_token, nonce_of
from server.service.pages import open_token as open_page
from server.service.polls import FROM_LIST, START, Departure
from tests.server.service.pollers import OPTIONS, ask

LIST = "/buckets/b/collections/c/records"
POSITION = make_position(2_000, 1)
SHARE = Share(ListReading(Clock(POSITION, make_position(1_000)), False, False), frozenset(["p"]))


def listed(name: str, stamp: int) -> Listed:
    return Listed(
        f"{LIST}/{name}", stamp, False, b'{"id":"%s","last_modified":%d}' % (name.encode(), stamp)
    )


def test_a_page_is_the_smallest_of_what_is_asked_for_and_set() -> None:
    options = replace(OPTIONS, page_size=3, fetch_max=4)
    assert [options.page_length(asked) for asked in (None, 0, 2, 9)] == [3, 4, 2, 3]
    assert replace(options, page_size=None).page_length(None) == 4


def test_cursor_is_the_floor_of_a_page_if_it_is_higher() -> None:
    assert make_page(ask(LIST), SHARE, 1).floor == make_position(1_000)
    page = make_page(ask(LIST, "_since=1500-2"), SHARE, 1)
    assert (page.floor, page.conditions, page.tombstones) == (make_position(1_500, 2), (), True)
    assert make_page(ask(LIST, "_since=5-2"), SHARE, 1).floor == make_position(1_000)


@pytest.mark.parametrize("follows", [False, True])
def test_token_leads_to_where_the_page_ended(follows: bool) -> None:
    request = ask(LIST, "_since=5")
    mark = (FROM_LIST, [7], ["gone"])
    gone = Departure(mark, listed("gone", 7))
    found = Found([listed("r", 9)], [gone] if follows else [], is_cut=True, follows=follows)
    token = next_token(OPTIONS, request, found, POSITION)
    following = replace(request, query=replace(request.query, token=token))
    share = open_page(OPTIONS, following, SHARE)
    assert share.walk is not None
    assert (share.position, share.timestamp) == (POSITION, 2_000)
    assert share.mark == (list(mark) if follows else None)
    if follows:
        # It is no token of objects, and so none that a deletion could go on from.
        with pytest.raises(InvalidParameters):
            nonce_of(OPTIONS, following)
    else:
        assert share.walk.last == [[9], ["r"]]
        assert nonce_of(OPTIONS, following) == share.walk.nonce


def test_page_that_ends_before_the_first_departure_goes_on_there() -> None:
    request = ask(LIST, "_since=5")
    token = next_token(OPTIONS, request, Found([listed("r", 9)], [], is_cut=True, follows=True), 1)
    following = replace(request, query=replace(request.query, token=token))
    assert open_page(OPTIONS, following, SHARE).mark == list(START)


def test_last_page_and_count_have_no_token() -> None:
    request = ask(LIST)
    assert next_token(OPTIONS, request, Found([listed("r", 9)], []), 1) is None
    counted = Found([], [], 3, is_cut=True)
    assert next_token(OPTIONS, replace(request, count=True), counted, 1) is None
    assert counted.listed == ()
    assert nonce_of(OPTIONS, request) is None


def test_token_of_another_list_is_refused() -> None:
    found = Found([listed("r", 9)], [], is_cut=True)
    token = next_token(OPTIONS, ask(LIST), found, 1)
    other = ask(LIST.replace("/c/", "/d/"))
    with pytest.raises(InvalidParameters):
        open_page(OPTIONS, replace(other, query=replace(other.query, token=token)), SHARE)


def test_objects_under_a_cursor_and_departures_are_news_whatever_the_etag() -> None:
    found, nothing = Found([listed("r", 9)], []), Found([], [])
    gone = Found([], [Departure(START, listed("gone", 9))])
    for query, expected in [
        ("_since=5", [False, False, True]),
        ("_since=5-0", [True, False, True]),
    ]:
        request = ask(LIST, query)
        assert [has_more_than_etag(request, SHARE, f) for f in (found, nothing, gone)] == expected
