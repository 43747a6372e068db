from server.config import load_settings


def test_nothing_is_told_of_accounts_unless_it_is_asked_for() -> None:
    discovery = load_settings({}).discovery
    assert (discovery.hosts, discovery.public_accounts) == ((), False)


def test_hosts_are_words() -> None:
    environ = {
        "KINTO_DISCOVERY_HOSTS": "example.com example.org",
        "KINTO_DISCOVERY_PUBLIC_ACCOUNTS": "true",
    }
    discovery = load_settings(environ).discovery
    assert discovery.hosts == ("example.com", "example.org")
    assert discovery.public_accounts
