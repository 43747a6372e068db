"""Holds the database's selection and the evaluator together, on a real MongoDB."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.collection import Collection

from server.core.conditions import parse_condition
from server.core.filters import Condition, Operator, matches
from server.core.json_text import HugeInteger
from server.storage.mongo.preselect import MAX_CONDITIONS, preselect
from server.storage.mongo.shadow import MAX_SHADOW_DEPTH, make_shadow

Document = dict[str, Any]
Data = dict[str, Any]

TOO_DEEP: Any = 1
for _ in range(MAX_SHADOW_DEPTH + 1):
    TOO_DEEP = [TOO_DEEP]


@pytest.fixture(scope="module")
def documents(mongo_uri: str) -> Iterator[Collection[Document]]:
    with MongoClient[Document](mongo_uri) as client:
        yield client["test_preselect"]["objects"]
        client.drop_database("test_preselect")


def store(documents: Collection[Document], objects: list[Data]) -> None:
    """Store each object as the ledger does; one nested too deep, or deleted, has no shadow."""
    rows = []
    for number, data in enumerate(objects):
        row = {"_id": number, "id": data["id"], "last_modified": data["last_modified"]}
        shadow = None if data.get("deleted") else make_shadow(data, 100)
        rows.append(row if shadow is None else row | {"q": shadow})
    documents.delete_many({})
    documents.insert_many(rows)


def select(documents: Collection[Document], conditions: list[Condition]) -> set[int]:
    return {row["_id"] for row in documents.find(preselect(conditions), {"_id": 1})}


keys = st.sampled_from(["a", "b", "a.b", "b.a", "", "$gt", ".", "%2E", "0"])
scalars = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            1,
            2,
            1.0,
            1.5,
            -1,
            "",
            "a",
            "b",
            "B",
            "é",
            "\0",
            "$gt",
            "\U0001f600",
        ]
    ),
    st.sampled_from([2**53, 2**53 + 1, 2.0**53, 2**63 - 1, 2**63, 2**63 + 1, 2.0**63, 2**70]),
    st.sampled_from([10**400, -(10**400), 1e300, HugeInteger("9" * 5000), 10**400 + 1]),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.builds(lambda value: {"$gt": value}, inner)
    ),
    max_leaves=5,
)
ids = st.sampled_from(["r0", "r1", "1", "true"])
times = st.sampled_from([0, 1, 2, 2**42])
objects = st.builds(
    lambda fields, own, deep: fields | own | ({"deep": TOO_DEEP} if deep else {}),
    st.dictionaries(keys, values, max_size=4),
    st.fixed_dictionaries({"id": ids, "last_modified": times}),
    st.integers(0, 9).map(lambda n: n == 0),
)
tombstones = st.fixed_dictionaries({"id": ids, "last_modified": times, "deleted": st.just(True)})

own_fields = st.sampled_from(["id", "last_modified"])
fields = st.one_of(
    keys,
    own_fields,
    st.lists(keys, min_size=2, max_size=2).map(".".join),
    st.sampled_from(["a.b.a", "a.b.a.b", "a.0", "0.a", "deep", "deleted", "id.a", "id.0"]),
)
LISTS = [Operator.IN, Operator.EXCLUDE, Operator.CONTAINS, Operator.CONTAINS_ANY]
COMPARISONS = [op for op in Operator if op not in [*LISTS, Operator.LIKE, Operator.HAS]]
operands = st.one_of(values, ids, times)


def make_conditions(
    fields: st.SearchStrategy[str], operands: st.SearchStrategy[Any]
) -> st.SearchStrategy[Condition]:
    patterns = st.sampled_from(["", "a", "B*", "*"])
    return st.one_of(
        st.builds(Condition, fields, st.sampled_from(COMPARISONS), operands),
        st.builds(Condition, fields, st.sampled_from(LISTS), st.lists(operands, max_size=3)),
        st.builds(Condition, fields, st.just(Operator.LIKE), patterns),
        st.builds(Condition, fields, st.just(Operator.HAS), st.booleans()),
    )


any_conditions = make_conditions(fields, operands)


def paths_in(data: Data, levels: int = 3) -> list[str]:
    """Every path of an object, some of them hidden by a literal key."""
    inner = [
        f"{name}.{path}"
        for name, value in data.items()
        if isinstance(value, dict) and levels
        for path in paths_in(value, levels - 1)
    ]
    return [*data, *inner]


def values_in(value: Any, levels: int = 3) -> list[Any]:
    """A value, all values in it, and numbers next to them."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [value, value + 1, value - 1] if abs(value) < 2**80 else [value]
    if not levels or not isinstance(value, dict | list):
        return [value]
    inner = value if isinstance(value, list) else list(value.values())
    return [value, *(found for element in inner for found in values_in(element, levels - 1))]


