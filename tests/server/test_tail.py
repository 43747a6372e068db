import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from server.cli import commands
from server.tail import DEFAULT_URL, Output
from tests.servers import ThreadServer, run_alone
from tests.system.clients import Client

LIST = "/buckets/b/collections/c/records"


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadServer]:
    server = ThreadServer({"storage_backend": "memory", "includes": "flush"}, {})
    yield server
    server.stop()


@pytest.fixture
def alice(server: ThreadServer) -> Iterator[Client]:
    client = Client(server.url)
    client.ask("DELETE", "/buckets")
    client.put("/buckets/b")
    client.put("/buckets/b/collections/c")
    yield client
    client.close()


def run(server: ThreadServer, *arguments: str, auth: str | None = "alice:secret") -> Result:
    """What a ``kintoun tail`` prints that ends by itself."""
    environ = {"KINTOUN_URL": server.url, "KINTOUN_AUTH": auth}
    return CliRunner().invoke(commands, ["tail", *arguments], env=environ)


def lines_of(result: Result) -> list[Any]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_changes_since_the_beginning_are_a_line_each(server: ThreadServer, alice: Client) -> None:
    first = alice.put(f"{LIST}/r1", {"text": "höher"})
    second = alice.put(f"{LIST}/r2", {"n": 2})
    result = run(server, LIST, "--since", "0", "--count", "2")
    assert lines_of(result) == [
        {
            "action": "create",
            "cursor": answer.headers["Cursor"],
            "uri": f"{LIST}/{answer.data['id']}",
            "resource_name": "record",
            "data": answer.data,
        }
        for answer in (first, second)
    ]
    assert "höher" in result.stdout


def test_snapshot_is_printed_where_it_is_asked_for(server: ThreadServer, alice: Client) -> None:
    alice.put(f"{LIST}/r1")
    (line,) = lines_of(run(server, LIST, "--snapshot", "--count", "1"))
    assert (line["action"], line["data"]["id"]) == ("snapshot", "r1")
    assert "cursor" not in line


def test_only_what_comes_is_printed_without_since(server: ThreadServer, alice: Client) -> None:
    alice.put(f"{LIST}/old")
    finished = threading.Event()

    def write() -> None:
        number = 0
        client = Client(server.url)
        # Whatever it hears of first: it is none that was there when it began.
        while not finished.wait(0.02):
            number += 1
            client.put(f"{LIST}/new-{number}")
        client.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        result = run(server, LIST, "--count", "2")
    finally:
        finished.set()
        writer.join()
    assert [line["action"] for line in lines_of(result)] == ["create"] * 2
    assert f"kintoun: following {LIST} from " in result.stderr


def test_filters_and_extras_reach_the_server(server: ThreadServer, alice: Client) -> None:
    since = alice.put(f"{LIST}/other", {"status": "a & b", "n": 1}).headers["Cursor"]
    alice.put(f"{LIST}/mine", {"status": "a & b", "n": 2})
    alice.put(f"{LIST}/mine", {"status": "a & b", "n": 3})
    arguments = ["--filter", "status=a & b", "--filter", "min_n=2", "--include", "user_id"]
    result = run(
        server,
        f"{server.url}{LIST}?_fields=n",
        *arguments,
        *("--include", "old", "--since", since, "--history", "all", "--count", "2"),
    )
    lines = lines_of(result)
    assert [line["data"]["n"] for line in lines] == [2, 3]
    assert lines[1]["old"]["n"] == 2
    assert lines[1]["user_id"].startswith("basicauth:")


def test_reset_is_a_line_that_does_not_count(server: ThreadServer, alice: Client) -> None:
    since = alice.put(f"{LIST}/r1").headers["Cursor"]
    alice.ask("DELETE", "/buckets/b/collections/c")
    alice.put("/buckets/b/collections/c")
    alice.put(f"{LIST}/r2")
    lines = lines_of(run(server, LIST, "--since", since, "--count", "1"))
    assert lines[0] == {"action": "reset", "reason": "floor"}
    assert [line["action"] for line in lines] == ["reset", "snapshot"]


@pytest.mark.parametrize(
    ("uri", "auth", "said"),
    [
        (LIST, None, "(401, errno 104)"),
        (LIST, "bob:x", "(403, errno 121)"),
        ("/buckets/b/collections/none/records", "alice:secret", "(404, errno 111)"),
        (f"{LIST}?_sort=n", "alice:secret", "(400, errno 107)"),
    ],
)
def test_refusal_is_a_sentence_and_exit_code_1(
    server: ThreadServer, alice: Client, uri: str, auth: str | None, said: str
) -> None:
    result = run(server, uri, auth=auth)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("kintoun: ")
    assert result.stderr.endswith(f"{said}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "URI"),
        (["buckets/b"], "/v1/"),
        (["http://127.0.0.1/buckets/b"], "/v1/"),
        (["ftp://127.0.0.1/v1/buckets/b"], "/v1/"),
        ([LIST, "--since", "yesterday"], "'yesterday' is no cursor"),
        ([LIST, "--url", "127.0.0.1:8888"], "no address"),
        ([LIST, "--filter", "status"], "NAME=VALUE"),
        ([LIST, "--filter", "=1"], "NAME=VALUE"),
        ([LIST, "--auth", "topsecret"], "USER:PASSWORD"),
        ([LIST, "--count", "0"], "0"),
        ([LIST, "--history", "some"], "latest"),
    ],
)
def test_wrong_usage_is_exit_code_2(server: ThreadServer, arguments: list[str], said: str) -> None:
    result = run(server, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "topsecret" not in result.output


def test_help_names_the_environment_but_not_what_is_in_it(server: ThreadServer) -> None:
    result = run(server, "--help", auth="alice:topsecret")
    assert "KINTOUN_URL" in result.output
    assert "KINTOUN_AUTH" in result.output
    assert DEFAULT_URL in result.output
    assert "topsecret" not in result.output


def test_signal_ends_it_as_it_ends_other_commands(server: ThreadServer, alice: Client) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        timer = threading.Timer(0.5, os.kill, (os.getpid(), number))
        timer.start()
        assert run(server, LIST, "--wait").exit_code == 128 + number
        timer.join()


class Pipe:
    """A pipe with an output at one end."""

    def __init__(self) -> None:
        self.end, descriptor = os.pipe()
        self.stream = os.fdopen(descriptor, "w")
        self.output = Output(self.stream)

    def close(self) -> None:
        os.close(self.end)
        self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_pipe_that_is_full_does_not_block_and_gets_everything(pipe: Pipe) -> None:
    line = "é" * 300_000

    async def write_and_read() -> bytes:
        writing = asyncio.ensure_future(pipe.output.write(line))
        found = b""
        while not found.endswith(b"\n"):
            found += await asyncio.to_thread(os.read, pipe.end, 65536)
        await writing
        return found

    assert run_alone(write_and_read()).decode() == line + "\n"


def test_pipe_that_nobody_reads_is_told_of_and_cannot_be_written() -> None:
    pipe = Pipe()

    async def abandon() -> int:
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        pipe.output.when_abandoned(told.set_result, 7)
        os.close(pipe.end)
        code = await told
        with pytest.raises(BrokenPipeError):
            await pipe.output.write("{}")
        return code

    assert run_alone(abandon()) == 7
    pipe.stream.close()


def test_character_without_a_code_is_escaped(pipe: Pipe) -> None:
    run_alone(pipe.output.write('"\ud800"'))
    assert os.read(pipe.end, 100) == b'"\\ud800"\n'
