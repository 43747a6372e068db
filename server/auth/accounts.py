"""Basic auth against accounts: name and password, the latter stored as a hash.

A verdict is remembered, keyed by an HMAC so that no password stays in memory. It
holds for a while; then the account is read again, and only if its hash has become
another the password is checked anew. Whatever happens to an account is heard of
from the log, so on every process; then its verdicts are forgotten at once.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, replace

from server.auth.basic import parse_credentials
from server.auth.passwords import Passwords
from server.core.objects import StoredObject
from server.core.paths import ALL_KINDS, ROOT, is_valid_id
from server.core.permissions import Actor, make_actor
from server.core.revisions import Revision
from server.storage.base import Storage

ACCOUNTS = "/accounts"
"""URI of the list."""

MAX_RIGHT = 10_000
MAX_WRONG = 2_000
"""Verdicts that are remembered; the wrong ones cannot push out the right ones."""


def account_uri(name: str) -> str:
    """URI of an account."""
    return f"{ACCOUNTS}/{name}"


def is_validated(account: StoredObject) -> bool:
    """Whether its address is known to be its user's; of an older account, yes."""
    return bool(account.data.get("validated", True))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a name and a password.

    Attributes:
        right: whether they are an account's.
        secret: the hash that was looked at; empty for none.
        position: of the account then.
        until: when it has to be looked at again, by the monotonic clock.
    """

    right: bool
    secret: str
    position: int
    until: float


class Verdicts:
    """The latest verdicts, by URI and digest."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._verdicts: OrderedDict[tuple[str, bytes], Verdict] = OrderedDict()
        self._digests: dict[str, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._verdicts)

    def get(self, key: tuple[str, bytes]) -> Verdict | None:
        """One of them; it is the latest then."""
        found = self._verdicts.get(key)
        if found is not None:
            self._verdicts.move_to_end(key)
        return found

    def put(self, key: tuple[str, bytes], verdict: Verdict) -> None:
        """Remember one; the oldest is forgotten if there are too many."""
        self._verdicts[key] = verdict
        self._verdicts.move_to_end(key)
        self._digests.setdefault(key[0], set()).add(key[1])
        if len(self._verdicts) > self._max_size:
            self.drop(next(iter(self._verdicts)))

    def drop(self, key: tuple[str, bytes]) -> None:
        """Forget one."""
        if self._verdicts.pop(key, None) is not None:
            digests = self._digests[key[0]]
            digests.discard(key[1])
            if not digests:
                del self._digests[key[0]]

    def forget(self, uri: str) -> None:
        """Forget those of an account."""
        for digest in self._digests.pop(uri, ()):
            del self._verdicts[uri, digest]

    def clear(self) -> None:
        """Forget all."""
        self._verdicts.clear()
        self._digests.clear()


@dataclass(slots=True)
class _Look:
    """A check under way; it does not count for the future if its account has changed."""

    task: asyncio.Task[Verdict] | None = None
    stale: bool = False