def near_conditions(stored: list[Data]) -> st.SearchStrategy[Condition]:
    """Conditions that ask for what is there, or nearly."""
    paths = sorted({path for data in stored for path in paths_in(data)})
    found = [value for data in stored for value in values_in(data, 4)[1:]]
    return make_conditions(st.sampled_from(paths), st.sampled_from(found))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Data], list[list[Condition]]]:
    stored = draw(st.lists(objects | tombstones, min_size=1, max_size=12))
    single = near_conditions(stored) | any_conditions
    return stored, draw(st.lists(st.lists(single, min_size=1, max_size=2), max_size=30))


@settings(deadline=None, max_examples=120)
@given(cases())
def test_database_never_leaves_out_an_object_that_matches(
    documents: Collection[Document], case: tuple[list[Data], list[list[Condition]]]
) -> None:
    stored, filters = case
    store(documents, stored)
    for every in filters:
        matching = {i for i, data in enumerate(stored) if matches(every, data)}
        assert matching <= select(documents, every), (every, preselect(every))


own_operands = ids | times | operands


@settings(deadline=None, max_examples=40)
@given(
    st.lists(objects | tombstones, min_size=1, max_size=12),
    st.lists(make_conditions(own_fields, own_operands), min_size=1, max_size=20),
)
def test_conditions_on_id_and_last_modified_but_like_select_exactly(
    documents: Collection[Document], stored: list[Data], filters: list[Condition]
) -> None:
    store(documents, stored)
    for condition in filters:
        if condition.operator is not Operator.LIKE:
            matching = {i for i, data in enumerate(stored) if matches([condition], data)}
            assert matching == select(documents, [condition]), (condition, preselect([condition]))


EVERY_KIND: list[Any] = [
    *(None, False, True, "", "a", "b", "B", "é", "\U0001f600", "$gt"),
    *(-1, 0, 1, 1.5, 2, 2**53, 2.0**53, 2**53 + 1, 1e300),
    *(2**63 - 1, 2**63, 2.0**63, 2**63 + 1, 2**70, 2**70 + 1, -(2**63), -(2**63) - 1),
    *(10**400, 10**400 + 1, -(10**400), HugeInteger("9" * 5000), HugeInteger("-" + "9" * 5000)),
    *([], [None], [1], ["a"], [1, 2], [2, 1], [[1]], [{"a": 1}], {}, {"a": 1}, {"$gt": 1}, [2**70]),
]


@pytest.mark.parametrize("field", ["a", "", "$gt", "a.b", "a.", "a.b.c", "a.0"])
def test_every_operator_on_every_kind_of_value_and_place_leaves_out_no_match(
    documents: Collection[Document], field: str
) -> None:
    own = {"id": "r", "last_modified": 1}
    head, dot, rest = field.partition(".")
    stored: list[Data] = [own, own | {"deleted": True}, own | {field: 1, "deep": TOO_DEEP}]
    for value in EVERY_KIND:
        stored.append(own | {field: value})
        if dot:
            stored += [own | {head: {rest: value}}, own | {head: value}, own | {head: [value]}]
            stored += [own | {head: [{rest: value}]}, own | {field: value, head: {rest: 1}}]
    store(documents, stored)
    filters = [Condition(field, op, value) for op in COMPARISONS for value in EVERY_KIND]
    filters += [Condition(field, op, [value, "z"]) for op in LISTS[:2] for value in EVERY_KIND]
    filters += [Condition(field, op, [value]) for op in LISTS[2:] for value in EVERY_KIND]
    filters += [Condition(field, op, []) for op in LISTS]
    filters += [Condition(field, Operator.HAS, value) for value in (True, False)]
    filters += [Condition(field, Operator.LIKE, value) for value in ("", "a", "B*")]
    for condition in filters:
        matching = {i for i, data in enumerate(stored) if matches([condition], data)}
        missed = matching - select(documents, [condition])
        assert not missed, (condition, [stored[i] for i in missed])


