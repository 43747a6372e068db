"""Ask a server what the scenarios of this directory ask, and compare the answers.

The format is described in ``README.md``. Only the standard library is needed::

    python tests/spec/runner.py http://127.0.0.1:8888/v1
    python tests/spec/runner.py http://127.0.0.1:8888/v1 --settings '{"readonly": true}'
    python tests/spec/runner.py http://127.0.0.1:8899/v1 --reference tests/spec/hello.json
"""

import argparse
import base64
import http.client
import json
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 60
REFERENCE_SETTINGS: dict[str, Any] = {
    "includes": {"default_bucket", "flush", "history"},
    "experimental_permissions_endpoint": True,
    "experimental_collection_schema_validation": True,
}
"""What the reference that runs with everything has on; other settings are skipped there."""

_VARIABLE = re.compile(r"\{([a-z_]\w*)([+-]\d+)?\}")
_REPEATED = re.compile(r"\{([^{}*])\*(\d+)\}")
_MISSING = object()


class Mismatch(Exception):
    """An answer is not what the scenario expects; the message says where."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fact about the protocol: requests, and the answers that are due.

    Attributes:
        source: name of the file, without ``.json``.
        name: the fact, as a sentence.
        settings: Kinto settings of the server that is asked.
        differs: why the reference answers otherwise; empty if it doesn't.
        steps: ``{"request": …, "response": …}``, in order.
    """

    source: str
    name: str
    settings: dict[str, Any]
    differs: str
    steps: list[dict[str, Any]]

    @property
    def id(self) -> str:
        """Its name in a test report."""
        return f"{self.source}: {self.name}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said. ``headers`` have names in lower case."""

    status: int
    headers: dict[str, str]
    text: str


def load(paths: Iterable[Path] = ()) -> list[Scenario]:
    """Read the scenarios of the files named, or of all beside this module."""
    found: list[Scenario] = []
    for path in list(paths) or sorted(HERE.glob("*.json")):
        for entry in json.loads(path.read_text(encoding="utf-8"))["scenarios"]:
            scenario = Scenario(
                path.stem,
                entry["name"],
                entry.get("settings", {}),
                entry.get("differs", ""),
                entry["steps"],
            )
            found.append(scenario)
    return found


def run(scenario: Scenario, base_url: str) -> list[str]:
    """Play a scenario against the server whose API is at ``base_url`` (ends in ``/v1``).

    Returns:
        What went wrong in the first step that failed, one line each; empty if all is well.
    """
    player = _Player(base_url)
    for number, step in enumerate(scenario.steps, 1):
        answer: Answer | None = None
        request = step["request"]
        try:
            answer = player.ask(request)
            player.check(answer, step.get("response", {}), request.get("method", "GET"))
        except (Mismatch, OSError, http.client.HTTPException) as problem:
            said = "no answer" if answer is None else f"{answer.status} {answer.text[:600]}"
            return [
                f"step {number}: {request.get('method', 'GET')} {player.last_path}",
                f"  {problem!s}" if isinstance(problem, Mismatch) else f"  {problem!r}",
                f"  the server said: {said}",
            ]
    return []


