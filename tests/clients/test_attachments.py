"""Files of records by the clients as published: kinto-http for Python, kinto.js on Node."""

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kinto_http
import pytest
import requests

from tests.clients.conftest import Play, Serve

Client = Any
SETTINGS = {"includes": "attachments default_bucket", "attachment_folder": "{bucket_id}"}
CONTENT = bytes(range(256)) * 6000


@pytest.fixture
def url(serve: Serve) -> str:
    return serve(**SETTINGS)


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    bucket = f"files-{uuid.uuid4()}"
    client = kinto_http.Client(
        server_url=url, auth=("alice", "secret"), bucket=bucket, collection="notes"
    )
    client.create_bucket()
    client.create_collection()
    yield client
    client.delete_bucket(if_exists=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(CONTENT)
    return path


def test_python_client_puts_a_file_and_downloads_it(
    client: Client, file: Path, tmp_path: Path
) -> None:
    sent = client.add_attachment(id="a", filepath=str(file), data={"title": "with a file"})
    record = client.get_record(id="a")["data"]
    assert (record["attachment"], record["title"]) == (sent, "with a file")
    assert (sent["filename"], sent["mimetype"]) == ("photo.png", "image/png")
    assert (sent["size"], sent["hash"]) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    target = tmp_path / "copies"
    target.mkdir()
    downloaded = client.download_attachment(record, filepath=str(target), save_metadata=True)
    assert Path(downloaded).read_bytes() == CONTENT
    assert (target / "photo.png.meta.json").exists()


def test_python_client_replaces_and_removes_a_file(client: Client, file: Path) -> None:
    first = client.add_attachment(id="a", filepath=str(file))
    file.write_bytes(b"newer")
    second = client.add_attachment(
        id="a", filepath=str(file), filename="été.txt", permissions={"read": ["system.Everyone"]}
    )
    assert (second["filename"], second["mimetype"]) == ("été.txt", "image/png")
    assert requests.get(second["location"], timeout=20).content == b"newer"
    assert first["location"] != second["location"]
    client.remove_attachment(id="a")
    record = client.get_record(id="a")
    assert record["data"]["attachment"] is None
    assert record["permissions"]["read"] == ["system.Everyone"]


def test_python_client_uses_the_default_bucket(url: str, file: Path) -> None:
    client = kinto_http.Client(server_url=url, auth=("carol", "s"), bucket="default")
    sent = client.add_attachment(id="a", filepath=str(file), collection="notes")
    record = client.get_record(id="a", collection="notes")["data"]
    assert record["attachment"] == sent
    assert f"/attachments/{client.server_info()['user']['bucket']}/" in sent["location"]


def test_python_client_is_told_what_is_wrong(client: Client, tmp_path: Path) -> None:
    virus = tmp_path / "virus.exe"
    virus.write_bytes(CONTENT)
    with pytest.raises(kinto_http.KintoException) as failed:
        client.add_attachment(id="a", filepath=str(virus))
    assert failed.value.response.status_code == 400
    assert "File extension is not allowed" in failed.value.response.text


def test_javascript_client_puts_replaces_and_removes_files(url: str, play: Play) -> None:
    seen = play(url, "attachments")
    made = seen["made"]
    assert made["title"] == "with a file"
    assert made["attachment"]["filename"] == "notes.txt"
    assert made["attachment"]["mimetype"] == "text/plain"
    assert seen["first"] == "first"
    assert seen["replaced"]["attachment"]["filename"] == "other.txt"
    assert seen["second"] == "second"
    assert "412" in seen["stale"]
    assert seen["generated"]["attachment"]["size"] == len("generated")
    assert seen["removed"]["attachment"] is None
