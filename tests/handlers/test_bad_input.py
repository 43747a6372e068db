"""What is not as it should be is answered as the API answers everything, and changes nothing."""

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.handlers.conftest import ALICE, Answer, RawServer, Talk, parse_answers, read_all

HOST = b"Host: localhost\r\n"
USER = b"Authorization: " + ALICE.encode() + b"\r\n"
CLOSE = b"Connection: close\r\n"
JSON = b"Content-Type: application/json\r\n"


def head(target: str, *lines: bytes) -> bytes:
    """A request's head, which asks for the connection to be closed."""
    return f"{target} HTTP/1.1\r\n".encode() + HOST + USER + CLOSE + b"".join(lines) + b"\r\n"


def check_error(answers: list[Answer], status: int, errno: int) -> Answer:
    """Check that there is one answer, and that it is an error as the API tells it."""
    (answer,) = answers
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    body = answer.json
    assert (body["code"], body["errno"]) == (status, errno)
    assert body["error"]
    assert body["message"]
    return answer


@pytest.fixture
def bucket(talk: Talk) -> Iterator[str]:
    """The path of a bucket of the user's own."""
    path = f"/v1/buckets/b{uuid.uuid4().hex}"
    (answer,) = talk(head(f"PUT {path}"))
    assert answer.status == 201
    yield path
    # Whatever was refused, the server is well, and the bucket as it was.
    (answer,) = talk(head(f"GET {path}"))
    assert answer.status == 200
    assert set(answer.data) == {"id", "last_modified"}


class TestTooMuch:
    BODY_BYTES = 20 * 1024 * 1024

    def test_body_of_20_mb_is_413_and_the_sender_reads_it(self, talk: Talk) -> None:
        length = f"Content-Length: {self.BODY_BYTES}\r\n".encode()
        answers = talk(head("POST /v1/batch", length), bytes(self.BODY_BYTES))
        assert check_error(answers, 413, 113).headers["connection"] == "close"

    def test_chunked_body_of_20_mb_is_413_and_the_sender_reads_it(self, talk: Talk) -> None:
        size = 1 << 20
        chunk = b"%x\r\n" % size + bytes(size) + b"\r\n"
        request = head("POST /v1/batch", b"Transfer-Encoding: chunked\r\n")
        answers = talk(request, *[chunk] * 20, b"0\r\n\r\n")
        assert check_error(answers, 413, 113).headers["connection"] == "close"

    def test_too_large_body_is_413_before_any_of_it_is_sent(self, raw_server: RawServer) -> None:
        with raw_server.connect() as connection:
            connection.sendall(head("PUT /v1/buckets/a", b"Content-Length: 20971520\r\n"))
            check_error(parse_answers(connection.recv(1 << 16)), 413, 113)

    def test_too_large_chunked_body_is_413_before_its_end(self, raw_server: RawServer) -> None:
        size = 9 << 20
        with raw_server.connect() as connection:
            connection.sendall(head("PUT /v1/buckets/a", b"Transfer-Encoding: chunked\r\n"))
            connection.sendall(b"%x\r\n" % (2 * size) + bytes(size))
            check_error(parse_answers(connection.recv(1 << 16)), 413, 113)

    def test_refused_body_that_never_ends_is_closed_upon(self, raw_server: RawServer) -> None:
        piece = bytes(1 << 20)
        with raw_server.connect() as connection:
            connection.sendall(head("PUT /v1/buckets/a", b"Content-Length: 999999999999\r\n"))
            sent = 0
            with suppress(ConnectionError):
                while sent < 500:
                    connection.sendall(piece)
                    sent += 1
            assert 64 <= sent < 500

    def test_refused_body_that_stops_is_closed_upon(self, raw_server: RawServer) -> None:
        with raw_server.connect() as connection:
            connection.sendall(head("PUT /v1/buckets/a", b"Content-Length: 20971520\r\n"))
            check_error(parse_answers(read_all(connection)), 413, 113)

    def test_client_that_leaves_what_was_refused_harms_nobody(
        self, raw_server: RawServer, talk: Talk
    ) -> None:
        with raw_server.connect() as connection:
            connection.sendall(head("PUT /v1/buckets/a", b"Content-Length: 20971520\r\n"))
            assert connection.recv(12) == b"HTTP/1.1 413"
        assert talk(head("GET /v1/"))[0].status == 200

    def test_content_length_of_a_thousand_digits_is_400(self, talk: Talk) -> None:
        length = b"Content-Length: " + b"9" * 1000 + b"\r\n"
        check_error(talk(head("PUT /v1/buckets/a", length)), 400, 107)

    def test_too_large_body_that_awaits_leave_gets_none(self, talk: Talk) -> None:
        lines = (b"Content-Length: 20971520\r\n", b"Expect: 100-continue\r\n")
        check_error(talk(head("PUT /v1/buckets/a", *lines)), 413, 113)

    def test_header_of_100_kb_is_431(self, talk: Talk) -> None:
        answers = talk(head("GET /v1/", b"X-Long: " + b"x" * 100_000 + b"\r\n"))
        assert check_error(answers, 431, 107).headers["connection"] == "close"

    def test_many_small_headers_are_431(self, talk: Talk) -> None:
        many = b"".join(b"X-%d: %s\r\n" % (i, b"x" * 90) for i in range(900))
        check_error(talk(head("GET /v1/", many)), 431, 107)

    def test_headers_too_long_for_head_have_no_body(self, talk: Talk) -> None:
        request = head("HEAD /v1/", b"X-Long: " + b"x" * 100_000 + b"\r\n")
        (answer,) = talk(request, heads=1)
        assert (answer.status, answer.body) == (431, b"")

    def test_ten_thousand_query_parameters_are_400(self, talk: Talk, bucket: str) -> None:
        query = "&".join(f"field{i}=value" for i in range(10_000))
        check_error(talk(head(f"GET {bucket}/groups?{query}")), 400, 107)

    def test_url_of_100_kb_is_read(self, talk: Talk, bucket: str) -> None:
        ids = ",".join(f"id{i:07}" for i in range(10_000))
        (answer,) = talk(head(f"GET {bucket}/groups?in_id={ids}"))
        assert (answer.status, answer.data) == (200, [])

    def test_url_of_2_mb_is_400(self, talk: Talk) -> None:
        check_error(talk(head("GET /v1/" + "a" * 2_000_000)), 400, 107)

    def test_body_of_200_levels_and_more_is_400(self, talk: Talk, bucket: str) -> None:
        body = b'{"data":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}"
        check_error(talk(write(f"PUT {bucket}", body)), 400, 107)


