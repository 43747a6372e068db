import json

import pytest

from handlers.connections import make_refusal
from handlers.options import CONSTANT_HEADERS


def test_refusal_is_a_whole_answer_with_the_headers_of_every_other() -> None:
    head, _, body = make_refusal(["*"]).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == "HTTP/1.1 400 Bad Request"
    assert headers.items() >= CONSTANT_HEADERS.items()
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Connection"] == "close"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert json.loads(body)["errno"] == 107


@pytest.mark.parametrize("origins", [(), ("https://app.example",)])
def test_refusal_names_no_origin_where_only_some_may_read(origins: tuple[str, ...]) -> None:
    # Who asks is not known: the request could not be read.
    assert b"Access-Control-Allow-Origin" not in make_refusal(origins)
