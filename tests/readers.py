"""Does what a page of the documentation says, and compares what comes of it with what it shows.

The word after a block's language says where it belongs::

    sh, python, js      run to its end, in the first terminal
    sh second           goes on running, in the second terminal, in place of what ran there
    html news.html      stored under that name, and opened in the browser
    text                after one of these: what it prints; of a page, the text in it
    text second         what the second terminal prints next
    text page           the text in the browser's page by now
    anything setup      not run: that is the fixtures' business
"""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.browser import Chromium, Tab, serving_files
from tests.processes import ROOT, die_with_parent

SHOWN_URL = "http://127.0.0.1:8888/v1"
DEADLINE_SECONDS = 60.0

_BLOCK = re.compile(r"^```([a-z]+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROGRAMS = ("sh", "python", "js")
_VOLATILE = re.compile(
    r"\b(?:(?P<timestamp>[0-9]{13})"
    r"|(?P<user>[0-9a-f]{64})"
    r"|(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))\b"
)
"""What is another one in each run; the same text stays the same within one."""

_PATTERNS = {
    "timestamp": "[0-9]{13}",
    "user": "[0-9a-f]{64}",
    "uuid": "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}
_ELISION = "...\n"
"""A line that stands for any number of lines."""

_TEXT_OF_PAGE = "return document.body.innerText"


@dataclass(frozen=True, slots=True)
class Step:
    """A block that the reader runs or looks for, and the output that the page shows for it.

    Attributes:
        number: of the step in its page.
        language: ``sh``, ``python``, ``js``, ``html``; ``text`` to look once more.
        mark: the word after it: where it belongs.
        code: as it stands in the page.
        shown: as it stands in the page; None if it shows none.
    """

    number: int
    language: str
    mark: str
    code: str
    shown: str | None

    @property
    def title(self) -> str:
        name = " ".join(filter(None, (str(self.number), self.language, self.mark)))
        return f"{name}: {(self.code or self.shown or '').partition(chr(10))[0][:60]}"


def read_steps(page: str) -> list[Step]:
    """The blocks to run or to look for, in order."""
    found = [(kind, mark.strip(), text) for kind, mark, text in _BLOCK.findall(page)]
    steps: list[Step] = []
    for (kind, mark, text), following in zip(found, [*found[1:], ("", "", "")], strict=True):
        shown = following[2] if following[:2] == ("text", "") else None
        if kind == "text" and mark:
            steps.append(Step(len(steps), kind, mark, "", text))
        elif kind in (*_PROGRAMS, "html") and mark != "setup":
            steps.append(Step(len(steps), kind, mark, text, shown))
    return steps


class Terminal:
    """A program that goes on running; what it prints is read bit by bit."""

    def __init__(self, command: list[str], folder: Path, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
            start_new_session=True,
        )

    def read_until(self, enough: Callable[[str], bool]) -> str:
        """What is printed from now on, until that is enough, or it ends, or a minute is over."""
        stream = self._process.stdout
        assert stream is not None
        printed = b""
        end = time.monotonic() + DEADLINE_SECONDS
        while not enough(_decode(printed)) and time.monotonic() < end:
            if select.select([stream], [], [], max(0, end - time.monotonic()))[0]:
                piece = os.read(stream.fileno(), 65536)
                if not piece:
                    enough(_end_line(_decode(printed)))
                    break
                printed += piece
        return _decode(printed)

    def close(self) -> None:
        """End it, and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def _decode(printed: bytes) -> str:
    return printed.decode(errors="replace").replace("\r\n", "\n")


def _end_line(text: str) -> str:
    """Text in whole lines, as blocks of a page are."""
    return text if text.endswith("\n") or not text else text + "\n"


class Reader:
    """Does what a page says, and puts in its own values where the page shows others.

    Attributes:
        known: text of the page to that of this run.
    """

    def __init__(self, url: str, folder: Path) -> None:
        """Begin.

        Args:
            url: root of the server's API, without a slash at the end.
            folder: where the reader works; holds what the page's setup has put there.
        """
        self.known = {SHOWN_URL: url}
        self._folder = folder
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("KINTO")}
        self._environ = inherited | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            # Where the page's reader has the server at its usual address.
            "KINTOUN_URL": url,
        }
        self._closing = ExitStack()
        self._second: Terminal | None = None
        self._browser: tuple[Chromium, str] | None = None
        self._tab: Tab | None = None

    def do(self, step: Step) -> tuple[str, bool]:
        """What a step prints or shows, and whether the page shows just that."""
        if step.language == "html":
            self._open(step)
        if step.language == "html" or step.mark == "page":
            return self._look_at_page(step)
        if step.mark == "second":
            return self._look_at_second(step)
        printed = self._run(step)
        return printed, step.shown is None or self.recognises(step.shown, printed)

    def close(self) -> None:
        """End everything that was started."""
        if self._second is not None:
            self._second.close()
        self._closing.close()

    def _run(self, step: Step) -> str:
        ended = subprocess.run(
            self._command(step, "script"),
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            timeout=DEADLINE_SECONDS,
        )
        report = (ended.stdout + ended.stderr).decode(errors="replace")
        assert ended.returncode == 0, f"{step.title}\n{report}"
        return _end_line(_decode(ended.stdout))

    def _command(self, step: Step, name: str) -> list[str]:
        code = self._own(step.code)
        if step.language == "sh":
            return ["sh", "-eu", "-c", code]
        script = self._folder / (name + (".py" if step.language == "python" else ".mjs"))
        script.write_text(code)
        return [sys.executable if step.language == "python" else "node", str(script)]

    def _own(self, code: str) -> str:
        for shown, own in self.known.items():
            code = code.replace(shown, own)
        return code

    def _look_at_second(self, step: Step) -> tuple[str, bool]:
        if step.language != "text":
            if self._second is not None:
                self._second.close()
            command = self._command(step, "second")
            self._second = Terminal(command, self._folder, self._environ)
        assert self._second is not None, "nothing runs in the second terminal"
        if step.shown is None:
            return "", True
        shown, right = step.shown, False

        def enough(printed: str) -> bool:
            nonlocal right
            right = self.recognises(shown, printed)
            return right

        return self._second.read_until(enough), right

    def _open(self, step: Step) -> None:
        (self._folder / step.mark).write_text(self._own(step.code))
        if self._browser is None:
            chromium = Chromium(self._folder / "profile")
            self._closing.callback(chromium.close)
            self._browser = chromium, self._closing.enter_context(serving_files(self._folder))
        chromium, root = self._browser
        self._tab = chromium.open(f"{root}/{step.mark}")

    def _look_at_page(self, step: Step) -> tuple[str, bool]:
        assert self._tab is not None, "no page is open"
        end = time.monotonic() + DEADLINE_SECONDS
        while True:
            text = _end_line(self._tab.run(_TEXT_OF_PAGE).strip())
            right = step.shown is None or self.recognises(step.shown, text)
            if right or time.monotonic() > end:
                return text, right
            time.sleep(0.05)

    def recognises(self, shown: str, printed: str) -> bool:
        """Whether the page shows this output; remembers the values that it has here."""
        names: dict[str, str] = {}
        match = re.fullmatch(self._pattern(shown, names), printed)
        if match is None:
            return False
        self.known.update({text: match[name] for text, name in names.items()})
        return True

    def _pattern(self, shown: str, names: dict[str, str]) -> str:
        parts: list[str] = []
        for line in shown.splitlines(keepends=True):
            if line == _ELISION:
                parts.append(r"(?:.*\n)*?")
                continue
            end = 0
            for found in _VOLATILE.finditer(line):
                parts += [self._literal(line[end : found.start()]), self._value(found, names)]
                end = found.end()
            parts.append(self._literal(line[end:]))
        return "".join(parts)

    def _literal(self, text: str) -> str:
        return re.escape(text.replace(SHOWN_URL, self.known[SHOWN_URL]))

    def _value(self, found: re.Match[str], names: dict[str, str]) -> str:
        text = found[0]
        if text in self.known:
            return re.escape(self.known[text])
        if text in names:
            return f"(?P={names[text]})"
        names[text] = f"value{len(names)}"
        assert found.lastgroup is not None
        return f"(?P<{names[text]}>{_PATTERNS[found.lastgroup]})"
