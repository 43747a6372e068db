from handlers.asyncapi_messages import CLIENT, SERVER
from handlers.asyncapi_page import make_page
from tests.processes import ROOT


def test_page_is_the_one_that_is_kept() -> None:
    kept = (ROOT / "docs" / "reference" / "asyncapi.md").read_text()
    assert kept == make_page(), "run python -m handlers.asyncapi_page > docs/reference/asyncapi.md"


def test_page_has_every_message() -> None:
    page = make_page()
    client, server = page.split("## What the server says")
    assert [line[4:] for line in client.splitlines() if line.startswith("### ")] == list(CLIENT)
    assert [line[4:] for line in server.splitlines() if line.startswith("### ")] == list(SERVER)
