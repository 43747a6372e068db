"""The first of many: what of a stream of objects a page shows."""

from typing import Any, Final

from server.core.filters import matches
from server.core.objects import Listed
from server.core.sorting import is_after, sort_key
from server.storage.allowances import of_page, weigh_listed
from server.storage.base import Page

_SPARE: Final = 500
"""Objects beyond twice the page that are kept before the rest is thrown away."""

_TRIM_BYTES: Final = 4 << 20
"""Of texts, beyond which those that a page has no room for are thrown away."""


class Smallest:
    """Keeps the first objects of a page's order while all are streamed by."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._kept: list[tuple[Any, Listed]] = []
        self._bytes = 0
        self._trim_at = _TRIM_BYTES

    def add(self, stored: Listed) -> None:
        """Consider one object."""
        page, data = self._page, stored.data
        if not matches(page.conditions, data):
            return
        if page.after is not None and not is_after(page.order, data, page.after):
            return
        self._kept.append((sort_key(page.order, data), stored))
        self._bytes += len(stored.json)
        if len(self._kept) >= 2 * page.limit + _SPARE or self._bytes >= self._trim_at:
            self._trim()

    def _trim(self) -> None:
        self._kept.sort(key=lambda entry: entry[0])
        # What comes later can only push out: what does not fit now will not fit then.
        fitting = of_page(self._page).take([stored for _, stored in self._kept])
        del self._kept[len(fitting) :]
        self._bytes = sum(weigh_listed(one) for one in fitting)
        # So far beyond that sorting again and again does not cost the square.
        self._trim_at = 2 * self._bytes + _TRIM_BYTES

    def found(self) -> list[Listed]:
        """The page."""
        self._trim()
        return [stored for _, stored in self._kept]
