import hashlib
from typing import Any

import pytest

from server.core.errors import Unavailable
from server.storage.files.memory import MemoryWriter
from server.storage.memory import MemoryStorage
from tests.conftest import ExpectedLogs
from tests.handlers.conftest import BOB, Fetch, Start
from tests.handlers.forms import (
    FORM,
    RECORD,
    Watched,
    attach,
    file_form,
    form,
    make_collection,
    part,
    storage_with,
    stored,
    target_of,
    until_stored,
)

pytestmark = pytest.mark.gen_test


@pytest.fixture
def files() -> Watched:
    return Watched()


@pytest.fixture
def storage(files: Watched) -> MemoryStorage:
    return storage_with(files)


@pytest.fixture
def fetch(start: Start, storage: MemoryStorage, io_loop: Any) -> Fetch:
    given = {
        "includes": "attachments default_bucket flush",
        "attachment__extensions": "default+html",
    }

    async def begin() -> Fetch:
        asking = await start(storage, **given)
        await make_collection(asking)
        return asking

    return io_loop.run_sync(begin)  # type: ignore[no-any-return]


async def test_file_is_stored_and_the_record_says_what_it_is(fetch: Fetch) -> None:
    answer = await attach(fetch, b"content", "notes.txt", data={"title": "Notes"})
    assert answer.status == 201
    record = (await fetch(f"GET {RECORD}")).data
    assert record["title"] == "Notes"
    assert record["attachment"] == answer.json
    location = answer.json.pop("location")
    assert answer.json == {
        "filename": "notes.txt",
        "hash": hashlib.sha256(b"content").hexdigest(),
        "mimetype": "text/plain",
        "size": 7,
    } | {"location": location}
    assert answer.headers["Location"].endswith("/v1" + RECORD)
    assert answer.headers["ETag"] == f'"{record["last_modified"]}"'
    assert "notes" not in location
    assert (await fetch(f"GET {target_of(location)}", user=None)).body == b"content"


async def test_record_that_is_there_is_changed_where_the_form_says_so(fetch: Fetch) -> None:
    await fetch(f"PUT {RECORD}", {"data": {"title": "old", "kept": 1}})
    answer = await attach(fetch, data={"title": "new"}, permissions={"read": ["system.Everyone"]})
    assert answer.status == 200
    seen = (await fetch(f"GET {RECORD}")).json
    assert (seen["data"]["title"], seen["data"]["kept"]) == ("new", 1)
    assert seen["permissions"]["read"] == ["system.Everyone"]


async def test_file_that_is_replaced_is_removed(fetch: Fetch, storage: MemoryStorage) -> None:
    first = await attach(fetch, b"first", "first.txt")
    second = await attach(fetch, b"second", "second.txt")
    assert second.status == 200
    await until_stored(storage, "second.txt")
    assert (await fetch(f"GET {target_of(first.json['location'])}")).status == 404
    assert (await fetch(f"GET {target_of(second.json['location'])}")).body == b"second"


async def test_file_is_removed_and_the_record_says_so(fetch: Fetch, storage: MemoryStorage) -> None:
    await attach(fetch, data={"title": "kept"})
    answer = await fetch(f"DELETE {RECORD}/attachment")
    assert (answer.status, answer.body) == (204, b"")
    record = (await fetch(f"GET {RECORD}")).data
    assert (record["attachment"], record["title"]) == (None, "kept")
    assert answer.headers["ETag"] == f'"{record["last_modified"]}"'
    await until_stored(storage)


async def test_removing_the_file_of_no_record_makes_none(fetch: Fetch) -> None:
    assert (await fetch(f"DELETE {RECORD}/attachment")).status == 404
    assert (await fetch(f"GET {RECORD}")).status == 404


@pytest.mark.parametrize("parent", [RECORD, "/buckets/b/collections/c", "/buckets/b"])
async def test_files_go_with_what_they_lie_in(
    fetch: Fetch, storage: MemoryStorage, parent: str
) -> None:
    await attach(fetch)
    assert (await fetch(f"DELETE {parent}")).status == 200
    await until_stored(storage)


async def test_files_are_removed_by_a_flush(fetch: Fetch, storage: MemoryStorage) -> None:
    await attach(fetch)
    assert (await fetch("POST /__flush__")).status == 202
    await until_stored(storage)


async def test_file_that_a_put_leaves_out_is_removed(fetch: Fetch, storage: MemoryStorage) -> None:
    await attach(fetch)
    assert (await fetch(f"PUT {RECORD}", {"data": {"title": "without"}})).status == 200
    await until_stored(storage)


