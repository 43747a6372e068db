"""Settings: one frozen value, read once from the environment and an ini file of Kinto.

Only ``cli`` and ``app`` see it; all other modules receive the values they need.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from server import settings_values as values
from server.settings_fields import FIELDS, Entry, Settings
from server.settings_names import (
    CACHE_EXPIRES,
    ENDPOINT,
    PRINCIPALS,
    find_feature,
    find_policy,
    is_ignored,
    normalise,
    suggestion,
)
from server.settings_sources import Given, merge, read_environment, read_ini
from server.settings_values import Parser

__all__ = ["Settings", "StartupError", "load_settings"]


class StartupError(Exception):
    """The server cannot start; the text is one sentence that says what to do."""


_CACHE = "<bucket>.<collection>.record_cache_expires_seconds"
_MAPPINGS = ("principals", "disabled_endpoints", "cache_expires_seconds", "policies")
_KNOWN = (*FIELDS, *PRINCIPALS)


def load_settings(
    environ: Mapping[str, str],
    ini_path: Path | None = None,
    *,
    warn: Callable[[str], None] | None = None,
    **overrides: Any,
) -> Settings:
    """Read all settings: the overrides, else the environment, else the ini file, else defaults.

    Args:
        environ: such as ``os.environ``.
        ini_path: a Kinto ini file; only its section ``[app:main]`` is read.
        warn: told, in one line, which settings of Kinto mean nothing here.
        overrides: values by field; text is parsed as in the ini file, and None
            overrides nothing.

    Raises:
        StartupError: If a name is unknown, a value does not parse, or a feature
            is asked for that cannot be offered.
    """
    try:
        ini = read_ini(ini_path) if ini_path else {}
        given = merge(ini, read_environment(environ), _KNOWN)
        for name, value in overrides.items():
            if value is not None:
                given[name] = Given(name, str(value), f"the option for {name}")
        loading = _Loading(given)
        settings = loading.load()
    except ValueError as error:
        raise StartupError(str(error)) from None
    if loading.ignored and warn:
        names = ", ".join(sorted(loading.ignored))
        warn(f"These settings of Kinto mean nothing here and are ignored: {names}.")
    return settings


class _Loading:
    """One reading of the settings.

    Attributes:
        ignored: names of Kinto's settings that were given and mean nothing.
    """

    def __init__(self, given: dict[str, Given]) -> None:
        self._given = given
        self._values: dict[str, Any] = {}
        self._of_groups: dict[str, dict[str, Any]] = {}
        self.ignored: set[str] = set()

    def load(self) -> Settings:
        for name, entry in FIELDS.items():
            if entry.field.name not in _MAPPINGS and entry.pattern is None and name in self._given:
                self._take(entry, self._given.pop(name))
        self._take_policies()
        for entry in FIELDS.values():
            if entry.pattern is not None:
                self._take_many(entry, entry.pattern)
        self._take_principals()
        self._take_endpoints()
        self._take_cache_expiries()
        self._ignore_the_rest()
        self._settle()
        return self._make()

    def _make(self) -> Settings:
        groups = {
            one.name: one.metadata["group"](**self._of_groups.get(one.name, {}))
            for one in dataclasses.fields(Settings)
            if "group" in one.metadata
        }
        return Settings(**self._values, **groups)

    def _take(self, entry: Entry, given: Given) -> None:
        parse: Parser = entry.field.metadata["parse"]
        unset = given.text.strip() in ("", "null")
        if unset and parse not in (values.parse_words, values.parse_principals):
            return
        self._put(entry, _parse(parse, given))

    def _put(self, entry: Entry, value: Any) -> None:
        place = self._of_groups.setdefault(entry.group, {}) if entry.group else self._values
        place[entry.field.name] = value

    def _take_many(self, entry: Entry, pattern: str) -> None:
        """The settings whose names match a pattern, by what its group has found."""
        found = {}
        for name, given in list(self._given.items()):
            match = re.fullmatch(pattern, name, re.IGNORECASE)
            if match is not None:
                del self._given[name]
                if given.text.strip() not in ("", "null"):
                    found[match[1]] = _parse(entry.field.metadata["parse"], given)
        self._put(entry, found)

    def _take_policies(self) -> None:
        given = self._given.pop("multiauth.policies", None)
        names = _parse(values.parse_words, given) if given else ("basicauth",)
        policies = {}
        for name in names:
            exact = f"multiauth.policy.{name}.use"
            use = self._given.pop(exact, None) or self._given.pop(normalise(exact), None)
            policies[name] = find_policy(name, values.parse_text(use.text.strip()) if use else None)
        self._values["policies"] = policies
        # What belongs to a policy that is not named is not in use in Kinto either.
        for name in [n for n in self._given if normalise(n).startswith("multiauth_")]:
            if not normalise(name).startswith(tuple(f"multiauth_policy_{p}_" for p in policies)):
                del self._given[name]

    def _take_principals(self) -> None:
        principals = dict(Settings().principals)
        for name, permission in PRINCIPALS.items():
            given = self._given.pop(name, None)
            if given:
                principals[permission] = _parse(values.parse_principals, given)
        self._values["principals"] = principals

    def _take_endpoints(self) -> None:
        disabled = set()
        for name, given in list(self._given.items()):
            found = ENDPOINT.fullmatch(normalise(name))
            if found:
                del self._given[name]
                if not _parse(values.parse_flag, given):
                    disabled.add((found[1], found[2], found[3].upper()))
        self._values["disabled_endpoints"] = frozenset(disabled)

    def _take_cache_expiries(self) -> None:
        expiries = {}
        for name, given in list(self._given.items()):
            if CACHE_EXPIRES.fullmatch(name):
                del self._given[name]
                if given.text.strip():
                    key = name.removesuffix("_cache_expires_seconds")
                    expiries[key] = _parse(FIELDS[_CACHE].field.metadata["parse"], given)
        self._values["cache_expires_seconds"] = expiries

    def _ignore_the_rest(self) -> None:
        for name, given in self._given.items():
            if is_ignored(normalise(name)):
                if given.must_be_known and given.text.strip():
                    self.ignored.add(name)
            elif given.must_be_known:
                hint = suggestion(name, _KNOWN)
                raise ValueError(f"{given.where} is no setting of this server: remove it{hint}.")

    def _settle(self) -> None:
        """What of one setting depends on another, or on what is installed."""
        includes = [find_feature(word) for word in self._values.get("includes", ())]
        self._values["includes"] = tuple(dict.fromkeys(includes))
        backend = self._values.get("storage_backend", "mongo")
        self._values["storage_backend"] = self._storage(backend)
        uri = self._values.get("mongodb_uri")
        database = values.find_database(uri) if uri else None
        if database:
            self._values.setdefault("mongodb_database", database)

    def _storage(self, name: str) -> str:
        if name.startswith("kinto.core.storage."):
            if name == "kinto.core.storage.memory":
                return "memory"
            self.ignored.add(f"storage_backend ({name})")
            return "mongo"
        offered = {"mongo", "memory"} | {e.name for e in entry_points(group="kintoun.storage")}
        if name not in offered:
            raise ValueError(
                f"The storage_backend {name} is not installed: use one of "
                f"{', '.join(sorted(offered))}{suggestion(name, offered)}."
            )
        return name


def _parse(parse: Parser, given: Given) -> Any:
    try:
        return parse(given.text)
    except ValueError as error:
        # An address may carry a password.
        shown = "not understood" if given.name == "mongodb_uri" else repr(given.text)
        raise ValueError(f"{given.where} is {shown}: it must be {error}.") from None