@dataclass(slots=True)
class _Player:
    """One run of one scenario: where to ask, and the values known so far."""

    base_url: str
    values: dict[str, Any] = field(default_factory=dict)
    last_path: str = ""

    def __post_init__(self) -> None:
        self.values = {"base_url": self.base_url, "now": time.time_ns() // 1_000_000}
        self.values["origin"] = "{0.scheme}://{0.netloc}".format(urlsplit(self.base_url))
        for name in ("bucket", "bucket2", "random"):
            self.values[name] = f"t{secrets.token_hex(6)}"

    def ask(self, request: Mapping[str, Any]) -> Answer:
        """Send a request of a scenario; redirects are not followed."""
        request = self.fill(request)
        path = self._absolute(request["path"])
        self.last_path = path[:300]
        body = _body(request)
        headers = {str(k): v for k, v in request.get("headers", {}).items()}
        names = {name.lower() for name in headers}
        if body is not None and "content-type" not in names:
            headers["Content-Type"] = "application/json"
        user = request.get("user", "alice")
        if user is not None and "authorization" not in names:
            headers["Authorization"] = _basic(user)
        sent = {name: value for name, value in headers.items() if value is not None}
        return self._exchange(request.get("method", "GET"), path, body, sent)

    def _absolute(self, path: str) -> str:
        if path.startswith(("http://", "https://")):
            parts = urlsplit(path)
            return f"{parts.path}?{parts.query}" if parts.query else parts.path
        return path[1:] if path.startswith("!") else urlsplit(self.base_url).path + path

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        connection = http.client.HTTPConnection(
            urlsplit(self.base_url).netloc, timeout=TIMEOUT_SECONDS
        )
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            received: dict[str, str] = {}
            for name, value in response.getheaders():
                key = name.lower()
                received[key] = f"{received[key]}, {value}" if key in received else value
            return Answer(response.status, received, response.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def fill(self, value: Any) -> Any:
        """The value with its ``{name}`` replaced by what is known."""
        if isinstance(value, str):
            return self._fill_text(value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, Mapping):
            return {self._fill_text(key): self.fill(item) for key, item in value.items()}
        return value

    def _fill_text(self, text: str) -> Any:
        whole = _VARIABLE.fullmatch(text)
        if whole:
            return self._value(whole)
        text = _VARIABLE.sub(lambda found: str(self._value(found)), text)
        return _REPEATED.sub(lambda found: found[1] * int(found[2]), text)

    def _value(self, found: re.Match[str]) -> Any:
        name, shift = found[1], found[2]
        if name in ("alice", "bob", "carol") and name not in self.values:
            self.values[name] = self._principal(name)
        if name not in self.values:
            raise Mismatch(f"nothing has captured {{{name}}}")
        return self.values[name] + int(shift) if shift else self.values[name]

    def _principal(self, user: str) -> str:
        path = self._absolute("/")
        answer = self._exchange("GET", path, None, {"Authorization": _basic(user)})
        try:
            return str(json.loads(answer.text)["user"]["id"])
        except (ValueError, KeyError):
            raise Mismatch(f"hello does not say who {user} is: {answer.text[:200]}") from None

    def check(self, answer: Answer, expected: Mapping[str, Any], method: str) -> None:
        """Compare an answer with what is due, and keep what is to be captured.

        Raises:
            Mismatch: If it differs.
        """
        captures = expected.get("capture", {})
        expected = self.fill({k: v for k, v in expected.items() if k != "capture"})
        _check_status(answer, expected.get("status"))
        for name, matcher in expected.get("headers", {}).items():
            check_match(answer.headers.get(name.lower(), _MISSING), matcher, f"header {name}")
        for name in expected.get("no_headers", []):
            if name.lower() in answer.headers:
                raise Mismatch(f"header {name} is there: {answer.headers[name.lower()]!r}")
        if "text" in expected:
            check_match(answer.text, expected["text"], "text")
        if answer.status >= 400 and method != "HEAD":
            _check_error_shape(answer)
        if "body" in expected:
            check_match(_json(answer), expected["body"], "body")
        for name, source in captures.items():
            self.values[name] = _captured(answer, source)


def _body(request: Mapping[str, Any]) -> bytes | None:
    if "hex" in request:
        return bytes.fromhex(request["hex"])
    if "raw" in request:
        return str(request["raw"]).encode()
    if "body" in request:
        return json.dumps(request["body"]).encode()
    return None


def _basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:secret".encode()).decode()


def _check_status(answer: Answer, expected: Any) -> None:
    allowed = expected if isinstance(expected, list) else [expected]
    if expected is not None and answer.status not in allowed:
        raise Mismatch(f"status is {answer.status}, not {expected}")


def _check_error_shape(answer: Answer) -> None:
    """Every error has the one form, whatever else the scenario looks at."""
    shape = {"code": answer.status, "errno": {"$type": "int"}, "error": {"$type": "string"}}
    check_match(_json(answer), shape, "body")


def _json(answer: Answer) -> Any:
    try:
        return json.loads(
            answer.text, object_pairs_hook=_once_each, parse_constant=_refuse_constant
        )
    except ValueError as problem:
        raise Mismatch(f"the body is no JSON ({problem})") from None


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Mismatch(f"a member is there twice among {[key for key, _ in pairs]}")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise Mismatch(f"the body holds {name}, which is no JSON")


def _captured(answer: Answer, source: str) -> Any:
    kind, _, where = source.partition(":")
    if kind == "header":
        value: Any = answer.headers.get(where.lower(), _MISSING)
    else:
        value = _json(answer)
        for name in where.split(".") if where else []:
            if isinstance(value, list):
                value = value[int(name)] if int(name) < len(value) else _MISSING
            else:
                value = value.get(name, _MISSING) if isinstance(value, dict) else _MISSING
    if value is _MISSING:
        raise Mismatch(f"there is no {source} to capture")
    return value


def check_match(value: Any, matcher: Any, where: str, *, exact: bool = False) -> None:
    """Check a JSON value against a matcher of the scenario format.

    Args:
        value: what the server answered.
        matcher: JSON, or an object of ``$`` members (README.md).
        where: what the value is, for the message.
        exact: whether objects may have no members beyond those expected.

    Raises:
        Mismatch: If it doesn't match.
    """
    if is_matcher(matcher):
        for name, argument in matcher.items():
            _MATCHERS[name](value, argument, where)
    elif value is _MISSING:
        raise Mismatch(f"{where} is missing")
    elif isinstance(matcher, dict):
        _check_object(value, matcher, where, exact)
    elif isinstance(matcher, list):
        _check_array(value, matcher, where, exact)
    elif type(value) is not type(matcher) or value != matcher:
        raise Mismatch(f"{where} is {_short(value)}, not {_short(matcher)}")


def is_matcher(value: Any) -> bool:
    """Whether a JSON value of a scenario stands for a rule instead of itself."""
    return isinstance(value, dict) and bool(value) and value.keys() <= _MATCHERS.keys()


def _check_object(value: Any, matcher: dict[str, Any], where: str, exact: bool) -> None:
    if not isinstance(value, dict):
        raise Mismatch(f"{where} is {_short(value)}, not an object")
    for name, expected in matcher.items():
        check_match(value.get(name, _MISSING), expected, f"{where}.{name}", exact=exact)
    surplus = value.keys() - matcher.keys()
    if exact and surplus:
        raise Mismatch(f"{where} also has {sorted(surplus)}")


def _check_array(value: Any, matcher: list[Any], where: str, exact: bool) -> None:
    if not isinstance(value, list):
        raise Mismatch(f"{where} is {_short(value)}, not an array")
    if len(value) != len(matcher):
        raise Mismatch(f"{where} has {len(value)} elements, not {len(matcher)}: {_short(value)}")
    for index, (item, expected) in enumerate(zip(value, matcher, strict=True)):
        check_match(item, expected, f"{where}.{index}", exact=exact)


def _short(value: Any) -> str:
    text = "missing" if value is _MISSING else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _exactly(value: Any, argument: Any, where: str) -> None:
    check_match(value, argument, where, exact=True)


def _absent(value: Any, argument: Any, where: str) -> None:
    if (value is _MISSING) is not argument:
        raise Mismatch(f"{where} is {_short(value)}")


_TYPES: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


def _type(value: Any, argument: Any, where: str) -> None:
    if not _TYPES[argument](value):
        raise Mismatch(f"{where} is {_short(value)}, not of type {argument}")


def _regex(value: Any, argument: Any, where: str) -> None:
    if not isinstance(value, str) or not re.search(argument, value):
        raise Mismatch(f"{where} is {_short(value)}, not like {argument!r}")


def _unordered(value: Any, argument: Any, where: str) -> None:
    if not isinstance(value, list) or len(value) != len(argument):
        raise Mismatch(f"{where} is {_short(value)}, not the {len(argument)} of {_short(argument)}")
    for expected in argument:
        _contains(value, expected, where)
    for item in value:
        if not any(_matches(item, expected) for expected in argument):
            raise Mismatch(f"{where} also has {_short(item)}")


def _contains(value: Any, argument: Any, where: str) -> None:
    if isinstance(value, str) and isinstance(argument, str):
        found = argument in value
    else:
        found = isinstance(value, list) and any(_matches(item, argument) for item in value)
    if not found:
        raise Mismatch(f"{where} is {_short(value)}, without {_short(argument)}")


def _matches(value: Any, matcher: Any) -> bool:
    try:
        check_match(value, matcher, "")
    except Mismatch:
        return False
    return True


def _number(value: Any, where: str) -> int | float:
    """A number, or the integer of an ETag or of any header."""
    if isinstance(value, str) and re.fullmatch(r'"?\d+"?', value):
        return int(value.strip('"'))
    if type(value) not in (int, float):
        raise Mismatch(f"{where} is {_short(value)}, not a number")
    number: int | float = value
    return number


def _greater(value: Any, argument: Any, where: str) -> None:
    if not _number(value, where) > _number(argument, "the argument of $greater"):
        raise Mismatch(f"{where} is {_short(value)}, not greater than {_short(argument)}")


def _less(value: Any, argument: Any, where: str) -> None:
    if not _number(value, where) < _number(argument, "the argument of $less"):
        raise Mismatch(f"{where} is {_short(value)}, not less than {_short(argument)}")


def _not(value: Any, argument: Any, where: str) -> None:
    if value is _MISSING or _matches(value, argument):
        raise Mismatch(f"{where} is {_short(value)}")


def _length(value: Any, argument: Any, where: str) -> None:
    if not isinstance(value, str | list | dict) or len(value) != argument:
        raise Mismatch(f"{where} is {_short(value)}, not of length {argument}")


def _split(value: Any) -> list[str]:
    return sorted(word.strip().lower() for word in value.split(","))


def _words(value: Any, argument: Any, where: str) -> None:
    if not isinstance(value, str) or _split(value) != _split(argument):
        raise Mismatch(f"{where} is {_short(value)}, not the words {argument}")


def _some_words(value: Any, argument: Any, where: str) -> None:
    if not isinstance(value, str) or not set(_split(argument)) <= set(_split(value)):
        raise Mismatch(f"{where} is {_short(value)}, without some of {argument}")


_MATCHERS: dict[str, Callable[[Any, Any, str], None]] = {
    "$exactly": _exactly,
    "$absent": _absent,
    "$type": _type,
    "$regex": _regex,
    "$unordered": _unordered,
    "$contains": _contains,
    "$greater": _greater,
    "$less": _less,
    "$not": _not,
    "$length": _length,
    "$words": _words,
    "$some_words": _some_words,
}


def fits_reference(scenario: Scenario) -> bool:
    """Whether the reference with everything on can be asked this scenario."""
    for name, value in scenario.settings.items():
        if name == "includes":
            named = set(value.split())
            if not named or not named <= REFERENCE_SETTINGS["includes"]:
                return False
        elif REFERENCE_SETTINGS.get(name, _MISSING) != value:
            return False
    return not scenario.differs


def main(arguments: list[str] | None = None) -> int:
    """Run scenarios from the command line; 0 if all of them hold."""
    parser = argparse.ArgumentParser(description="Play protocol scenarios against a server.")
    parser.add_argument("base_url", help="where the API is, such as http://127.0.0.1:8888/v1")
    parser.add_argument("files", nargs="*", type=Path, help="default: all of this directory")
    parser.add_argument("--reference", action="store_true", help="skip what is due otherwise there")
    parser.add_argument("--settings", type=json.loads, help="the server's, as JSON")
    parser.add_argument("--only", default="", help="part of the names to run")
    parser.add_argument("--all", action="store_true", help="whatever their settings")
    options = parser.parse_intermixed_args(arguments)
    run_count, failures = 0, 0
    for scenario in load(options.files):
        if options.reference and options.settings is None:
            fits = fits_reference(scenario)
        else:
            same = scenario.settings == (options.settings or {})
            fits = same and not (options.reference and scenario.differs)
        if not (fits or options.all) or options.only not in scenario.id:
            continue
        run_count += 1
        problems = run(scenario, options.base_url.rstrip("/"))
        if problems:
            failures += 1
            print(f"FAILED {scenario.id}", *problems, sep="\n")
    print(f"{run_count} scenarios, {failures} failed")
    return 1 if failures or not run_count else 0


if __name__ == "__main__":
    sys.exit(main())
