from typing import Any

import pytest

from server.core.accounts import (
    PASSWORD_MAX_BYTES,
    AccountPatch,
    check_password,
    check_permissions,
    split_content,
    split_patch,
)
from server.core.contents import parse_content
from server.core.errors import InvalidParameters
from server.core.patches import MERGE, OPERATIONS, SHALLOW

OWNER = "account:alice"
SET = {"op": "replace", "path": "/data/password", "value": "new"}


@pytest.mark.parametrize("value", ["x", " ", "é" * 2048, "a\0b", "x" * PASSWORD_MAX_BYTES])
def test_text_of_any_kind_is_a_password(value: str) -> None:
    assert check_password(value) == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "data.password in body: Required"),
        ("", "data.password in body: Required"),
        (12345, "data.password in body: should be a string"),
        (True, "data.password in body: should be a string"),
        (["secret"], "data.password in body: should be a string"),
        ({"secret": "x"}, "data.password in body: should be a string"),
        ("secret" * 200_000, "data.password in body: should have at most 4096 bytes"),
        ("é" * 2049, "data.password in body: should have at most 4096 bytes"),
    ],
)
def test_what_is_no_password_is_refused_and_not_repeated(value: Any, words: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        check_password(value)
    assert caught.value.message == words
    assert "secret" not in str(caught.value.body())


@pytest.mark.parametrize(
    "permissions", [None, {}, {"write": [OWNER]}, {"read": []}, {"write": (OWNER,), "read": None}]
)
def test_permissions_that_every_account_has_may_be_sent(permissions: Any) -> None:
    check_permissions(permissions, OWNER)


@pytest.mark.parametrize(
    "permissions",
    [{"write": []}, {"write": [OWNER, "account:bob"]}, {"read": ["system.Everyone"]}],
)
def test_account_is_not_shared(permissions: Any) -> None:
    with pytest.raises(InvalidParameters, match="cannot be shared"):
        check_permissions(permissions, OWNER)


def test_body_is_split_into_data_and_password() -> None:
    body = {"data": {"id": "alice", "password": "pw", "n": 1, "last_modified": 5}}
    content = parse_content("account", body)
    assert split_content(content, OWNER) == ({"n": 1, "last_modified": 5}, "pw")


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": {"password": None}}])
def test_whole_account_has_to_have_a_password(body: Any) -> None:
    with pytest.raises(InvalidParameters, match=r"data\.password in body: Required"):
        split_content(parse_content("account", body), OWNER)


@pytest.mark.parametrize("content_type", [SHALLOW, MERGE])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"data": {"password": "new"}}, AccountPatch({"data": {}}, "new", alone=True)),
        ({"data": {"password": "new", "n": 1}}, AccountPatch({"data": {"n": 1}}, "new", False)),
        ({"data": {"n": 1}}, AccountPatch({"data": {"n": 1}}, None, False)),
        ([], AccountPatch([], None, False)),
        ({"data": "x"}, AccountPatch({"data": "x"}, None, False)),
        (
            {"data": {"password": "p"}, "permissions": {"write": [OWNER]}},
            AccountPatch({"data": {}, "permissions": {"write": [OWNER]}}, "p", False),
        ),
    ],
)
def test_password_is_taken_out_of_a_merge(
    content_type: str, body: Any, expected: AccountPatch
) -> None:
    assert split_patch(content_type, body, OWNER) == expected


@pytest.mark.parametrize(
    "body",
    [
        {"data": {"password": None}},
        {"data": {"password": ""}},
        {"permissions": {"write": None}},
        {"permissions": {"write": []}},
        {"permissions": {"read": ["account:bob"]}},
    ],
)
def test_merge_neither_removes_the_password_nor_shares_the_account(body: Any) -> None:
    with pytest.raises(InvalidParameters):
        split_patch(MERGE, body, OWNER)


def test_password_is_taken_out_of_operations_and_the_last_counts() -> None:
    rename = {"op": "move", "from": "/data/a", "path": "/data/b"}
    patch = split_patch(OPERATIONS, [SET, rename, {**SET, "op": "add", "value": "last"}], OWNER)
    assert patch == AccountPatch([rename], "last", alone=False)
    assert split_patch(OPERATIONS, [SET], OWNER) == AccountPatch([], "new", alone=True)


@pytest.mark.parametrize("body", ["x", {"op": "add"}, [5]])
def test_operations_that_are_none_are_left_to_the_parser(body: Any) -> None:
    assert split_patch(OPERATIONS, body, OWNER) == AccountPatch(body, None, alone=False)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/data/password"},
        {"op": "test", "path": "/data/password", "value": "guess"},
        {"op": "copy", "from": "/data/password", "path": "/data/x"},
        {"op": "copy", "from": "/data/x", "path": "/data/password"},
        {"op": "move", "from": "/data/x", "path": "/data/password"},
        {"op": "add", "path": "/data/password/x", "value": 1},
        {"op": "add", "path": "/data", "value": {"password": "x"}},
        {"op": "add", "path": "", "value": {"data": {"password": "x"}}},
        {"op": "move", "from": "/data/x", "path": "/data"},
        {"op": "add", "path": "/permissions/read/x"},
        {"op": "add", "path": 5, "value": 1},
        {"op": "add", "path": "/data/password", "value": None},
        {"op": "add", "path": "/data/password"},
    ],
)
def test_operation_that_could_show_or_store_the_password_is_refused(operation: Any) -> None:
    with pytest.raises(InvalidParameters):
        split_patch(OPERATIONS, [operation], OWNER)
