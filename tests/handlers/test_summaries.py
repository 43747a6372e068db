import json
import logging
import sys

import pytest

from handlers.summaries import JsonFormatter
from tests.handlers.conftest import Fetch


@pytest.mark.gen_test
async def test_request_is_one_line_with_all_its_facts(
    fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"User-Agent": "test/1", "Accept-Language": "eo", "X-Request-Id": "r-1"}
    with caplog.at_level(logging.INFO, "request.summary"):
        await fetch("GET /buckets/b?_fields=a", headers=headers)
    (record,) = caplog.records
    line = json.loads(JsonFormatter().format(record))
    fields = line["Fields"]
    uid = fields.pop("uid")
    assert uid.startswith("basicauth:")
    assert isinstance(fields.pop("t"), int)
    assert abs(fields.pop("time") - record.created) < 60
    assert fields == {
        "agent": "test/1",
        "path": "/v1/buckets/b",
        "method": "GET",
        "lang": "eo",
        "rid": "r-1",
        "querystring": "_fields=a",
        "code": 403,
        "errno": 121,
        "authn_type": "basicauth",
    }
    assert line["Type"] == "request.summary"
    assert line["Severity"] == 6
    assert line["Timestamp"] == int(record.created * 1e9)
    assert record.getMessage().startswith("GET /v1/buckets/b?_fields=a 403 ")


@pytest.mark.gen_test
async def test_batch_is_one_line_with_its_size(
    fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "request.summary"):
        await fetch("POST /batch", {"requests": [{"path": "/"}, {"path": "/none"}]})
        await fetch("GET /")
    batch, hello = [record.__dict__["fields"] for record in caplog.records]
    assert (batch["batch_size"], batch["errno"], batch["code"]) == (2, 0, 200)
    assert "batch_size" not in hello
    assert hello["errno"] == 0


@pytest.mark.gen_test
async def test_request_that_is_refused_before_it_is_read_is_a_line_too(
    fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "request.summary"):
        await fetch("GET /", headers={"X-Long": "x" * 70_000})
        await fetch("FOO /buckets/b")
    first, second = [record.__dict__["fields"] for record in caplog.records]
    assert (first["code"], first["errno"]) == (431, 107)
    assert (second["code"], second["errno"]) == (405, 115)


@pytest.mark.gen_test
async def test_log_that_nobody_reads_is_not_made(
    fetch: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "request.summary"):
        await fetch("GET /")
    assert caplog.records == []


def test_any_other_record_is_json_too_with_its_traceback() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.LogRecord(
            "server.x", logging.ERROR, __file__, 1, "%s failed", ("it",), sys.exc_info()
        )
    line = json.loads(JsonFormatter().format(record))
    assert line["Fields"]["message"] == "it failed"
    assert "ValueError: why" in line["Fields"]["traceback"]
    assert (line["Severity"], line["Type"]) == (3, "server.x")
    assert line["Pid"] == record.process


def test_unknown_level_is_the_least_severe() -> None:
    record = logging.LogRecord("x", 1, __file__, 1, "text", None, None)
    assert json.loads(JsonFormatter().format(record))["Severity"] == 7
