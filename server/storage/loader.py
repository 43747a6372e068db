"""Load a storage backend by its name."""

from importlib.metadata import entry_points

from server.storage.base import OpenStorage, StorageError

GROUP = "kintoun.storage"
"""Entry points of this group are functions like ``OpenStorage``."""


def load_backend(name: str) -> OpenStorage:
    """The function that opens the backend of a name.

    Raises:
        StorageError: If nothing installed has that name.
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none: install the project"
        raise StorageError(f"There is no storage backend {name!r}; there are: {known}.")
    backend: OpenStorage = found[name].load()
    return backend
