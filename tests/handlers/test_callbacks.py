import pytest

from handlers.callbacks import CALLBACK_MAX_LENGTH, LOCAL_CALLBACKS, Callbacks


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("https://app.example.com/*", "https://app.example.com/login#token="),
        ("https://app.example.com/*", "https://APP.example.com:443/"),
        ("https://app.example.com/*", "https://app.example.com"),
        ("https://*.example.com/in/*", "https://a.b.example.com/in/?x=["),
        ("https://app.example.com/cb", "https://app.example.com/cb"),
        ("http://localhost:*/*", "http://localhost:8123/auth/"),
        ("http://[::1]:*/*", "http://[::1]:8000/"),
    ],
)
def test_url_that_fits_a_pattern_is_allowed(pattern: str, url: str) -> None:
    assert Callbacks([pattern]).allow(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/path",
        "app.example.com/",
        "http://app.example.com/",
        "https://app.example.com:8443/",
        "https://app.example.com.evil.com/",
        "https://evil.com/https://app.example.com/",
        "https://evil.com\\.app.example.com/",
        "https://evil.com#.app.example.com/",
        "https://user@app.example.com/",
        "https://evil.com/?@app.example.com/",
        "https://app.example.com/in/../out",
        "https://app.example.com/in/%2e%2e/out",
        "https://app.example.com/in\\..\\out",
        "https://app.example.com/\r\nSet-Cookie: a=b",
        "https://app.example.com/ x",
        "https://app.example.com/caf\xe9",
        "https://[app.example.com/",
        "javascript:alert(1)",
        "https://app.example.com/" + "x" * CALLBACK_MAX_LENGTH,
    ],
)
def test_url_that_leads_elsewhere_or_that_browsers_may_read_otherwise_is_not(url: str) -> None:
    assert not Callbacks(["https://app.example.com/*", "nonsense"]).allow(url)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://localhost:1234/auth/", True),
        ("http://127.0.0.1/", True),
        ("https://localhost/", False),
        ("http://localhost.evil.com/", False),
        ("http://127.0.0.1.evil.com/", False),
    ],
)
def test_programs_on_the_users_own_machine_are_local(url: str, allowed: bool) -> None:
    assert Callbacks(LOCAL_CALLBACKS).allow(url) is allowed
