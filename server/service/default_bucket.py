"""The default bucket: everybody's own, made at its first use."""

import hashlib
import hmac
import uuid

from server.core.commands import Ensure
from server.core.errors import MissingAuth
from server.core.paths import KINDS, ListPath, ObjectPath, object_path
from server.core.permissions import Actor

ALIAS = "/buckets/default"


class DefaultBuckets:
    """Tells which bucket is whose.

    Ids must be the same in every process and for ever: they are made from
    the user's id.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def bucket_of(self, actor: Actor) -> str:
        """The id of an authenticated actor's bucket."""
        digest = hmac.digest(self._secret, actor.user_id.encode(), hashlib.sha256).hex()
        return str(uuid.UUID(digest[:32]))

    def resolve(self, path: str, actor: Actor) -> str:
        """The path with the bucket's own id in place of ``default``.

        Raises:
            MissingAuth: If the actor is anonymous.
        """
        if not actor.user_id:
            raise MissingAuth
        return f"/buckets/{self.bucket_of(actor)}{path[len(ALIAS) :]}"


def is_alias(path: str) -> bool:
    """Whether a path is the default bucket or lies in it."""
    return path == ALIAS or path.startswith(ALIAS + "/")


def what_to_make(actor: Actor, path: ListPath | ObjectPath, *, writes: bool) -> Ensure | None:
    """What a request in the default bucket takes for granted.

    Args:
        actor: whose bucket it is.
        path: with the bucket's own id.
        writes: whether the request makes or removes the object itself.

    Returns:
        The deepest bucket or collection on the path; the object itself only
        if it is read. None if the path names what cannot exist.
    """
    if not path.valid:
        return None
    steps = path.ancestors if isinstance(path, ListPath) or writes else path.chain
    parents = [step for step in steps if KINDS[step.kind.name].children]
    if not parents:
        return Ensure(actor, object_path(path.uri)) if isinstance(path, ObjectPath) else None
    return Ensure(actor, parents[-1])
