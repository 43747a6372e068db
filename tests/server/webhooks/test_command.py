import pytest
from click.testing import CliRunner

from server.config import StartupError, load_settings
from server.webhooks.command import load_hooks, webhooks

HOOK = {
    "KINTO_EVENT_LISTENERS": "audit",
    "KINTO_EVENT_LISTENERS_AUDIT_URL": "https://a.example/",
    "KINTO_EVENT_LISTENERS_AUDIT_SECRET": "s",
}


def test_webhooks_are_those_of_the_settings() -> None:
    assert [hook.name for hook in load_hooks(load_settings(HOOK))] == ["audit"]
    with pytest.raises(StartupError, match="secret is missing"):
        load_hooks(load_settings({**HOOK, "KINTO_EVENT_LISTENERS_AUDIT_SECRET": ""}))


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [({}, "There is no webhook"), (HOOK, "MONGODB_URI is not set")],
)
def test_worker_with_nothing_to_do_says_so(environ: dict[str, str], sentence: str) -> None:
    clean = {"MONGODB_URI": "", "KINTO_INI": ""}
    result = CliRunner().invoke(webhooks, [], env={**clean, **environ})
    assert isinstance(result.exception, StartupError)
    assert sentence in str(result.exception)
