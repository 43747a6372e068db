"""What features are made of, in tests: settings, and a storage in memory."""

from typing import Any

from handlers.plans import Planner
from server.config import load_settings
from server.core.permissions import Rules
from server.features.base import Context
from server.service.lists import Lists
from server.service.pages import ListOptions
from server.storage.memory import MemoryStorage


def make_context(**given: Any) -> Context:
    """Settings by Kinto's names, with ``__`` for a dot."""
    environ = {f"KINTO_{name.upper().replace('__', '_')}": str(v) for name, v in given.items()}
    settings = load_settings({"KINTO_STORAGE_BACKEND": "memory", **environ})
    rules = Rules(settings.principals)
    storage = MemoryStorage(rules)
    planner = Planner(storage, "https://info", 3)
    lists = Lists(storage, ListOptions(rules, b"secret"))
    return Context(settings, storage, rules, planner, lists, None, "secret")
