"""One entry of the append-only log."""

from dataclasses import dataclass
from typing import Literal

from server.core.objects import Permissions

Action = Literal["create", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Revision:
    """What one effect did to one object; written with it, in its transaction.

    Attributes:
        uri: of the object.
        list: URI of its list.
        bucket: id of the bucket whose total order it stands in.
        seq: position in that order.
        position: position in its list's order.
        action: what was done.
        by: user id of who did it; ``""`` for an anonymous one.
        date: the server's time, in ms.
        last_modified: of the object after it, in ms.
        before: the object's text before, None when it did not exist.
        json: its text after; a tombstone's when it was deleted.
        acl: its permissions after.
        acl_before: its permissions before.
        readers: principals that its own ACL let see it after.
        readers_before: and before.
        touched: principals whose memberships it changed: those a group gained or
            lost; ``/`` for the deletion of a bucket, whose groups end with it. Of an
            account or API key its own URI, if whoever used it has to be asked again.
        took: how many objects went with the one that was deleted.
        trimmed: whether the history has forgotten it: what is left serves to tell
            who could see what.
    """

    uri: str
    list: str
    bucket: str
    seq: int
    position: int
    action: Action
    by: str
    date: int
    last_modified: int
    before: bytes | None
    json: bytes
    acl: Permissions
    acl_before: Permissions
    readers: tuple[str, ...]
    readers_before: tuple[str, ...]
    touched: tuple[str, ...] = ()
    took: int = 0
    trimmed: bool = False