async def test_file_stays_while_the_record_names_it(fetch: Fetch, storage: MemoryStorage) -> None:
    attachment = (await attach(fetch)).json
    await fetch(f"PATCH {RECORD}", {"data": {"title": "changed"}})
    await fetch(f"PUT {RECORD}", {"data": {"title": "put", "attachment": attachment}})
    await attach(fetch, b"other", "other.txt", path=RECORD + "2")
    await fetch(f"DELETE {RECORD}2")
    await until_stored(storage, "a.txt")
    assert (await fetch(f"GET {target_of(attachment['location'])}")).status == 200


async def test_old_files_are_kept_where_the_setting_says_so(
    start: Start, storage: MemoryStorage
) -> None:
    fetch = await start(
        storage, includes="attachments", attachment__resources__b__keep_old_files="true"
    )
    await make_collection(fetch)
    first = await attach(fetch, b"first")
    await attach(fetch, b"second")
    await fetch("DELETE /buckets/b")
    assert (await fetch(f"GET {target_of(first.json['location'])}")).body == b"first"


@pytest.mark.parametrize(
    ("method", "body", "headers"),
    [
        ("PATCH", {"data": {"attachment": {"hash": "other"}}}, {}),
        ("PUT", {"data": {"attachment": {"hash": "other"}}}, {}),
        (
            "PATCH",
            {"data": {"attachment": {"hash": "other"}}},
            {"Content-Type": "application/merge-patch+json"},
        ),
        (
            "PATCH",
            [{"op": "replace", "path": "/data/attachment/hash", "value": "other"}],
            {"Content-Type": "application/json-patch+json"},
        ),
        (
            "PATCH",
            [{"op": "add", "path": "/data", "value": {"attachment": {"hash": "other"}}}],
            {"Content-Type": "application/json-patch+json"},
        ),
    ],
    ids=["patch", "put", "merge", "operations", "all data"],
)
async def test_client_cannot_change_what_the_record_says_of_its_file(
    fetch: Fetch, method: str, body: Any, headers: dict[str, str]
) -> None:
    attachment = (await attach(fetch)).json
    answer = await fetch(f"{method} {RECORD}", body, headers=headers)
    assert (answer.status, answer.json["errno"]) == (400, 999)
    assert answer.json["message"] == "Attachment metadata cannot be modified."
    batch = {"requests": [{"method": method, "path": RECORD, "body": body, "headers": headers}]}
    (item,) = (await fetch("POST /batch", batch)).json["responses"]
    assert (item["status"], item["body"]["errno"]) == (400, 999)
    assert (await fetch(f"GET {RECORD}")).data["attachment"] == attachment


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"data": {"attachment": ', "application/json", 400),
        (b'{"data": {"attachment": {"a": 1}}}', "text/plain", 415),
        (b'[{"op": "fly", "path": "/data/attachment"}]', "application/json-patch+json", 400),
        (
            b'[{"op": "remove", "path": "/data/attachment/none"}]',
            "application/json-patch+json",
            400,
        ),
    ],
)
async def test_write_that_is_wrong_is_refused_for_that(
    fetch: Fetch, body: bytes, kind: str, status: int
) -> None:
    await attach(fetch)
    answer = await fetch(f"PATCH {RECORD}", body, headers={"Content-Type": kind})
    assert (answer.status, answer.json["errno"]) == (status, 107)


async def test_stranger_is_not_told_of_a_record_with_a_file(fetch: Fetch) -> None:
    await attach(fetch)
    body = {"data": {"attachment": {"hash": "other"}}}
    assert (await fetch(f"PATCH {RECORD}", body, user=BOB)).status == 403


async def test_record_without_a_file_may_say_what_it_likes(fetch: Fetch) -> None:
    body = {"data": {"attachment": {"location": "https://elsewhere/x", "original": {"size": 1}}}}
    assert (await fetch(f"PUT {RECORD}", body)).status == 201
    assert (await fetch(f"PATCH {RECORD}", {"data": {"attachment": None}})).status == 200
    assert (await fetch(f"PATCH {RECORD}", body)).status == 200


@pytest.mark.parametrize(("when", "status"), [("fresh", 200), ("stale", 412), ("none", 412)])
async def test_precondition_is_on_the_record(
    fetch: Fetch, storage: MemoryStorage, when: str, status: int
) -> None:
    etag = (await fetch(f"PUT {RECORD}", {"data": {"n": 1}})).headers["ETag"]
    headers = {"If-None-Match": "*"} if when == "none" else {"If-Match": etag}
    if when == "stale":
        await fetch(f"PATCH {RECORD}", {"data": {"n": 2}})
    answer = await attach(fetch, headers=headers)
    assert answer.status == status
    await until_stored(storage, *(["a.txt"] if status == 200 else []))
    if status == 412:
        assert answer.json["details"]["existing"]["id"] == "r"


