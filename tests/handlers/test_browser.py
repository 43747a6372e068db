"""A real browser: a page of another origin reads and writes, and can read all it needs."""

import html
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser import find_chromium
from tests.handlers.conftest import ALICE, RawServer

PAGE = """<!doctype html><meta charset="utf-8"><title>Page</title><pre id="out"></pre><script>
async function ask(method, path, {headers = {}, body, user = true} = {}) {
  const sent = {...(user ? {Authorization: %(user)s} : {}), ...headers};
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const url = path.startsWith("http") ? path : %(root)s + "/v1" + path;
  try {
    const answer = await fetch(url, {
      method, headers: sent, cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    return {
      status: answer.status, headers: Object.fromEntries(answer.headers),
      body: text ? JSON.parse(text) : null,
    };
  } catch (error) { return {failed: String(error)}; }
}
async function main() {
%(script)s
}
main().then(
  (value) => { document.getElementById("out").textContent = JSON.stringify({value}); },
  (error) => { document.getElementById("out").textContent = JSON.stringify({error: `${error}`}); },
);
</script>"""


class Browser:
    """Opens a page of an origin of its own, and reads what its script returned."""

    def __init__(self, root: str, folder: Path) -> None:
        self._root = root
        self._folder = folder
        self._page = b""
        browser = self

        class Pages(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(browser._page)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def run(self, script: str) -> Any:
        """What the body of an async function returns; ``ask(method, path, options)`` is there."""
        values = {"user": json.dumps(ALICE), "root": json.dumps(self._root), "script": script}
        self._page = (PAGE % values).encode()
        command = [
            find_chromium(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={self._folder}",
            # Time stands still while a request is under way, so this is no wait.
            "--virtual-time-budget=20000",
            "--dump-dom",
            self.origin,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        found = re.search(r'<pre id="out">(.+?)</pre>', done.stdout, re.DOTALL)
        assert found, done.stdout + done.stderr
        result = json.loads(html.unescape(found[1]))
        assert "value" in result, result
        return result["value"]


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    """A server that tells pages all that it can tell in headers."""
    given = {"paginate_by": 1, "backoff": 30, "eos": "2999-01-01", "eos_message": "Bye."}
    server = RawServer(**given)
    yield server
    server.stop()


@pytest.fixture
def browser(server: RawServer, tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(server.root, tmp_path)
    yield browser
    browser.close()


def test_page_of_another_origin_writes_reads_and_syncs(browser: Browser) -> None:
    made, read, kept, stale, missing, patched, removed = browser.run("""
        const made = await ask("PUT", "/buckets/page", {body: {data: {a: "ü"}},
                               headers: {"If-None-Match": "*"}});
        const etag = made.headers.etag;
        return [
          made,
          await ask("GET", "/buckets/page"),
          await ask("GET", "/buckets/page", {headers: {"If-None-Match": etag}}),
          await ask("PUT", "/buckets/page", {body: {}, headers: {"If-Match": '"1"'}}),
          await ask("GET", "/buckets/page/collections/none"),
          await ask("PATCH", "/buckets/page", {body: {data: {b: 1}}, headers: {"If-Match": etag}}),
          await ask("DELETE", "/buckets/page"),
        ];
    """)
    assert (made["status"], made["body"]["data"]["a"]) == (201, "ü")
    assert (read["status"], read["headers"]["etag"]) == (200, made["headers"]["etag"])
    assert (kept["status"], kept["body"]) == (304, None)
    assert (stale["status"], stale["body"]["errno"]) == (412, 114)
    assert stale["body"]["details"]["existing"]["id"] == "page"
    assert stale["headers"]["etag"] == made["headers"]["etag"]
    assert (missing["status"], missing["body"]["errno"]) == (404, 110)
    assert (patched["status"], patched["body"]["data"]["b"]) == (200, 1)
    assert removed["body"]["data"]["deleted"] is True


def test_page_of_another_origin_reads_the_headers_it_needs(browser: Browser) -> None:
    first, following, counted = browser.run("""
        for (const name of ["one", "two"]) await ask("PUT", `/buckets/${name}`);
        const first = await ask("GET", "/buckets?_sort=id");
        return [
          first,
          await ask("GET", first.headers["next-page"]),
          await ask("HEAD", "/buckets"),
        ];
    """)
    headers = first["headers"]
    assert headers["backoff"] == "30"
    assert json.loads(headers["alert"])["code"] == "soft-eol"
    assert re.fullmatch(r'"\d+"', headers["etag"])
    assert {"last-modified", "cache-control", "content-length", "content-type"} <= set(headers)
    assert [one["id"] for one in following["body"]["data"]] != [
        one["id"] for one in first["body"]["data"]
    ]
    assert counted["headers"]["total-records"] == "2"


def test_page_of_another_origin_reads_every_refusal(browser: Browser) -> None:
    # Without a user no preflight is asked, which for these would be refused as by Kinto.
    answers = browser.run("""
        return [
          await ask("GET", "/buckets/none", {user: false}),
          await ask("GET", "/buckets/none"),
          await ask("GET", "/none", {user: false}),
          await ask("PUT", "/buckets/b", {headers: {"If-Match": "x"}}),
          await ask("PUT", "/buckets/b", {body: {data: {text: "x".repeat(9 << 20)}}}),
          await ask("PUT", "/buckets/b", {body: []}),
          await ask("GET", "/buckets?" + Array(5000).fill("a=1").join("&"), {user: false}),
          await ask("GET", "/buckets/b", {headers: {"X-Long": "x".repeat(100000)}}),
          await ask("POST", "/buckets/b", {user: false}),
        ];
    """)
    seen = [(answer.get("status"), (answer.get("body") or {}).get("errno")) for answer in answers]
    assert seen == [
        (401, 104),
        (403, 121),
        (404, 111),
        (400, 107),
        (413, 113),
        (400, 107),
        (400, 107),
        (431, 107),
        (405, 115),
    ]


def test_page_of_an_origin_that_is_not_named_reads_nothing(tmp_path: Path) -> None:
    server = RawServer(cors_origins="https://app.example")
    browser = Browser(server.root, tmp_path)
    try:
        (answer,) = browser.run('return [await ask("GET", "/", {user: false})];')
    finally:
        browser.close()
        server.stop()
    assert "failed" in answer
