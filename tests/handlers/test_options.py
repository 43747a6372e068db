import time

import pytest

from handlers.options import HttpOptions
from server.core.errors import ServiceDeprecated

NAMED = HttpOptions(origins=("https://a.example",))


def test_pages_of_named_origins_may_read_and_others_may_not() -> None:
    assert NAMED.allows("https://a.example")
    assert not NAMED.allows("https://b.example")
    assert HttpOptions().allows("https://b.example")


@pytest.mark.parametrize(
    ("options", "origin", "headers"),
    [
        (HttpOptions(), None, {"Access-Control-Allow-Origin": "*"}),
        (
            NAMED,
            "https://a.example",
            {"Vary": "Origin", "Access-Control-Allow-Origin": "https://a.example"},
        ),
        (NAMED, "https://b.example", {"Vary": "Origin"}),
        (NAMED, None, {"Vary": "Origin"}),
    ],
)
def test_answer_says_whose_pages_may_read_it(
    options: HttpOptions, origin: str | None, headers: dict[str, str]
) -> None:
    assert options.cors_headers(origin) == headers


def test_service_is_over_at_its_end_and_not_before() -> None:
    HttpOptions(eos=time.time() + 60).check_service()
    HttpOptions().check_service()
    with pytest.raises(ServiceDeprecated):
        HttpOptions(eos=time.time() - 1).check_service()
