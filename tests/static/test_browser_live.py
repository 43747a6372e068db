"""A real browser: pages that follow a list, with live.js and with EventSource alone."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Chromium, Tab, serving_files
from tests.conftest import StartServer
from tests.processes import ROOT, free_port
from tests.servers import ThreadServer
from tests.static.conftest import Notes, OpenNotes, OpenRelay, Serve
from tests.static.followers import ALICE
from tests.static.relays import Relay

PAGE = Path(__file__).with_name("page.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser for the module's pages."""
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where pages load live.js from, and the page."""
    folder = tmp_path_factory.mktemp("site") / "static"
    shutil.copytree(ROOT / "static", folder)
    shutil.copy(PAGE, folder)
    with serving_files(folder) as root:
        yield root


OpenTab = Callable[[], Tab]


@pytest.fixture
def open_tab(browser: Chromium, site: str) -> OpenTab:
    """Opens the page in a tab of its own."""

    def start() -> Tab:
        return browser.open(f"{site}/page.html")

    return start


def titles(notes: Notes) -> dict[str, Any]:
    """What GET gives, as pages show it."""
    return {name: one["title"] for name, one in sorted(notes.read().items())}


def call(tab: Tab, name: str, *values: Any) -> Any:
    """What a function of the page returns."""
    return tab.run(f"return {name}({', '.join(json.dumps(one) for one in values)})")


def settle(tab: Tab, notes: Notes) -> None:
    """Wait until a page holds what GET gives."""
    assert call(tab, "until", titles(notes)) == titles(notes)


def told(tab: Tab) -> list[dict[str, Any]]:
    """What the page was told, in order."""
    found: list[dict[str, Any]] = tab.run("return told")
    return found


def test_page_that_goes_offline_and_comes_back_ends_like_the_one_that_stayed(
    server: ThreadServer, notes: Notes, relay: Relay, open_tab: OpenTab
) -> None:
    staying, leaving = open_tab(), open_tab()
    notes.write("first", "there at the start")
    call(staying, "follow", server.url, notes.records, ALICE)
    call(leaving, "follow", relay.url, notes.records, ALICE)
    settle(staying, notes)
    settle(leaving, notes)
    before = call(leaving, "until", titles(notes))
    leaving.go_offline(offline=True)
    # The browser lets connections be that were there before.
    relay.cut()
    relay.restore()
    notes.write("second", "written meanwhile")
    notes.write("first", "edited meanwhile")
    settle(staying, notes)
    assert leaving.run("return navigator.onLine") is False
    assert call(leaving, "until", {}, 0) == before
    leaving.go_offline(offline=False)
    settle(leaving, notes)
    notes.remove("first")
    settle(staying, notes)
    settle(leaving, notes)
    types = [one["type"] for one in told(leaving)]
    assert types.count("snapshot") == 1
    assert "reset" not in types
    assert "error" not in types


def test_page_that_is_online_again_does_not_wait_for_its_next_attempt(
    notes: Notes, relay: Relay, open_tab: OpenTab
) -> None:
    tab = open_tab()
    # It draws how long it waits: too long to come back by itself while this test runs.
    tab.run("Math.random = () => 1000;")
    call(tab, "follow", relay.url, notes.records, ALICE)
    settle(tab, notes)
    tab.go_offline(offline=True)
    relay.cut()
    relay.restore()
    tab.run("""
        const waits = () => told.some(({type}) => type === "waiting");
        while (!waits()) await new Promise((done) => setTimeout(done, 20));
    """)
    notes.write("late", "written meanwhile")
    tab.go_offline(offline=False)
    settle(tab, notes)


def test_page_whose_connection_is_dead_finds_out_once_it_is_online_again(
    serve: Serve, open_notes: OpenNotes, open_relay: OpenRelay, open_tab: OpenTab
) -> None:
    # By the heartbeat alone it would take longer than this test waits.
    server = serve(live_heartbeat_seconds=60)
    notes, relay, tab = open_notes(server.url), open_relay(server.url), open_tab()
    call(tab, "follow", relay.url, notes.records, ALICE)
    settle(tab, notes)
    tab.run("while (live.state !== 'open') await new Promise((done) => setTimeout(done, 20));")
    relay.swallow()
    notes.write("late", "written meanwhile")
    tab.run("dispatchEvent(new Event('online'));")
    settle(tab, notes)


def test_event_source_comes_back_by_itself_after_its_server_was_killed_and_loses_nothing(
    start_server: StartServer,
    open_notes: OpenNotes,
    open_tab: OpenTab,
    mongo_uri: str,
    mongo_database: str,
) -> None:
    port = free_port()
    environ = {"MONGODB_URI": mongo_uri, "KINTO_MONGODB_DATABASE": mongo_database}
    server = start_server("--port", str(port), environ=environ)
    notes = open_notes(server.url.rstrip("/"))
    notes.permit(notes.uri, read=["system.Everyone"])
    notes.write("first", "there at the start")
    tab = open_tab()
    call(tab, "listen", server.url.rstrip("/") + notes.records)
    settle(tab, notes)
    notes.write("second", "before the end")
    server.kill()
    server = start_server("--port", str(port), environ=environ)
    notes = open_notes(server.url.rstrip("/"), notes.bucket)
    notes.write("third", "after the start")
    notes.remove("first")
    settle(tab, notes)
    assert "reset" not in [one["type"] for one in told(tab)]
    assert [one["type"] for one in told(tab)].count("snapshot") == 1
