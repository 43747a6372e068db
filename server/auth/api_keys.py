"""API keys: bearer credentials that a user makes, limits and revokes.

A key is ``kin_<id>_<secret>``. Its object, ``/api-keys/<id>``, says what it is good
for; beside it, where only the server reads, stands a hash of the secret, and where the
log of accounts stood when the key was made: a key of an account that was deleted since
is dead, also if somebody has made an account of that name again.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from server.auth.verdicts import Inquiries, Verdicts
from server.core.paths import ALL_KINDS, ROOT, ListPath, parse_path
from server.core.permissions import Actor, Scope, make_actor
from server.core.revisions import Revision
from server.storage.base import LogPage, Snapshot, Storage

KEY_PREFIX = "kin_"
"""How every key begins, so that one that got out is recognised."""

KEY_BYTES = 32
"""Of randomness in a key."""

VERDICT_SECONDS = 60.0
"""That a key is known without being read again, should nobody tell of its end."""

_LOG_PAGE = 500
_ACCOUNTS = ALL_KINDS["account"].plural
_LIST_URI = f"/{ALL_KINDS['api_key'].plural}"


def key_uri(key_id: str) -> str:
    """URI of a key's object."""
    return f"{_LIST_URI}/{key_id}"


def make_key(key_id: str) -> tuple[str, str]:
    """A new key, and the hash of its secret.

    No salt and no slow hash: unlike a password it cannot be guessed.
    """
    secret = secrets.token_hex(KEY_BYTES)
    return f"{KEY_PREFIX}{key_id}_{secret}", hash_secret(secret)


def hash_secret(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def parse_key(token: str) -> tuple[str, str] | None:
    """The id and the secret of a key; None for what is none."""
    if not token.startswith(KEY_PREFIX) or not token.isascii():
        return None
    key_id, _, secret = token.removeprefix(KEY_PREFIX).rpartition("_")
    return (key_id, secret) if key_id and secret else None


@dataclass(frozen=True, slots=True)
class KeySecret:
    """What is stored beside a key.

    Attributes:
        digest: hash of its secret.
        since: position of the list of accounts when it was made.
    """

    digest: str
    since: int

    def spell(self) -> str:
        """As it is stored; never the same text twice, so that every change is noticed."""
        return f"{self.digest}:{self.since}:{secrets.token_hex(8)}"


def parse_secret(text: str) -> KeySecret | None:
    """Read what is stored beside a key; None for what cannot be one's."""
    digest, _, rest = text.partition(":")
    since = rest.partition(":")[0]
    return KeySecret(digest, int(since)) if digest and since.isdigit() else None


def read_scopes(data: Mapping[str, Any]) -> tuple[Scope, ...]:
    """What a key's object says that it is good for."""
    return tuple(Scope(one["uri"], one["access"] == "write") for one in data["scopes"])


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key that was read.

    Attributes:
        digest: hash of its secret.
        actor: whom it makes of its bearer.
    """

    digest: str
    actor: Actor


class ApiKeyAuthenticator:
    """Knows keys, and hears of their ends; see ``Authenticator`` and ``Watcher``.

    Attributes:
        name: of the policy; no user's id begins with it.
        challenge: value of ``WWW-Authenticate``.
        bucket: in which keys and accounts lie.
    """

    name = "api_keys"
    challenge = 'Bearer realm="Realm"'

    def __init__(
        self,
        storage: Storage,
        policies: Mapping[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin.

        Args:
            storage: of the keys.
            policies: kinds of the policies by name: a user of none of them is nobody.
            clock: seconds since 1970.
        """
        self.bucket: str | None = ROOT
        self._storage = storage
        self._policies = policies
        self._clock = clock
        self._known: Verdicts[str, KnownKey] = Verdicts(clock=clock)
        self._inquiries: Inquiries[str, KnownKey | None] = Inquiries()
        self._changes = 0

    async def authenticate(self, authorization: str) -> Actor | None:
        """The key's owner, limited to its scopes; see ``Authenticator``."""
        scheme, _, token = authorization.partition(" ")
        parsed = parse_key(token.strip())
        if scheme.lower() != "bearer" or parsed is None:
            return None
        key_id, secret = parsed
        known = self._known.find(key_id)
        if known is None:
            known = await self._inquiries.ask(key_id, lambda: self._look_up(key_id))
        if known is None or not hmac.compare_digest(known.digest, hash_secret(secret)):
            return None
        expires = known.actor.expires
        if expires is not None and expires <= self._clock():
            return None
        return known.actor

    def forget(self, key_id: str) -> None:
        """Read a key again when it is used next."""
        self._changes += 1
        self._known.forget(key_id)
        self._inquiries.forget(key_id)

    def tell(self, revision: Revision) -> None:
        """Forget what has changed; see ``Watcher``."""
        if revision.uri.startswith(_LIST_URI + "/"):
            self.forget(revision.uri.rpartition("/")[2])
        elif revision.action == "delete":
            self.lose()

    def lose(self) -> None:
        """Forget everything; see ``Watcher``."""
        self._changes += 1
        self._known.clear()
        self._inquiries.clear()

    async def _look_up(self, key_id: str) -> KnownKey | None:
        before = self._changes
        async with self._storage.snapshot() as snapshot:
            known = await self._read(snapshot, key_id)
        # What was read before a change must not be remembered after it.
        if known is not None and before == self._changes:
            self._known.remember(key_id, known, self._clock() + VERDICT_SECONDS)
        return known

    async def _read(self, snapshot: Snapshot, key_id: str) -> KnownKey | None:
        uri = key_uri(key_id)
        stored = (await snapshot.objects([uri])).get(uri)
        if stored is None or stored.deleted:
            return None
        secret = parse_secret(stored.secret)
        owner = next(iter(stored.acl.get("write", ())), "")
        if secret is None or not await self._exists(snapshot, owner, secret.since):
            return None
        expires = stored.data.get("expires")
        actor = replace(
            make_actor(owner),
            scopes=read_scopes(stored.data),
            expires=None if expires is None else expires / 1000,
            source=uri,
            as_of=stored.position,
        )
        return KnownKey(secret.digest, actor)

    async def _exists(self, snapshot: Snapshot, owner: str, since: int) -> bool:
        """Whether a key's owner is a user still, and the same as then."""
        policy, _, name = owner.partition(":")
        if policy not in self._policies:
            return False
        if self._policies[policy] != "accounts":
            return True
        uri = f"/{_ACCOUNTS}/{name}"
        account = (await snapshot.objects([uri])).get(uri)
        if account is None or account.deleted:
            return False
        return not await was_deleted(snapshot, uri, since)


async def was_deleted(snapshot: Snapshot, uri: str, since: int) -> bool:
    """Whether an account was deleted after a position of their list, as far as the log tells."""
    path = parse_path(f"/{_ACCOUNTS}")
    assert isinstance(path, ListPath)
    upto = await accounts_position(snapshot)
    while True:
        page = LogPage(path, since, upto, _LOG_PAGE, uri=uri, texts=False)
        entries = await snapshot.log(page)
        if any(entry.action == "delete" for entry in entries):
            return True
        if len(entries) < _LOG_PAGE:
            return False
        since = entries[-1].position


async def accounts_position(snapshot: Snapshot) -> int:
    """Where the log of accounts stands."""
    root = (await snapshot.objects([ROOT])).get(ROOT)
    clock = root.clocks.get(_ACCOUNTS) if root is not None else None
    return clock.position if clock is not None else 0
