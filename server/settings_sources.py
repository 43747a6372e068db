"""Where settings are written: the environment, and the ini file of a Kinto."""

import configparser
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from server.settings_names import is_of_orchestration, normalise

_SECTION = "app:main"
_ENVIRONMENT_PREFIX = "KINTO_"
_INI_PREFIX = "kinto."
_HEROKU = {"PORT": "port", "MONGODB_URI": "mongodb_uri"}
_NOT_SETTINGS = frozenset({"KINTO_INI"})
"""Names the ini file itself; read by the command line."""


@dataclass(frozen=True, slots=True)
class Given:
    """A setting that somebody wrote.

    Attributes:
        name: as written, without prefix; lower case if from the environment.
        text: its value, not yet parsed.
        where: for a message, such as ``KINTO_READONLY in the environment``.
        must_be_known: whether a name that means nothing is an error.
    """

    name: str
    text: str
    where: str
    must_be_known: bool = True


def read_ini(path: Path) -> dict[str, Given]:
    """The settings in section ``[app:main]`` of an ini file, by their name without prefix.

    Raises:
        ValueError: If there is no such file or section, or it is malformed; its
            text is a sentence.
    """
    # Paste's rules: names keep their case, %(here)s is the file's folder.
    defaults = {"here": str(path.parent.resolve()), "__file__": str(path.resolve())}
    parser = configparser.ConfigParser(defaults)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(path.read_text(encoding="utf-8"), str(path))
        items = parser.items(_SECTION)
    except OSError as error:
        raise ValueError(f"The file {path} cannot be read: {error.strerror}.") from None
    except configparser.NoSectionError:
        raise ValueError(f"{path} has no section [{_SECTION}].") from None
    except (configparser.Error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not an ini file that can be read: {reason}.") from None
    return _collect(items, path)


def _collect(items: Iterable[tuple[str, str]], path: Path) -> dict[str, Given]:
    found: dict[str, Given] = {}
    for written, text in items:
        if written == "use" and text.startswith("config:"):
            raise ValueError(f"{path} builds on another file ({text}): put both into one.")
        name = written.removeprefix(_INI_PREFIX)
        if name in found and found[name].text != text:
            raise ValueError(f"{path} has both {name} and {_INI_PREFIX}{name}: remove one.")
        found[name] = Given(name, text, f"{written} in {path}", written.startswith(_INI_PREFIX))
    return found


def read_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """The settings in the environment, by their normalised name."""
    found: dict[str, Given] = {}
    for variable, name in _HEROKU.items():
        if environ.get(variable):
            found[name] = Given(name, environ[variable], f"{variable} in the environment")
    for variable, text in environ.items():
        if not variable.startswith(_ENVIRONMENT_PREFIX) or variable in _NOT_SETTINGS:
            continue
        name = normalise(variable.removeprefix(_ENVIRONMENT_PREFIX))
        if not is_of_orchestration(name, text):
            found[name] = Given(name, text, f"{variable} in the environment")
    return found


def merge(
    ini: Mapping[str, Given], environment: Mapping[str, Given], known: Iterable[str]
) -> dict[str, Given]:
    """All that was written, by exact name; the environment wins.

    Args:
        ini: by name as written.
        environment: by normalised name.
        known: exact names of settings, into which normalised ones are turned
            back.
    """
    exact = {normalise(name): name for name in (*known, *ini)}
    merged = dict(ini)
    for name, given in environment.items():
        merged[exact.get(name, name)] = given
    return merged
