import re
from pathlib import Path

import pytest

from handlers.docs_ui import FILES, POLICY
from tests.browser import Chromium
from tests.handlers.conftest import Fetch, RawServer

pytestmark = pytest.mark.gen_test(timeout=60)


async def test_page_and_its_parts_come_with_a_policy_that_lets_nothing_else_run(
    fetch: Fetch,
) -> None:
    page = await fetch("GET /docs", user=None)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for name in re.findall(r'(?:href|src)="docs/([^"]+)"', page.body.decode()):
        part = await fetch(f"GET /docs/{name}", user=None)
        assert part.status == 200
        assert part.headers["Content-Security-Policy"] == POLICY
        assert part.headers["Content-Type"] == FILES[name][1]
        assert part.headers["X-Content-Type-Options"] == "nosniff"
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


@pytest.mark.parametrize("name", ["other.js", "..%2Finit.js", "", "init.js/more"])
async def test_nothing_else_is_served(name: str, fetch: Fetch) -> None:
    assert (await fetch(f"GET /docs/{name}", user=None)).status in (400, 404, 307)


async def test_page_is_no_part_of_a_batch(fetch: Fetch) -> None:
    answer = await fetch("POST /batch", {"requests": [{"path": "/docs"}]})
    assert answer.json["responses"][0]["status"] == 400


def test_browser_shows_every_operation_and_breaks_no_rule(tmp_path: Path) -> None:
    server = RawServer(includes="default_bucket counters flush")
    browser = Chromium(tmp_path / "profile")
    try:
        tab = browser.open(f"{server.root}/v1/docs")
        shown = tab.run(
            """
            const broken = [];
            document.addEventListener("securitypolicyviolation", (e) =>
              broken.push(`${e.effectiveDirective} ${e.blockedURI}`));
            while (!document.body.dataset.ready || !document.querySelector(".opblock"))
              await new Promise((go) => setTimeout(go, 20));
            document.querySelector("#operations-Records-update_record button").click();
            while (!document.querySelector(".opblock-body"))
              await new Promise((go) => setTimeout(go, 20));
            // Once more, while somebody looks.
            const again = document.createElement("div");
            again.id = "again";
            document.body.append(again);
            window.SwaggerUIBundle({url: "__api__", dom_id: "#again"});
            while (!document.querySelector("#again .opblock"))
              await new Promise((go) => setTimeout(go, 20));
            again.remove();
            return {
              title: document.title,
              operations: document.querySelectorAll(".opblock").length,
              errors: document.querySelectorAll(".errors").length,
              font: getComputedStyle(document.querySelector(".opblock-summary")).display,
              hosts: performance.getEntriesByType("resource").map((one) => new URL(one.name).host),
              broken,
            };
            """
        )
        tab.screenshot(tmp_path / "docs.png")
    finally:
        browser.close()
        server.stop()
    assert shown["title"] == "kinto API"
    assert shown["operations"] > 40
    assert shown["errors"] == 0
    assert shown["font"] == "flex"
    assert {one.partition(":")[0] for one in shown["hosts"] if one} == {"127.0.0.1"}
    assert shown["broken"] == []