async def test_precondition_is_on_the_record_when_its_file_is_removed(fetch: Fetch) -> None:
    answer = await attach(fetch)
    etag = answer.headers["ETag"]
    await fetch(f"PATCH {RECORD}", {"data": {"n": 2}})
    stale = await fetch(f"DELETE {RECORD}/attachment", headers={"If-Match": etag})
    assert stale.status == 412
    assert (await fetch(f"GET {target_of(answer.json['location'])}")).status == 200


class Slow(Watched):
    """Lets somebody in between the file and its record."""

    def __init__(self) -> None:
        super().__init__()
        self.between: Any = None

    async def create(self) -> MemoryWriter:
        writer = await super().create()
        finish = writer.finish

        async def finish_late(file: Any) -> None:
            await finish(file)
            if self.between is not None:
                await self.between()

        writer.finish = finish_late  # type: ignore[method-assign]
        return writer


@pytest.mark.parametrize(
    ("act", "status"),
    [("DELETE /buckets/b", 403), ("PUT " + RECORD, 412), ("PATCH /buckets/b", 403)],
)
async def test_what_happens_while_a_file_comes_in_decides_and_leaves_nothing_of_it(
    start: Start, storage: MemoryStorage, act: str, status: int
) -> None:
    files = Slow()
    storage._files = files
    fetch = await start(storage, includes="attachments")
    await make_collection(fetch)
    shared = {"permissions": {"write": ["system.Authenticated"]}}
    await fetch("PATCH /buckets/b", shared)

    async def between() -> None:
        files.between = None
        revoking: Any = {"permissions": {"write": []}} if act == "PATCH /buckets/b" else {}
        body = None if act.startswith("DELETE") else revoking
        assert (await fetch(act, body)).status < 300

    files.between = between
    headers = {"If-None-Match": "*"} if status == 412 else {}
    answer = await attach(fetch, user=BOB, headers=headers)
    assert answer.status == status
    await until_stored(storage)


@pytest.mark.parametrize(("user", "status"), [(None, 401), (BOB, 403)])
async def test_who_may_not_write_is_refused_before_the_file_comes(
    fetch: Fetch, storage: MemoryStorage, user: str | None, status: int
) -> None:
    assert (await attach(fetch, user=user)).status == status
    assert await stored(storage) == []


async def test_who_may_create_may_attach_to_what_is_not_there_yet(fetch: Fetch) -> None:
    body = {"permissions": {"record:create": ["system.Authenticated"]}}
    await fetch("PATCH /buckets/b/collections/c", body)
    assert (await attach(fetch, user=BOB)).status == 201
    await fetch(f"PUT {RECORD}2", {})
    assert (await attach(fetch, user=BOB, path=RECORD + "2")).status == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/buckets/none/collections/c/records/r", 403),
        ("/buckets/b/collections/none/records/r", 404),
        ("/buckets/b/collections/c/records/b%20d", 400),
    ],
)
async def test_place_for_the_record_has_to_be_there(
    fetch: Fetch, storage: MemoryStorage, path: str, status: int
) -> None:
    assert (await attach(fetch, path=path)).status == status
    assert await stored(storage) == []


async def test_default_bucket_is_made_for_a_file(fetch: Fetch) -> None:
    path = "/buckets/default/collections/c/records/r"
    answer = await attach(fetch, path=path)
    assert answer.status == 201
    assert "/buckets/default/" not in answer.headers["Location"]
    assert (await fetch(f"GET {path}")).data["attachment"] == answer.json
    assert (await attach(fetch, path=path, user=None)).status == 401


FILE = part("attachment", b"x", "a.txt")


