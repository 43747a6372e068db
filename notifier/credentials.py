"""Whose credentials are over: their account's password has changed, or their time is up."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Protocol

from server.core.errors import InvalidAuth, SyncError
from server.core.objects import StoredObject
from server.core.paths import ROOT
from server.core.permissions import Actor
from server.core.revisions import Revision
from server.storage.base import Storage

logger = logging.getLogger(__name__)

UNAUTHORIZED = 4401
"""Code of the close."""

MAX_CHANGES = 10_000
"""That are remembered: of who was identified before such a change, and came in after it."""


def over() -> InvalidAuth:
    """The error for who is let out."""
    return InvalidAuth("These credentials are not valid any more.")


class Holder(Protocol):
    """Somebody who was let in by credentials, and stays.

    Attributes:
        actor: who they are.
    """

    @property
    def actor(self) -> Actor:
        """See above."""

    def expel(self) -> None:
        """Let them out; once is enough."""


class Credentials:
    """Hears which accounts and keys have changed, and lets out who used them; see ``Watcher``.

    Attributes:
        bucket: in which these lie.
    """

    bucket: str | None = ROOT

    def __init__(self, holders: Callable[[], Iterable[Holder]]) -> None:
        """Begin.

        Args:
            holders: all that there are.
        """
        self._holders = holders
        self._changes: OrderedDict[str, int] = OrderedDict()
        self._doubtful = False

    def are_over(self, actor: Actor) -> bool:
        """Whether somebody is to be asked again who they are."""
        if actor.expires is not None and time.time() >= actor.expires:
            return True
        return bool(actor.source) and self._changes.get(actor.source, -1) > actor.as_of

    def tell(self, revision: Revision) -> None:
        """See ``Watcher``."""
        if revision.uri not in revision.touched:
            return
        self._changes[revision.uri] = revision.position
        self._changes.move_to_end(revision.uri)
        if len(self._changes) > MAX_CHANGES:
            self._changes.popitem(last=False)
        self._expel(lambda actor: actor.source == revision.uri and self.are_over(actor))

    def lose(self) -> None:
        """See ``Watcher``."""
        self._doubtful = True

    def tick(self) -> None:
        """Once in a while: let out whose time is up."""
        self._expel(self.are_over)

    def _expel(self, is_meant: Callable[[Actor], bool]) -> None:
        for holder in list(self._holders()):
            try:
                if is_meant(holder.actor):
                    holder.expel()
            except Exception:
                # All the others have to go, too.
                logger.exception("somebody could not be let out")

    async def check(self, storage: Storage) -> None:
        """If changes may have passed unheard: look at what everybody was let in by."""
        if not self._doubtful:
            return
        self._doubtful = False
        sources = {holder.actor.source for holder in self._holders()} - {""}
        try:
            async with storage.snapshot() as snapshot:
                found = await snapshot.objects(sources, texts=False) if sources else {}
        except SyncError as error:
            self._doubtful = True
            logger.info("accounts cannot be looked at: %s", error)
            return
        self._expel(lambda actor: actor.source in sources and _has_changed(actor, found))


def _has_changed(actor: Actor, found: dict[str, StoredObject]) -> bool:
    """Whether somebody's account or key is not what it was; in doubt it is not."""
    stored = found.get(actor.source)
    if stored is None or stored.deleted:
        return True
    return 0 < actor.as_of < stored.position