PEOPLE: list[Data] = [
    {"id": "ann", "last_modified": 1, "age": 30, "tags": ["x", "y"], "home": {"city": "Rome"}},
    {"id": "bob", "last_modified": 2, "age": 40, "tags": ["y"], "home": {"city": "Paris"}},
    {"id": "cid", "last_modified": 3, "age": None, "home": {"city": ["Rome"]}},
    {"id": "dan", "last_modified": 4, "age": "old", "name": "Dan"},
]


@pytest.mark.parametrize(
    ("name", "value", "selected"),
    [
        ("age", "30", "ann"),
        ("lt_age", "40", "ann bob cid dan"),
        ("max_age", "35", "ann cid dan"),
        ("gt_age", "35", "bob"),
        ("min_age", "old", "ann bob dan"),
        ("gt_age", "[]", ""),
        ("gt_name", "[]", "ann bob cid"),
        ("lt_age", "{}", "ann bob cid dan"),
        ("in_age", "30,40", "ann bob"),
        ("in_age", "[]", ""),
        ("tags", '["y"]', "bob"),
        ("age", '{"$gt":1}', ""),
        ("has_age", "true", "ann bob cid dan"),
        ("has_name", "false", "ann bob cid"),
        ("like_age", "o", "dan"),
        ("contains_tags", "x", "ann"),
        ("contains_any_tags", '["x","y"]', "ann bob"),
        ("contains_tags", "[]", "ann bob"),
        ("home.city", "Paris", "bob"),
        ("id", "ann", "ann"),
        ("exclude_id", "ann,bob", "cid dan"),
        ("gt_last_modified", "2", "cid dan"),
        ("like_id", "a", "ann bob cid dan"),
    ],
)
def test_database_leaves_out_what_certainly_fails(
    documents: Collection[Document], name: str, value: str, selected: str
) -> None:
    store(documents, PEOPLE)
    found = select(documents, [parse_condition(name, (value,), None)])
    assert " ".join(PEOPLE[i]["id"] for i in sorted(found)) == selected


@pytest.mark.parametrize(
    ("name", "value"),
    [("not_a", "1"), ("exclude_a", "1"), ("min_a", "null"), ("a.b.c.d", "1")],
)
def test_what_the_database_cannot_be_trusted_with_is_left_to_the_evaluator(
    name: str, value: str
) -> None:
    assert preselect([parse_condition(name, (value,), None)]) == {}


def test_no_conditions_select_everything() -> None:
    assert preselect([]) == {}


def test_hundreds_of_conditions_become_a_selector_of_bounded_size(
    documents: Collection[Document],
) -> None:
    store(documents, PEOPLE)
    many = [Condition("age", Operator.EQ, 30)] * 500
    selector = preselect([*many, Condition("id", Operator.EQ, "ann")])
    assert len(selector["$and"][1]["$or"][1]["$and"]) == MAX_CONDITIONS
    assert select(documents, many) == {0}


def operators_in(value: Any) -> set[str]:
    """Every operator that MongoDB would see: keys of documents, at any depth."""
    if isinstance(value, list):
        return {name for element in value for name in operators_in(element)}
    if isinstance(value, dict):
        inner = {name for element in value.values() for name in operators_in(element)}
        return inner | {name for name in value if name.startswith("$")}
    return set()


@given(st.lists(any_conditions, max_size=4))
def test_no_value_of_a_client_can_act_as_an_operator(every: list[Condition]) -> None:
    ours = {"$and", "$or", "$eq", "$ne", "$lt", "$lte", "$gt", "$gte", "$in", "$nin"}
    assert operators_in(preselect(every)) <= ours | {"$type", "$exists", "$all"}


def test_value_shaped_like_an_operator_is_no_part_of_the_selector() -> None:
    hostile = {"$where": "sleep(1000)"}
    for operator in COMPARISONS:
        assert "$where" not in str(preselect([Condition("a", operator, hostile)]))
    for operator in LISTS:
        assert "$where" not in str(preselect([Condition("a", operator, [hostile, [hostile]])]))
    assert "$where" not in str(preselect([Condition("$where", Operator.EQ, 1)]))