@pytest.mark.parametrize(
    ("body", "errno", "message"),
    [
        (form(part("data", "{}")), 109, "Attachment missing."),
        (form(), 109, "Attachment missing."),
        (form(FILE, FILE), 109, "body: a record has one attachment"),
        (form(part("file", b"x", "a.txt")), 109, "body: 'file' not in ('data', 'permissions')"),
        (form(part("more", "{}"), FILE), 109, "body: 'more' not in ('data', 'permissions')"),
        (form(part("data", "{>"), FILE), 109, "body: data is not valid JSON"),
        (form(part("permissions", ""), FILE), 109, "body: permissions is not valid JSON"),
        (form(part("data", "{}", "d.json"), FILE), 109, "body: 'data' field should be passed as"),
        (form(part("data", "{}"), part("data", "{}"), FILE), 109, "body: 'data' is given twice"),
        (form(part("data", "[1]"), FILE), 107, "data in body"),
        (form(part("data", '{"id": "other"}'), FILE), 107, "Object id does not match"),
        (form(part("permissions", '{"fly": []}'), FILE), 107, "permissions in body"),
        (form(part("attachment", b"x")), 107, "body: Filename is required."),
        (form(part("attachment", b"x", "")), 107, "body: Filename is required."),
        (form(part("attachment", b"x", "../..")), 107, "body: Filename is required."),
        (form(part("attachment", b"x", "virus.exe")), 107, "body: File extension is not allowed."),
        (form(FILE)[:-12], 107, "body: The form has no end"),
        (FILE[:40], 107, "body: The form has no end"),
        (b"", 107, "body: The form has no end"),
        (b"no form at all", 107, "body: The form is malformed"),
    ],
)
async def test_form_that_is_not_as_expected_leaves_nothing(
    fetch: Fetch, storage: MemoryStorage, body: bytes, errno: int, message: str
) -> None:
    answer = await fetch(f"POST {RECORD}/attachment", body, headers=FORM)
    assert (answer.status, answer.json["errno"]) == (400, errno)
    assert message in answer.json["message"]
    await until_stored(storage)
    assert (await fetch(f"GET {RECORD}")).status == 404


@pytest.mark.parametrize(
    "kind",
    ["application/json", "text/plain", "multipart/form-data", "multipart/mixed; boundary=limit"],
)
async def test_body_of_another_type_is_refused(fetch: Fetch, kind: str) -> None:
    body = b'{"data": {}}'
    answer = await fetch(f"POST {RECORD}/attachment", body, headers={"Content-Type": kind})
    assert (answer.status, answer.json["errno"]) == (400, 107)
    assert answer.json["message"] == "Content-Type should be multipart/form-data"
    stranger = await fetch(
        f"POST {RECORD}/attachment", body, headers={"Content-Type": kind}, user=BOB
    )
    assert stranger.status == 403


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("..\\\\..\\\\boot.txt", "boot.txt"),
        ("a\0b.txt", "ab.txt"),
        ("x" * 1000 + ".txt", "x" * 251 + ".txt"),
        ("日本 ☃ é.txt", "日本 ☃ é.txt"),
    ],
)
async def test_name_of_a_file_leads_nowhere(fetch: Fetch, filename: str, expected: str) -> None:
    answer = await attach(fetch, b"content", filename)
    assert answer.status == 201
    assert answer.json["filename"] == expected
    path = target_of(answer.json["location"])
    assert path.startswith("/attachments/")
    assert path.count("/") == 2
    got = await fetch(f"GET {path}")
    assert got.body == b"content"
    assert got.headers["Content-Disposition"].isascii()


async def test_request_for_compression_of_former_clients_is_ignored(fetch: Fetch) -> None:
    answer = await fetch(
        f"POST {RECORD}/attachment?gzipped=true", file_form(b"content"), headers=FORM
    )
    assert (answer.status, answer.json["size"]) == (201, 7)


async def test_empty_file_is_a_file(fetch: Fetch) -> None:
    answer = await attach(fetch, b"")
    assert (answer.status, answer.json["size"]) == (201, 0)
    got = await fetch(f"GET {target_of(answer.json['location'])}")
    assert (got.status, got.body, got.headers["Content-Length"]) == (200, b"", "0")


@pytest.mark.parametrize(("size", "status"), [(10, 201), (11, 400), (9_000_000, 400)])
async def test_file_may_have_as_many_bytes_as_the_setting_says(
    start: Start, storage: MemoryStorage, size: int, status: int
) -> None:
    fetch = await start(storage, includes="attachments", attachment__max_size_bytes=10)
    await make_collection(fetch)
    answer = await attach(fetch, bytes(size))
    assert answer.status == status
    if status == 400:
        assert answer.json["errno"] == 107
        assert "exceeds the limit (10 bytes)" in answer.json["message"]
    await until_stored(storage, *(["a.txt"] if status == 201 else []))


async def test_file_may_be_larger_than_another_body(fetch: Fetch) -> None:
    content = bytes(range(256)) * 40_000
    answer = await attach(fetch, content)
    assert answer.json["size"] == len(content) > 8 << 20
    got = await fetch(f"GET {target_of(answer.json['location'])}")
    assert got.body == content


