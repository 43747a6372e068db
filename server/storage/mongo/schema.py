"""Collections and indexes, made where they are missing."""

import secrets
import time
from typing import Any

from server.core.objects import make_root
from server.core.paths import ROOT, ROOT_LISTS
from server.storage.mongo.documents import encode_object
from server.storage.mongo.driver import Driver

OBJECTS = "objects"
REVISIONS = "revisions"
SECRETS = "secrets"
NONCES = "nonces"

OBJECT_POS = "object_pos"
"""Name of the index of one object's log."""

BUCKET_SEQ = "bucket_seq"
"""Name of the index of a bucket's log."""

MAJORITY: dict[str, Any] = {"w": "majority"}


def _index(name: str, *fields: str, **options: Any) -> dict[str, Any]:
    key = {field.lstrip("-"): -1 if field.startswith("-") else 1 for field in fields}
    return {"name": name, "key": key, **options}


ROOT_INDEXES = [
    _index(f"root_{plural}", "list", "pos", partialFilterExpression={"list": f"/{plural}"})
    for plural in ROOT_LISTS
]
"""Of lists whose objects, and their log, lie in many buckets."""

INDEXES: dict[str, list[dict[str, Any]]] = {
    OBJECTS: [
        _index("list_pos", "bucket", "list", "pos", unique=True),
        # In the order in which a list is served by default.
        _index("list_order", "bucket", "list", "-last_modified", "id"),
        _index("list_readers", "bucket", "list", "readers", "pos"),
        *ROOT_INDEXES,
        _index("principals", "principals", sparse=True),
        _index("members", "members", sparse=True),
        _index("purge", "purge", partialFilterExpression={"purge": True}),
    ],
    REVISIONS: [
        _index(BUCKET_SEQ, "bucket", "seq", unique=True),
        _index("list_pos", "bucket", "list", "pos", unique=True),
        _index(OBJECT_POS, "bucket", "uri", "pos"),
        *ROOT_INDEXES,
        # Not sparse: an index of several fields would hold what lacks only one of them.
        _index(
            "touched", "touched", "date", partialFilterExpression={"touched": {"$exists": True}}
        ),
    ],
    NONCES: [_index("expiry", "until", expireAfterSeconds=0)],
}


async def prepare(driver: Driver) -> None:
    """Make the indexes and the root, unless they are there.

    Raises:
        PyMongoError: If the database does not let it.
    """
    for collection, indexes in INDEXES.items():
        command = {"createIndexes": collection, "indexes": indexes, "writeConcern": MAJORITY}
        await driver.run(command)
    root = encode_object(make_root(time.time_ns() // 1_000_000, secrets.token_hex(8)))
    await put_missing(driver, OBJECTS, root)
    await _complete_root(driver, root["clocks"])


async def _complete_root(driver: Driver, clocks: dict[str, Any]) -> None:
    """Give a root that was made before there were such lists their clocks."""
    updates = [
        {
            "q": {"_id": ROOT, f"clocks.{plural}": {"$exists": False}},
            "u": {"$set": {f"clocks.{plural}": clock}},
        }
        for plural, clock in clocks.items()
    ]
    await driver.run({"update": OBJECTS, "updates": updates, "writeConcern": MAJORITY})


async def put_missing(driver: Driver, collection: str, document: dict[str, Any]) -> None:
    """Insert a document unless there is one with its ``_id``.

    Several processes may do so at once; one of them does it.
    """
    rest = {name: value for name, value in document.items() if name != "_id"}
    update = {"q": {"_id": document["_id"]}, "u": {"$setOnInsert": rest}, "upsert": True}
    answer = await driver.run({"update": collection, "updates": [update], "writeConcern": MAJORITY})
    unexpected = [e for e in answer.get("writeErrors", ()) if e["code"] != DUPLICATE_KEY]
    assert not unexpected, unexpected


DUPLICATE_KEY = 11000
