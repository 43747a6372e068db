"""Accounts: what is done with requests on them before they are planned as objects.

The password is taken out of the body and hashed; the hash is stored beside the
object. So no answer, no list, no event and no log has ever seen either.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from handlers.messages import ApiRequest, ApiResponse
from handlers.routing import Prepared
from server.auth.accounts import Accounts, account_uri, is_validated, parse_login
from server.auth.passwords import Passwords
from server.core.accounts import split_content, split_patch
from server.core.contents import NO_ID, Content, check_new_id, check_same_id, parse_content
from server.core.errors import MissingAuth, invalid
from server.core.json_text import dump_json, load_json
from server.core.judge import Judge
from server.core.objects import StoredObject
from server.core.patches import PATCH_TYPES
from server.core.paths import ListPath, ObjectPath
from server.core.permissions import EVERYONE, Actor, Rules, make_actor
from server.core.preconditions import ANY
from server.service.account_mails import AccountMails
from server.storage.base import Storage
from server.storage.reader import Reader


@dataclass(frozen=True, slots=True)
class AccountOptions:
    """What the operator has set about accounts.

    Attributes:
        policy: name of the policy: the prefix of their users' ids.
        email: what an id has to look like for mail to be sent to it; None if it may be any.
    """

    policy: str
    email: re.Pattern[str] | None = None

    def owner(self, path: ObjectPath) -> str:
        """The user id of an account's user."""
        return f"{self.policy}:{path.id}"