async def test_data_may_be_no_larger_than_an_object(fetch: Fetch, storage: MemoryStorage) -> None:
    answer = await attach(fetch, data={"text": "x" * (4 << 20)})
    assert (answer.status, answer.json["errno"]) == (413, 113)
    await until_stored(storage)


async def test_form_for_another_endpoint_is_no_larger_than_another_body(fetch: Fetch) -> None:
    answer = await fetch("POST /buckets", file_form(bytes(9 << 20)), headers=FORM)
    assert answer.status == 413
    small = await fetch("POST /buckets", file_form(b"x"), headers=FORM)
    assert small.status == 415


async def test_answer_names_the_methods(fetch: Fetch) -> None:
    for method in ("GET", "PUT", "PATCH"):
        answer = await fetch(f"{method} {RECORD}/attachment", None if method == "GET" else {})
        assert (answer.status, answer.headers["Allow"]) == (405, "POST, DELETE, OPTIONS")
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    answer = await fetch(f"OPTIONS {RECORD}/attachment", headers=headers)
    assert answer.headers["Access-Control-Allow-Methods"] == "POST,DELETE,OPTIONS"


async def test_server_that_is_read_only_takes_no_file_and_serves_those_it_has(
    start: Start, fetch: Fetch, storage: MemoryStorage
) -> None:
    location = (await attach(fetch)).json["location"]
    readonly = await start(storage, includes="attachments", readonly="true")
    assert (await attach(readonly, b"other")).status == 405
    assert (await readonly(f"DELETE {RECORD}/attachment")).status == 405
    assert (await readonly(f"GET {target_of(location)}")).body == b"content"


async def test_form_cannot_be_a_part_of_a_batch_and_a_removal_can(fetch: Fetch) -> None:
    await attach(fetch)
    requests = [
        {"method": "POST", "path": f"{RECORD}/attachment", "body": {}},
        {"method": "DELETE", "path": f"{RECORD}/attachment"},
    ]
    answer = await fetch("POST /batch", {"requests": requests})
    assert [one["status"] for one in answer.json["responses"]] == [400, 204]
    assert (await fetch(f"GET {RECORD}")).data["attachment"] is None


async def test_location_begins_with_the_address_that_is_set(
    start: Start, storage: MemoryStorage
) -> None:
    fetch = await start(
        storage,
        includes="attachments",
        attachment__base_url="https://cdn.example/files",
        attachment__folder="{bucket_id}/{collection_id}",
        attachment__randomize="false",
    )
    await make_collection(fetch)
    first = await attach(fetch, b"first", "Ré port.txt")
    second = await attach(fetch, b"second", "Ré port.txt", path=RECORD + "2")
    locations = [one.json["location"] for one in (first, second)]
    assert locations == [
        "https://cdn.example/files/b/c/Re_port.txt",
        "https://cdn.example/files/b/c/Re_port-1.txt",
    ]
    assert (await fetch("GET /attachments/b/c/Re_port-1.txt")).body == b"second"
    hello = (await fetch("GET /")).json
    assert hello["capabilities"]["attachments"]["base_url"] == "https://cdn.example/files/"
    await attach(fetch, b"third", "third.txt")
    await until_stored(storage, "Ré port.txt", "third.txt")
    assert (await fetch("GET /attachments/b/c/Re_port.txt")).status == 404


async def test_store_that_fails_is_told_and_leaves_nothing(
    start: Start, storage: MemoryStorage, expected_logs: ExpectedLogs
) -> None:
    class Broken(Watched):
        async def create(self) -> MemoryWriter:
            raise RuntimeError("no such luck")

    expected_logs("handlers.base: .* failed")
    storage._files = Broken()
    fetch = await start(storage, includes="attachments")
    await make_collection(fetch)
    answer = await attach(fetch)
    assert (answer.status, answer.json["errno"]) == (500, 999)
    assert (await fetch(f"GET {RECORD}")).status == 404


async def test_file_stays_where_nobody_knows_whether_its_record_was_written(
    start: Start, storage: MemoryStorage
) -> None:
    fetch = await start(storage, includes="attachments")
    await make_collection(fetch)
    commit = storage.commit

    async def fail(command: Any) -> Any:
        await commit(command)
        raise Unavailable("The write may have happened.", 3)

    storage.commit = fail  # type: ignore[method-assign]
    assert (await attach(fetch)).status == 503
    storage.commit = commit  # type: ignore[method-assign]
    location = (await fetch(f"GET {RECORD}")).data["attachment"]["location"]
    assert (await fetch(f"GET {target_of(location)}")).body == b"content"
