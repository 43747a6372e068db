import pytest
from jsonschema import Draft202012Validator

from handlers.openapi_schemas import (
    make_parameters,
    make_responses,
    make_schemas,
    refusals,
    title_of,
)
from server.core import errors
from server.core.paths import ALL_KINDS
from tests.test_project import failures

SCHEMAS = make_schemas(ALL_KINDS.values())


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("kind", failures(), ids=lambda kind: kind.__name__)
def test_every_failure_is_told_of_under_its_status(kind: type[errors.SyncError]) -> None:
    response = make_responses()[f"Error{kind.status}"]
    assert f"errno {kind.errno}:" in response["description"]


def test_status_that_no_failure_has_is_left_out() -> None:
    assert set(refusals((400, 404, 418))) == {"400", "404"}


def test_password_is_sent_and_never_shown() -> None:
    assert "password" in SCHEMAS["AccountFields"]["properties"]
    assert "password" not in SCHEMAS["Account"]["properties"]
    assert title_of(ALL_KINDS["api_key"]) == "ApiKey"


def test_limits_of_pages_and_waits_are_those_that_are_given() -> None:
    parameters = make_parameters(12, 25)
    assert "12 at the most" in parameters["limit"]["description"]
    assert parameters["wait"]["schema"]["maximum"] == 25
