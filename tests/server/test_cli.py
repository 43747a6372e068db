import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from server.cli import commands
from tests.conftest import StartServer
from tests.processes import ROOT, MongoProcess, ServerProcess, free_port


def one_line(server: ServerProcess) -> str:
    """The only line that a start which was refused has printed."""
    assert server.wait() == 1, server.output
    lines = server.output.splitlines()
    assert len(lines) == 1, server.output
    assert lines[0].startswith("kintoun: ")
    return lines[0]


def fetch(url: str, method: str = "GET") -> object:
    alice = base64.b64encode(b"alice:secret").decode()
    request = urllib.request.Request(
        url, method=method, headers={"Authorization": f"Basic {alice}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def is_running(pid: int) -> bool:
    try:
        return b"mongod" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def mongod_pid(data: Path) -> int:
    return int((data / "db" / "mongod.lock").read_text())


def test_server_says_where_it_listens_and_where_the_data_lie(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server("--data", str(tmp_path / "my data"))
    assert isinstance(fetch(server.url), dict)
    server.wait_for("Try: +curl .*" + server.url)
    assert f"Data: {tmp_path}/my data (private MongoDB)" in server.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_server_and_mongod_cleanly(
    start_server: StartServer, tmp_path: Path, number: signal.Signals
) -> None:
    server = start_server()
    pid = mongod_pid(tmp_path / "data")
    assert is_running(pid)
    assert server.terminate(number) == 0
    assert not is_running(pid)
    assert "Traceback" not in server.output


def test_killed_server_leaves_nothing_that_blocks_the_next_start(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server()
    pid = mongod_pid(tmp_path / "data")
    server.kill()
    assert isinstance(fetch(start_server().url), dict)
    assert not is_running(pid)


def test_second_server_on_a_data_folder_is_refused(start_server: StartServer) -> None:
    first = start_server()
    line = one_line(start_server(ready=False))
    assert f"pid {first.pid} at {first.url}" in line
    assert "--data" in line


def test_mongod_that_dies_takes_the_server_with_it(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server()
    os.kill(mongod_pid(tmp_path / "data"), signal.SIGKILL)
    assert server.wait() == 1
    assert "kintoun: mongod ended" in server.output


def test_memory_needs_no_mongod(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--storage", "memory", environ={"KINTO_MONGOD_PATH": "/nowhere"})
    server.wait_for("Data: in memory, gone when the server ends")
    assert not (tmp_path / "data").exists()


def test_given_mongodb_is_used_and_shown_without_password(
    start_server: StartServer, mongo_uri: str, mongo_database: str
) -> None:
    uri = mongo_uri.replace("/?", f"/{mongo_database}?")
    server = start_server(environ={"MONGODB_URI": uri})
    assert server.wait_for(rf"Data: database {mongo_database} of MongoDB at 127\.0\.0\.1:\d+\n")


def test_standalone_mongod_is_refused_with_the_command_that_mends_it(
    start_server: StartServer, tmp_path: Path
) -> None:
    mongo = MongoProcess(tmp_path / "standalone", replica_set=False)
    try:
        mongo.wait_until_ready()
        line = one_line(start_server(environ={"MONGODB_URI": mongo.uri}, ready=False))
    finally:
        mongo.stop()
    assert "--replSet" in line


def test_unreachable_database_is_one_sentence(start_server: StartServer) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=100"
    line = one_line(start_server(environ={"MONGODB_URI": uri}, ready=False))
    assert "127.0.0.1" in line


def test_port_in_use_is_one_sentence(start_server: StartServer) -> None:
    port = start_server("--storage", "memory").url.split(":")[2].split("/")[0]
    line = one_line(start_server("--storage", "memory", "--port", port, ready=False))
    assert "--port" in line


def test_unknown_setting_stops_the_start(start_server: StartServer) -> None:
    line = one_line(start_server(environ={"KINTO_READ_ONLY": "true"}, ready=False))
    assert "did you mean readonly?" in line


def test_ini_of_a_kinto_is_named_by_the_environment_too(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "kinto.ini").write_text(
        "[app:main]\nuse = egg:kinto\nkinto.storage_backend = kinto.core.storage.memory\n"
        "kinto.cache_url = memcached://h\nkinto.readonly = true\n"
    )
    server = start_server(environ={"KINTO_INI": "kinto.ini"})
    server.wait_for(f"Try: +curl {server.url}\n")
    assert "ignored: cache_url." in server.output


def test_acknowledged_writes_survive_a_kill(start_server: StartServer) -> None:
    server = start_server()
    fetch(server.url + "buckets/kept", "PUT")
    server.kill()
    answer = fetch(start_server().url + "buckets/kept")
    assert isinstance(answer, dict)
    assert answer["data"]["id"] == "kept"


def test_changed_source_file_starts_a_reloading_server_again(
    start_server: StartServer, tmp_path: Path
) -> None:
    for folder in ("server", "handlers", "notifier"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    environ = {"PYTHONPATH": str(tmp_path)}
    server = start_server("--storage", "memory", "--reload", environ=environ)
    os.utime(tmp_path / "server" / "cli.py", ns=(1, 1))
    assert server.wait_for(r"(?s)a source file changed.*listens on")


def test_reloading_server_ends_with_its_watcher(
    start_server: StartServer,
) -> None:
    server = start_server("--storage", "memory", "--reload")
    assert isinstance(fetch(server.url), dict)
    assert server.terminate(signal.SIGINT) == 0


def test_unknown_option_is_a_usage_error() -> None:
    result = CliRunner().invoke(commands, ["serve", "--prot", "1"])
    assert result.exit_code == 2
    assert "--port" in result.output


def test_help_names_the_command() -> None:
    result = CliRunner().invoke(commands, ["--help"])
    assert result.exit_code == 0
    assert "serve" in result.output


def test_collector_leaves_alone_what_was_made_at_the_start() -> None:
    script = (
        "import gc; from server.cli import relax_collector; relax_collector();"
        " print(gc.get_freeze_count() > 10_000, gc.get_threshold()[0] > 10_000)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"True True\n"