class AccountRequests:
    """Prepares requests on accounts; see ``Prepare``."""

    def __init__(
        self,
        options: AccountOptions,
        storage: Storage,
        rules: Rules,
        passwords: Passwords,
        accounts: Accounts,
        mails: AccountMails | None,
    ) -> None:
        """Begin.

        Args:
            options: what the operator has set.
            storage: of the accounts.
            rules: about permissions.
            passwords: hashes them.
            accounts: has to forget what it knows of one that changes.
            mails: to new users; None where addresses are not confirmed.
        """
        self._options = options
        self._storage = storage
        self._rules = rules
        self._passwords = passwords
        self._accounts = accounts
        self._mails = mails

    async def prepare(self, request: ApiRequest, path: ObjectPath | ListPath) -> Prepared:
        """See ``Prepare``."""
        if not request.is_read:
            # Before anything is hashed; a read may want a stream.
            request.check_acceptable()
        if isinstance(path, ListPath):
            if request.method == "POST":
                return await self._create(request, path)
            self._check_known(request.actor)
            return Prepared(request, self._forget_all if request.method == "DELETE" else None)
        if not path.valid or request.method not in ("PUT", "PATCH", "DELETE"):
            return Prepared(request)
        if request.method == "PUT":
            return await self._replace(request, path)
        if request.method == "PATCH":
            return await self._change(request, path)
        return Prepared(request, self._forgetting(path))

    def _check_known(self, actor: Actor) -> None:
        """Check that somebody who lists accounts is known.

        Raises:
            MissingAuth: If not, though an anonymous one may make accounts.
        """
        if not actor.user_id and EVERYONE not in self._rules.everywhere("account", "read"):
            raise MissingAuth

    def _forget_all(self, response: ApiResponse) -> ApiResponse:
        self._accounts.lose()
        return response

    def _forgetting(self, path: ObjectPath) -> Callable[[ApiResponse], ApiResponse]:
        def finish(response: ApiResponse) -> ApiResponse:
            self._accounts.forget(path.uri)
            return response

        return finish

    async def _create(self, request: ApiRequest, where: ListPath) -> Prepared:
        request.content_type()
        content = parse_content("account", request.json())
        if content.id is NO_ID:
            raise invalid("body", "data.id", "Required")
        path = where.object(check_new_id(content.id, "account"))
        return await self._write_whole(request, path, where, content)

    async def _replace(self, request: ApiRequest, path: ObjectPath) -> Prepared:
        request.content_type()
        content = parse_content("account", request.json())
        check_same_id(content.id, path.id)
        return await self._write_whole(request, path, path, content)

    async def _write_whole(
        self, request: ApiRequest, path: ObjectPath, where: ObjectPath | ListPath, content: Content
    ) -> Prepared:
        owner = self._options.owner(path)
        fields, password = split_content(content, owner)
        if not fields:
            request = await self._let_in(request, path)
        existing = await self._check_access(request, path, where)
        if existing is None and self._options.email is not None:
            if not self._options.email.match(path.id):
                raise invalid(
                    "body", "data.id", "should be an e-mail address that is accepted here"
                )
            fields["validated"] = False
        secret = await self._passwords.hash(password)
        body = {"data": {**fields, "id": path.id}, "permissions": {"write": [owner]}}
        prepared = replace(request, value=body, secret=secret)
        return Prepared(prepared, lambda response: self._written(response, path))

    def _written(self, response: ApiResponse, path: ObjectPath) -> ApiResponse:
        """Finish the answer of a PUT or POST; a new account's user owns it from the start."""
        self._accounts.forget(path.uri)
        if response.status != 201:
            return response
        body = load_json(response.body)
        if self._mails is not None:
            self._mails.activate(body["data"])
        shown = {**body, "permissions": {"write": [self._options.owner(path)]}}
        return replace(response, body=dump_json(shown))

    async def _change(self, request: ApiRequest, path: ObjectPath) -> Prepared:
        content_type = request.content_type(PATCH_TYPES)
        patch = split_patch(content_type, request.json(), self._options.owner(path))
        request = replace(request, value=patch.body)
        if patch.password is not None:
            if patch.alone:
                request = await self._let_in(request, path)
            await self._check_access(request, path, path)
            request = replace(request, secret=await self._passwords.hash(patch.password))
        return Prepared(request, self._forgetting(path))

    async def _check_access(
        self, request: ApiRequest, path: ObjectPath, where: ObjectPath | ListPath
    ) -> StoredObject | None:
        """Check, before anything is hashed, that it may be written; it is decided later.

        Returns:
            The account, if it exists by now and may be overwritten.

        Raises:
            SyncError: If not.
        """
        actor = request.actor
        only_new = request.precondition().none_match == ANY

        def ask(judge: Judge) -> StoredObject | None:
            may_create = judge.may(actor, path, "create", {})
            if may_create and request.method != "PATCH":
                self._check_own(judge, actor, path)
            if not (only_new and may_create):
                judge.check_access(actor, where, writes=True)
            # Whatever comes of this one, it makes an account or nothing.
            return None if only_new else judge.state.live(path)

        async with self._storage.snapshot() as snapshot:
            return await Reader(snapshot, self._rules).ask([path.uri], ask)

    def _check_own(self, judge: Judge, actor: Actor, path: ObjectPath) -> None:
        """Check that somebody who is known makes no account for others, unless they may."""
        if actor.user_id in ("", self._options.owner(path)):
            return
        if not judge.may(actor, path, "write", {}):
            raise invalid("body", "data.id", "Username and account ID do not match.")

    async def _let_in(self, request: ApiRequest, path: ObjectPath) -> ApiRequest:
        """The request as its account's user's, if it has the password that was mailed to them.

        That is good for a new password, and for nothing else.
        """
        owner, header = self._options.owner(path), request.headers.get("Authorization")
        if self._mails is None or request.actor.user_id == owner or header is None:
            return request
        said = parse_login(header)
        if said is None or said[0] != path.id:
            return request
        async with self._storage.snapshot() as snapshot:
            account = (await snapshot.objects([path.uri])).get(path.uri)
        if account is None or account.deleted or not is_validated(account):
            return request
        if not await self._mails.is_temporary(account, said[1]):
            return request
        user = replace(make_actor(owner), source=account_uri(path.id), as_of=account.position)
        return replace(request, actor=user)