class Accounts:
    """Tells whether a name and a password are an account's; see ``Watcher``.

    Attributes:
        bucket: in which accounts lie.
    """

    bucket: str | None = ROOT

    def __init__(
        self, storage: Storage, passwords: Passwords, seconds: float, *, only_validated: bool
    ) -> None:
        """Begin.

        Args:
            storage: of the accounts.
            passwords: checks them.
            seconds: that a verdict holds.
            only_validated: whether an account with an address that nobody has
                confirmed is as none.
        """
        self._storage = storage
        self._passwords = passwords
        self._seconds = seconds
        self._only_validated = only_validated
        # Whoever reads this process's memory cannot try passwords elsewhere.
        self._key = secrets.token_bytes(32)
        self._right = Verdicts(MAX_RIGHT)
        self._wrong = Verdicts(MAX_WRONG)
        self._looks: dict[tuple[str, bytes], _Look] = {}

    async def check(self, name: str, password: str) -> int | None:
        """Whether they are an account's.

        Returns:
            The account's position; None if they are not.

        Raises:
            Unavailable: If it cannot be known now.
        """
        uri = account_uri(name)
        said = f"{name}\0{password}".encode(errors="surrogatepass")
        key = uri, hmac.digest(self._key, said, hashlib.sha256)
        known = self._right.get(key) or self._wrong.get(key)
        if known is None or known.until <= time.monotonic():
            known = await self._look_once(key, password, known)
        return known.position if known.right else None

    async def _look_once(
        self, key: tuple[str, bytes], password: str, known: Verdict | None
    ) -> Verdict:
        """Of many who say the same at once one is checked."""
        look = self._looks.get(key)
        if look is None:
            look = self._looks[key] = _Look()
            task = asyncio.ensure_future(self._look(look, key, password, known))
            look.task = task
            begun = look
            task.add_done_callback(lambda done: self._end(key, begun, done))
        assert look.task is not None
        # Who leaves must not take it from the others.
        return await asyncio.shield(look.task)

    def _end(self, key: tuple[str, bytes], look: _Look, task: asyncio.Task[Verdict]) -> None:
        if self._looks.get(key) is look:
            del self._looks[key]
        if not task.cancelled():
            # All who waited for it may be gone.
            task.exception()

    async def _look(
        self, look: _Look, key: tuple[str, bytes], password: str, known: Verdict | None
    ) -> Verdict:
        uri = key[0]
        async with self._storage.snapshot() as snapshot:
            account = (await snapshot.objects([uri])).get(uri)
        secret = self._secret_of(account)
        if known is not None and known.secret == secret:
            right = known.right
        else:
            right = await self._passwords.matches(password, secret)
        position = account.position if account else 0
        verdict = Verdict(right, secret, position, time.monotonic() + self._seconds)
        if not look.stale:
            self._remember(key, verdict)
        return verdict

    def _secret_of(self, account: StoredObject | None) -> str:
        if account is None or account.deleted:
            return ""
        if self._only_validated and not is_validated(account):
            return ""
        return account.secret

    def _remember(self, key: tuple[str, bytes], verdict: Verdict) -> None:
        self._right.drop(key)
        self._wrong.drop(key)
        (self._right if verdict.right else self._wrong).put(key, verdict)

    def forget(self, uri: str) -> None:
        """Something happened to an account: whoever uses it is looked at again."""
        self._right.forget(uri)
        self._wrong.forget(uri)
        for key in [key for key in self._looks if key[0] == uri]:
            self._looks.pop(key).stale = True

    # What the log says; see ``Watcher``.

    def tell(self, revision: Revision) -> None:
        """See ``Watcher``."""
        if revision.list == ACCOUNTS:
            self.forget(revision.uri)

    def lose(self) -> None:
        """See ``Watcher``."""
        self._right.clear()
        self._wrong.clear()
        for look in self._looks.values():
            look.stale = True
        self._looks.clear()


class AccountsAuthenticator:
    """Knows who has an account; see ``Authenticator``.

    Attributes:
        name: of the policy.
        challenge: value of ``WWW-Authenticate``.
    """

    challenge = 'Basic realm="Realm"'

    def __init__(self, name: str, accounts: Accounts) -> None:
        self.name = name
        self._accounts = accounts

    async def authenticate(self, authorization: str) -> Actor | None:
        """The user ``<policy>:<id of the account>``; see ``Authenticator``."""
        said = parse_login(authorization)
        if said is None:
            return None
        name, password = said
        position = await self._accounts.check(name, password)
        if position is None:
            return None
        actor = make_actor(f"{self.name}:{name}")
        return replace(actor, source=account_uri(name), as_of=position)


def parse_login(authorization: str) -> tuple[str, str] | None:
    """Id of an account and password of a basic ``Authorization``; None if it is another.

    Raises:
        InvalidAuth: If it is malformed.
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    raw = parse_credentials(encoded)
    try:
        credentials = raw.decode()
    except UnicodeDecodeError:
        # Browsers of old.
        credentials = raw.decode("latin-1")
    name, _, password = credentials.partition(":")
    if not is_valid_id(name, ALL_KINDS["account"].ids):
        return None
    return name, password
