from typing import Any

import pytest

from tests.handlers.conftest import ALICE, BOB, Fetch

RECORDS = "/buckets/b/collections/c/records"
R = f"{RECORDS}/r"

pytestmark = pytest.mark.gen_test


async def principal(fetch: Fetch, user: str) -> str:
    return str((await fetch("GET /", user=user)).json["user"]["id"])


async def edit(fetch: Fetch) -> tuple[str, Any]:
    """A record that somebody changed since a client read it; the ETag that the client has."""
    await fetch("PUT /buckets/b")
    await fetch("PUT /buckets/b/collections/c")
    old = await fetch(f"PUT {R}", {"data": {"a": {"x": 1, "y": 1}, "l": [1]}})
    await fetch(f"PATCH {R}", {"data": {"a": {"x": 2, "y": 1}, "b": 1}})
    return old.headers["ETag"], old.data


PATCHES: list[tuple[str, Any]] = [
    ("application/json", {"data": {"a": {"x": 1, "y": 9}}}),
    ("application/merge-patch+json", {"data": {"a": {"y": 9}}}),
    ("application/json-patch+json", [{"op": "replace", "path": "/data/a/y", "value": 9}]),
]


@pytest.mark.parametrize(("content_type", "body"), PATCHES)
async def test_patch_of_an_older_state_is_merged_where_the_two_agree(
    fetch: Fetch, content_type: str, body: Any
) -> None:
    etag, _ = await edit(fetch)
    sent = {"If-Match": etag, "Content-Type": content_type}
    assert (await fetch(f"PATCH {R}", body, headers=sent)).status == 412
    answer = await fetch(f"PATCH {R}", body, headers={**sent, "Prefer": "return=minimal, Merge"})
    assert answer.status == 200
    assert (answer.headers["Merged"], answer.headers["Preference-Applied"]) == (etag, "merge")
    assert {name: answer.data[name] for name in "abl"} == {"a": {"x": 2, "y": 9}, "b": 1, "l": [1]}
    assert (await fetch(f"GET {R}")).data == answer.data


async def test_conflict_is_told_with_both_states_and_where_they_meet(fetch: Fetch) -> None:
    etag, old = await edit(fetch)
    headers = {"If-Match": etag, "Prefer": "merge"}
    body = {"data": {"a": {"x": 3, "y": 9}, "b": 2, "new": 1}}
    answer = await fetch(f"PATCH {R}", body, headers=headers)
    assert answer.status == 412
    now = await fetch(f"GET {R}")
    assert answer.json["details"] == {
        "existing": now.data,
        "base": old,
        "conflicts": ["/a/x", "/b"],
    }
    assert answer.headers["ETag"] == now.headers["ETag"]
    assert "Merged" not in answer.headers


async def test_permissions_are_merged_too(fetch: Fetch) -> None:
    etag, _ = await edit(fetch)
    alice = await principal(fetch, ALICE)
    headers = {"If-Match": etag, "Prefer": "merge"}
    await fetch(f"PATCH {R}", {"permissions": {"read": ["system.Everyone"]}})
    answer = await fetch(
        f"PATCH {R}", {"permissions": {"read": ["system.Authenticated"]}}, headers=headers
    )
    assert (answer.status, answer.json["details"]["conflicts"]) == (412, ["/permissions/read"])
    answer = await fetch(f"PATCH {R}", {"permissions": {"write": ["x", alice]}}, headers=headers)
    assert answer.status == 200
    assert answer.json["permissions"] == {"read": ["system.Everyone"], "write": ["x", alice]}


async def test_patch_of_the_present_state_is_merged_with_nothing(fetch: Fetch) -> None:
    await edit(fetch)
    headers = {"If-Match": (await fetch(f"GET {R}")).headers["ETag"], "Prefer": "merge"}
    answer = await fetch(f"PATCH {R}", {"data": {"n": 9}}, headers=headers)
    assert (answer.status, "Merged" in answer.headers) == (200, False)
    for given in ({"Prefer": "merge"}, {"Prefer": "merge", "If-Match": "*"}):
        answer = await fetch(f"PATCH {R}", {"data": {"n": 9}}, headers=given)
        assert (answer.status, "Merged" in answer.headers) == (200, False)


async def test_patch_is_not_merged_on_what_was_never_or_is_another_object(fetch: Fetch) -> None:
    etag, _ = await edit(fetch)
    for unknown in ('"1"', '"4000000000000"'):
        headers = {"If-Match": unknown, "Prefer": "merge"}
        answer = await fetch(f"PATCH {R}", {"data": {"new": 1}}, headers=headers)
        assert (answer.status, set(answer.json["details"])) == (412, {"existing"})
    await fetch(f"DELETE {R}")
    headers = {"If-Match": etag, "Prefer": "merge"}
    assert (await fetch(f"PATCH {R}", {"data": {"new": 1}}, headers=headers)).status == 404
    await fetch(f"PUT {R}", {"data": {"fresh": 1}})
    answer = await fetch(f"PATCH {R}", {"data": {"new": 1}}, headers=headers)
    assert (answer.status, set(answer.json["details"])) == (412, {"existing"})


async def test_who_may_not_write_is_shown_nothing_by_a_merge(fetch: Fetch) -> None:
    etag, _ = await edit(fetch)
    headers = {"If-Match": etag, "Prefer": "merge"}
    answer = await fetch(f"PATCH {R}", {"data": {"b": 2}}, headers=headers, user=BOB)
    assert (answer.status, "details" in answer.json) == (403, False)


async def test_patch_that_cannot_be_applied_to_the_older_state_is_400(fetch: Fetch) -> None:
    etag, _ = await edit(fetch)
    headers = {
        "If-Match": etag,
        "Prefer": "merge",
        "Content-Type": "application/json-patch+json",
    }
    operation = {"op": "remove", "path": "/data/b"}
    assert (await fetch(f"PATCH {R}", [operation], headers=headers)).status == 400


async def test_merges_of_a_batch_build_on_each_other(fetch: Fetch) -> None:
    etag, _ = await edit(fetch)
    headers = {"If-Match": etag, "Prefer": "merge"}
    requests = [
        {"method": "PATCH", "path": R, "headers": headers, "body": {"data": data}}
        for data in ({"one": 1}, {"two": 2}, {"one": 3})
    ]
    answers = (await fetch("POST /batch", {"requests": requests})).json["responses"]
    assert [one["status"] for one in answers] == [200, 200, 412]
    assert [one["headers"].get("Merged") for one in answers] == [etag, etag, None]
    assert answers[2]["body"]["details"]["conflicts"] == ["/one"]
    data = (await fetch(f"GET {R}")).data
    assert (data["one"], data["two"], data["b"]) == (1, 2, 1)


async def test_answer_to_a_merge_is_shaped_as_asked(fetch: Fetch) -> None:
    etag, _ = await edit(fetch)
    headers = {"If-Match": etag, "Prefer": "merge", "Response-Behavior": "light"}
    answer = await fetch(f"PATCH {R}", {"data": {"new": 1, "l": [1]}}, headers=headers)
    assert answer.json == {"data": {"new": 1}}
