from server.features.docs import kinto_docs, our_docs


def test_pages_are_addresses() -> None:
    assert kinto_docs("flush.html").startswith("https://docs.kinto-storage.org/")
    assert our_docs("live.html").endswith("/live.html")
