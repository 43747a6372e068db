"""What becomes of the API keys of an account that is deleted: they go, too.

Such a key is dead already, for whoever looks at it (``server.auth.api_keys``). Removing
it tells those who use it at this moment, over a live connection.
"""

import asyncio
import logging
from collections.abc import Collection

from server.auth.api_keys import parse_secret
from server.core.commands import Command, RemoveMany
from server.core.errors import SyncError
from server.core.paths import ALL_KINDS, ROOT, ListPath, parse_path
from server.core.permissions import make_actor
from server.core.revisions import Revision
from server.storage.base import Storage

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
"""After which a removal that failed is tried again."""

REMOVE_AT_ONCE = 100

_ACCOUNTS = f"/{ALL_KINDS['account'].plural}"
_KEYS = f"/{ALL_KINDS['api_key'].plural}"


class OrphanKeys:
    """Removes the keys of accounts that are no more; every process does, and one succeeds.

    Attributes:
        bucket: in which accounts lie; see ``notifier.pump.Watcher``.
    """

    def __init__(self, storage: Storage, policies: Collection[str]) -> None:
        """Begin.

        Args:
            storage: of the keys.
            policies: names of those whose users have accounts.
        """
        self.bucket: str | None = ROOT
        self._storage = storage
        self._policies = tuple(policies)
        self._gone: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    def tell(self, revision: Revision) -> None:
        """Note an account that was deleted."""
        if revision.action == "delete" and revision.list == _ACCOUNTS:
            name = revision.uri.rpartition("/")[2]
            for policy in self._policies:
                self._gone.put_nowait((f"{policy}:{name}", revision.position))

    def lose(self) -> None:
        """Nothing: the keys of an account that nobody told of are dead all the same."""

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            owner, position = await self._gone.get()
            try:
                await self.remove(owner, position)
            except SyncError as error:
                logger.info("keys of %s cannot be removed yet: %s", owner, error.message)
                await asyncio.sleep(RETRY_SECONDS)
                self._gone.put_nowait((owner, position))

    async def remove(self, owner: str, position: int) -> None:
        """Remove the keys that a user has made before a position of the list of accounts.

        Raises:
            Unavailable: If the database cannot be reached.
        """
        async with self._storage.snapshot() as snapshot:
            named = await snapshot.named([owner])
        ids = []
        for stored in named:
            secret = parse_secret(stored.secret)
            is_key = stored.uri.startswith(_KEYS + "/") and not stored.deleted
            if is_key and secret is not None and secret.since < position:
                ids.append(stored.path.id)
        path = parse_path(_KEYS)
        assert isinstance(path, ListPath)
        for start in range(0, len(ids), REMOVE_AT_ONCE):
            part = RemoveMany(make_actor(owner), path, tuple(ids[start : start + REMOVE_AT_ONCE]))
            await self._storage.commit(Command((part,)))