def write(target: str, body: bytes, *lines: bytes) -> bytes:
    """A request with a body."""
    return head(target, JSON, b"Content-Length: %d\r\n" % len(body), *lines) + body


class TestFraming:
    @pytest.mark.parametrize(
        "line",
        [
            b"Content-Length: abc",
            b"Content-Length: -2",
            b"Content-Length: +2",
            b"Content-Length: 2_0",
            b"Content-Length: 0x2",
            b"Content-Length: 2.0",
            b"Content-Length:",
            b"Content-Length: \xb2",
            b"Content-Length: 2\r\nContent-Length: 3",
            b"Content-Length: 2\r\nContent-Length: 2",
            b"Content-Length: 2\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding: chunked, chunked",
        ],
    )
    def test_body_without_a_clear_end_is_400(self, line: bytes, talk: Talk, bucket: str) -> None:
        check_error(talk(head(f"PUT {bucket}", line + b"\r\n") + b"{}"), 400, 107)

    @pytest.mark.parametrize(
        "body",
        [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}xx0\r\n\r\n", b"2\r\n{}\r\n0\r\nxx", b"-2\r\n{}"],
    )
    def test_garbage_in_chunks_is_400(self, body: bytes, talk: Talk, bucket: str) -> None:
        request = head(f"PUT {bucket}", JSON, b"Transfer-Encoding: chunked\r\n")
        check_error(talk(request + body), 400, 107)

    def test_chunk_size_without_an_end_is_400(self, talk: Talk, bucket: str) -> None:
        request = head(f"PUT {bucket}", JSON, b"Transfer-Encoding: chunked\r\n")
        check_error(talk(request + b"f" * 1000), 400, 107)

    def test_body_without_a_length_is_no_body(self, talk: Talk) -> None:
        request = head("POST /v1/batch", JSON) + b'{"requests":[]}'
        check_error(talk(request), 400, 107)

    @pytest.mark.parametrize(
        "request_bytes",
        [
            b"nonsense\r\n\r\n",
            b"GET /v1/\r\n\r\n",
            b"GET /v1/ HTTP/1.1\r\n\r\n",
            b"GET /v1/ HTTP/2.0\r\n" + HOST + b"\r\n",
            b"GET /v1/ HTTP/1.1\r\nHost: a b\r\n\r\n",
            b"GET /v1/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET /v1/ HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n",
            b"GET /v1/ HTTP/1.1\r\n" + HOST + b": no name\r\n\r\n",
            b"GET /v1/buckets/a b HTTP/1.1\r\n" + HOST + b"\r\n",
            b"G(T /v1/ HTTP/1.1\r\n" + HOST + b"\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ],
    )
    def test_what_is_no_http_is_400(self, request_bytes: bytes, talk: Talk) -> None:
        check_error(talk(request_bytes), 400, 107)

    @pytest.mark.parametrize("sent", [b"", b"GET", b"GET /v1/ HTTP/1.1\r\nHost: lo"])
    def test_head_that_breaks_off_is_not_answered(self, sent: bytes, talk: Talk) -> None:
        assert talk(sent, half_close=True) == []

    @pytest.mark.parametrize(
        "request_bytes",
        [
            head("PUT {bucket}", JSON, b"Content-Length: 100\r\n") + b'{"data":{"a":1}}',
            head("PUT {bucket}", JSON, b"Transfer-Encoding: chunked\r\n")
            + b'11\r\n{"data":{"a":1}}',
        ],
    )
    def test_body_shorter_than_promised_writes_nothing(
        self, request_bytes: bytes, talk: Talk, bucket: str
    ) -> None:
        request = request_bytes.replace(b"{bucket}", bucket.encode())
        assert talk(request, half_close=True) == []

    def test_client_that_leaves_before_its_answer_harms_nobody(
        self, raw_server: RawServer, talk: Talk, bucket: str
    ) -> None:
        for _ in range(20):
            with raw_server.connect() as connection:
                connection.sendall(head(f"GET {bucket}"))
        assert talk(head("GET /v1/__heartbeat__"))[0].status == 200


class TestConnections:
    def test_pipelined_requests_are_answered_in_order(self, talk: Talk, bucket: str) -> None:
        paths = [f"GET {bucket}/groups/missing", "GET /v1/__lbheartbeat__", "GET /v1/none"]
        requests = [head(path).replace(CLOSE, b"") for path in paths]
        answers = talk(b"".join(requests) + head(f"GET {bucket}"))
        assert [answer.status for answer in answers] == [404, 200, 404, 200]
        assert answers[3].data["id"] == bucket.rpartition("/")[2]

    def test_pipelined_write_is_seen_by_the_read_after_it(self, talk: Talk, bucket: str) -> None:
        body = b'{"data":{"members":["x"]}}'
        request = write(f"PUT {bucket}/groups/g", body).replace(CLOSE, b"")
        answers = talk(request + head(f"GET {bucket}/groups/g"))
        assert [answer.status for answer in answers] == [201, 200]
        assert answers[0].data == answers[1].data

    @pytest.mark.parametrize(
        "path",
        [
            "/v1/",
            "/v1/buckets",
            "{bucket}",
            "{bucket}/groups",
            "{bucket}/groups/missing",
            "/v1/__heartbeat__",
            "/v1/__lbheartbeat__",
            "/v1/__version__",
            "/v1/contribute.json",
            "/v1/batch",
            "/v1/none",
            "/v2/",
            "/buckets",
            "{bucket}/",
            "/v1/buckets/bad%20id",
        ],
    )
    def test_head_answers_as_get_without_a_body(self, path: str, talk: Talk, bucket: str) -> None:
        target = path.replace("{bucket}", bucket)
        (got,) = talk(head(f"GET {target}"))
        (answer,) = talk(head(f"HEAD {target}"), heads=1)
        assert (answer.status, answer.body) == (got.status, b"")
        assert answer.headers["access-control-allow-origin"] == "*"

    def test_expect_100_continue_gets_leave_and_then_the_answer(
        self, raw_server: RawServer, bucket: str
    ) -> None:
        body = b'{"data":{"members":["x"]}}'
        length = b"Content-Length: %d\r\n" % len(body)
        with raw_server.connect() as connection:
            request = head(f"PUT {bucket}/groups/g", JSON, length, b"Expect: 100-continue\r\n")
            connection.sendall(request)
            assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
            connection.sendall(body)
            (answer,) = parse_answers(read_all(connection))
        assert (answer.status, answer.data["members"]) == (201, ["x"])

    def test_http_1_0_is_answered_without_host_and_closed(self, talk: Talk) -> None:
        (answer,) = talk(b"GET /v1/ HTTP/1.0\r\n\r\n")
        assert answer.status == 200
        assert answer.json["http_api_version"]

    def test_http_1_0_may_write(self, talk: Talk, bucket: str) -> None:
        body = b'{"data":{"members":[]}}'
        request = write(f"PUT {bucket}/groups/g", body).replace(b"HTTP/1.1", b"HTTP/1.0")
        (answer,) = talk(request)
        assert answer.status == 201

    def test_connection_outlives_an_error(self, talk: Talk) -> None:
        request = head("GET /v1/none").replace(CLOSE, b"")
        answers = talk(request + head("GET /v1/"))
        assert [answer.status for answer in answers] == [404, 200]

    def test_body_that_get_has_is_read_and_left_alone(self, talk: Talk, bucket: str) -> None:
        request = write(f"GET {bucket}", b"{not json").replace(CLOSE, b"")
        answers = talk(request + head("GET /v1/"))
        assert [answer.status for answer in answers] == [200, 200]


class TestRequests:
    @pytest.mark.parametrize(
        "value",
        [
            b"Basic !!!",
            b"Basic",
            b"Basic ",
            b"Basic \xff\xfe",
            b"Basic bm9jb2xvbg==",
            b"Basic OnBhc3N3b3Jk",
            b"Bearer token",
            b"Digest username=x",
            b"nonsense",
        ],
    )
    def test_authorization_that_means_nothing_is_401(
        self, value: bytes, talk: Talk, bucket: str
    ) -> None:
        request = head(f"GET {bucket}").replace(USER, b"Authorization: " + value + b"\r\n")
        (answer,) = talk(request)
        assert answer.headers["www-authenticate"].startswith("Basic ")
        check_error([answer], 401, answer.json["errno"])
        assert answer.json["errno"] in (104, 105)

    @pytest.mark.parametrize(
        "method",
        ["FOO", "TRACE", "CONNECT", "FINISH", "PREPARE", "INITIALIZE", "get", "_ANY", "X-Y"],
    )
    def test_unknown_method_is_405_and_names_those_there_are(
        self, method: str, talk: Talk, bucket: str
    ) -> None:
        answer = check_error(talk(head(f"{method} {bucket}")), 405, 115)
        assert answer.headers["allow"] == "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"

    def test_unknown_method_on_an_unknown_url_is_404(self, talk: Talk) -> None:
        check_error(talk(head("FOO /v1/none")), 404, 111)

    def test_unknown_method_outside_the_version_is_405(self, talk: Talk) -> None:
        check_error(talk(head("FOO /buckets")), 405, 115)

    def test_url_in_absolute_form_is_answered_as_its_path(self, talk: Talk, bucket: str) -> None:
        (answer,) = talk(head(f"GET http://localhost{bucket}?_fields=id"))
        assert answer.status == 200
        assert answer.data["id"] == bucket.rpartition("/")[2]
        (hello,) = talk(head("GET HTTPS://user@other.example:1"))
        assert hello.headers["location"] == "http://localhost/v1/"

    @pytest.mark.parametrize("target", ["*", "localhost:80", "ftp://localhost/v1/", "v1/"])
    def test_target_that_is_no_path_is_404(self, target: str, talk: Talk) -> None:
        check_error(talk(head(f"GET {target}")), 404, 111)

    def test_options_of_the_server_itself_is_a_preflight(self, talk: Talk) -> None:
        lines = (b"Origin: http://a\r\n", b"Access-Control-Request-Method: GET\r\n")
        assert talk(head("OPTIONS *", *lines))[0].status == 200
        check_error(talk(head("OPTIONS *")), 400, 107)

    @pytest.mark.parametrize(
        "path",
        [
            "/v1/buckets/a%00b",
            "/v1/buckets/%00",
            "/v1/buckets/a%2Fb",
            "/v1/buckets/%2e%2e",
            "/v1/buckets/..",
            "/v1/buckets/%FF",
            "/v1/buckets/%C3%28",
            "/v1/buckets/a%20b",
            "/v1/buckets/%zz",
            "/v1/buckets/$where",
            "/v1/buckets/" + "a" * 1025,
        ],
    )
    def test_path_with_an_id_that_cannot_be_is_400(self, path: str, talk: Talk) -> None:
        check_error(talk(head(f"PUT {path}")), 400, 107)

    @pytest.mark.parametrize(
        "path",
        ["/v1//buckets", "/v1/buckets//a", "/v1/buckets/a/../b", "/v1/../v1/buckets", "/v1/%00"],
    )
    def test_path_of_no_endpoint_is_404(self, path: str, talk: Talk) -> None:
        check_error(talk(head(f"GET {path}")), 404, 111)

    def test_double_slash_first_leads_nowhere_else(self, talk: Talk) -> None:
        (answer,) = talk(head("GET //evil.example/v1/"))
        assert answer.status == 307
        assert answer.headers["location"].startswith("http://localhost/v1/")

    def test_bytes_beyond_ascii_in_a_url_are_utf_8(self, talk: Talk, bucket: str) -> None:
        talk(write(f"PUT {bucket}", '{"data":{"né":"é"}}'.encode()))
        (found,) = talk(head("GET /v1/buckets?né=é&_fields=né"))
        assert found.data[0]["né"] == "é"
        talk(write(f"PUT {bucket}", b'{"data":{}}'))
        for target in ("/v1/buckets/é", "/v1/buckets/\udcff", "/v1/buckets/a?b=\udcff"):
            request = b"PUT " + target.encode(errors="surrogateescape") + b" HTTP/1.1\r\n"
            check_error(talk(request + HOST + USER + CLOSE + b"\r\n"), 400, 107)

    @pytest.mark.parametrize("query", ["a=%FF", "%C3%28=1", "_fields=%FF"])
    def test_query_that_is_no_utf_8_is_400(self, query: str, talk: Talk, bucket: str) -> None:
        check_error(talk(head(f"GET {bucket}/groups?{query}")), 400, 107)

    @pytest.mark.parametrize("query", ["a=%zz", "%", "&&&", "=", "a", "?", "a=1;b=2", "%00=%00"])
    def test_query_that_is_odd_is_a_filter_that_nothing_matches(
        self, query: str, talk: Talk, bucket: str
    ) -> None:
        (answer,) = talk(head(f"GET {bucket}/groups?{query}"))
        assert (answer.status, answer.data) == (200, [])

    @pytest.mark.parametrize("query", ["_since=%zz", "_limit=%00", "_limit=1e9", "_token=%zz"])
    def test_parameter_of_the_protocol_that_is_odd_is_400(
        self, query: str, talk: Talk, bucket: str
    ) -> None:
        check_error(talk(head(f"GET {bucket}/groups?{query}")), 400, 107)

    @pytest.mark.parametrize(
        "body",
        [
            b"null",
            b"[]",
            b'"x"',
            b"1",
            b"true",
            b"{",
            b"\xff",
            b"\xef\xbb\xbf{}",
            b"{} {}",
            b"NaN",
            b'{"data":[]}',
            b'{"data":"x"}',
            b'{"data":{"a":NaN}}',
            b'{"data":{"a":"\\ud800"}}',
            b'{"permissions":[]}',
            b'{"permissions":{"read":"x"}}',
            b'{"other":1}',
        ],
    )
    @pytest.mark.parametrize("target", ["PUT {bucket}", "PATCH {bucket}", "POST {bucket}/groups"])
    def test_body_that_is_no_envelope_is_400(
        self, target: str, body: bytes, talk: Talk, bucket: str
    ) -> None:
        check_error(talk(write(target.replace("{bucket}", bucket), body)), 400, 107)

    @pytest.mark.parametrize("body", [b"null", b"[]", b'"x"', b"1", b'{"requests":{}}', b"{"])
    def test_body_that_is_no_batch_is_400(self, body: bytes, talk: Talk) -> None:
        check_error(talk(write("POST /v1/batch", body)), 400, 107)

    @pytest.mark.parametrize("accept", [b"text/html", b"application/xml;q=1, text/*", b"x"])
    def test_accept_without_json_is_406(self, accept: bytes, talk: Talk, bucket: str) -> None:
        request = head(f"GET {bucket}", b"Accept: " + accept + b"\r\n")
        check_error(talk(request), 406, 107)

    @pytest.mark.parametrize(
        "accept", [b"", b"*/*", b"text/html, */*;q=0.1", b"APPLICATION/JSON", b"application/*"]
    )
    def test_accept_with_json_is_answered(self, accept: bytes, talk: Talk, bucket: str) -> None:
        request = head(f"GET {bucket}", b"Accept: " + accept + b"\r\n")
        assert talk(request)[0].status == 200

    @pytest.mark.parametrize("kind", [b"text/plain", b"x", b"application/json2", b";", b"\xff"])
    def test_content_type_of_another_kind_is_415(
        self, kind: bytes, talk: Talk, bucket: str
    ) -> None:
        request = write(f"PUT {bucket}", b"{}").replace(b"application/json", kind)
        check_error(talk(request), 415, 107)

    @pytest.mark.parametrize("kind", [b"Application/JSON", b"application/json;charset=utf-8", b""])
    def test_content_type_of_json_however_written_is_read(
        self, kind: bytes, talk: Talk, bucket: str
    ) -> None:
        request = write(f"PUT {bucket}/groups/g", b'{"data":{"members":["x"]}}')
        (answer,) = talk(request.replace(b"application/json", kind))
        assert (answer.status, answer.data["members"]) == (201, ["x"])

    @pytest.mark.parametrize(
        "query",
        [
            'members={"$ne":null}',
            'in_id={"$gt":""}',
            "$where=1",
            'like_id={"$regex":".*"}',
            'not_x[$ne]={"$exists":false}&id=none',
            "id[$ne]=x",
        ],
    )
    def test_filter_shaped_like_an_operator_of_the_database_is_a_value(
        self, query: str, talk: Talk, bucket: str
    ) -> None:
        talk(write(f"PUT {bucket}/groups/g", b'{"data":{"members":["x"]}}'))
        target = f"GET {bucket}/groups?{query}".replace('"', "%22")
        (answer,) = talk(head(target))
        assert answer.status == 400 or answer.data == []

    @pytest.mark.parametrize("value", [b"12", b'W/"12"', b'"a"', b'"1","2"', b'"-1"', b'"1'])
    @pytest.mark.parametrize("name", [b"If-Match", b"If-None-Match"])
    def test_precondition_that_is_no_etag_is_400(
        self, name: bytes, value: bytes, talk: Talk, bucket: str
    ) -> None:
        answers = talk(head(f"PUT {bucket}", name + b": " + value + b"\r\n"))
        check_error(answers, 400, 107)


def test_every_refusal_is_json_for_an_origin_that_is_named(talk: Talk) -> None:
    server = RawServer(cors_origins="https://app.example")
    try:
        with server.connect() as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            (answer,) = parse_answers(read_all(connection))
    finally:
        server.stop()
    assert answer.status == json.loads(answer.body)["code"] == 400
    assert "access-control-allow-origin" not in answer.headers
