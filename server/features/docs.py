"""Where the documentation of what the hello view announces stands."""

_KINTO = "https://docs.kinto-storage.org/en/stable/api/1.x/"
_OURS = "https://kintoun.readthedocs.io/en/latest/"


def kinto_docs(page: str) -> str:
    """A page of Kinto's documentation of the API."""
    return _KINTO + page


def our_docs(page: str) -> str:
    """A page of this server's documentation."""
    return _OURS + page
