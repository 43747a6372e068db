import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.processes import ROOT

FAKE_PYTHON = """\
#!/bin/sh
# Stands for the Python of .venv: notes what it is asked, and succeeds.
echo "$@ [data=$KINTO_DATA_DIR]" >>"$CALLS"
case "$*" in *mongod_binary*) echo true ;; esac
"""

FAKE_APT = """\
#!/bin/sh
echo "apt-get $*" >>"$CALLS"
case "$*" in *chromium) ln -s /bin/true "$PROGRAMS/chromium" ;; esac
"""


class Checkout:
    """A copy of the scripts in a folder with a space, whose Python only takes notes."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "my checkout"
        shutil.copytree(ROOT / "script", self.root / "script")
        shutil.copy(ROOT / "setup.py", self.root)
        binaries = self.root / ".venv" / "bin"
        binaries.mkdir(parents=True)
        (binaries / "python").write_text(FAKE_PYTHON)
        (binaries / "python").chmod(0o755)
        self._calls = folder / "calls"

    def run(self, script: str, *arguments: str, **environ: str) -> list[str]:
        """Run a script from another folder; what its Python was asked."""
        self._calls.write_text("")
        plain = {"PATH": "/usr/bin:/bin", "CALLS": str(self._calls)}
        subprocess.run(
            [self.root / "script" / script, *arguments],
            env=plain | environ,
            cwd="/",
            check=True,
            capture_output=True,
        )
        return self._calls.read_text().splitlines()

    def installs(self, calls: list[str]) -> list[str]:
        """What pip was asked to install."""
        return [call.split()[-2] for call in calls if "pip install" in call]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_second_setup_asks_nothing_of_pip(checkout: Checkout) -> None:
    assert checkout.installs(checkout.run("setup", "fast")) == [".[fast]"]
    assert checkout.run("setup", "fast") == []


def test_changed_setup_py_is_installed_again(checkout: Checkout) -> None:
    checkout.run("setup", "fast")
    with (checkout.root / "setup.py").open("a") as file:
        file.write("# changed\n")
    assert checkout.installs(checkout.run("setup", "fast")) == [".[fast]"]


def test_moved_checkout_is_installed_again(checkout: Checkout, tmp_path: Path) -> None:
    checkout.run("setup", "fast")
    checkout.root = checkout.root.rename(tmp_path / "moved here")
    assert checkout.installs(checkout.run("setup", "fast")) == [".[fast]"]


def test_server_passes_its_options_on_and_keeps_the_data_in_the_checkout(
    checkout: Checkout,
) -> None:
    calls = checkout.run("server", "--port", "9000")
    assert calls[-1] == f"-m server serve --port 9000 [data={checkout.root}/data]"


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ((), {"KINTO_INI": "kinto.ini"}),
        (("--ini", "kinto.ini"), {}),
        (("--ini=kinto.ini",), {}),
    ],
)
def test_ini_file_may_name_the_data_folder(
    checkout: Checkout, arguments: tuple[str, ...], environ: dict[str, str]
) -> None:
    assert checkout.run("server", *arguments, **environ)[-1].endswith("[data=]")


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ((), {"MONGODB_URI": "mongodb://h"}),
        (("--storage", "memory"), {}),
        (("--storage=memory",), {}),
    ],
)
def test_mongod_is_not_installed_where_none_is_started(
    checkout: Checkout, arguments: tuple[str, ...], environ: dict[str, str]
) -> None:
    assert checkout.installs(checkout.run("server", *arguments, **environ)) == [".[fast]"]


def test_mongod_is_installed_where_the_machine_has_none(checkout: Checkout, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for folder in (Path("/bin"), Path("/usr/bin")):
        for program in folder.iterdir():
            if program.name != "mongod" and not (programs / program.name).is_symlink():
                (programs / program.name).symlink_to(program)
    calls = checkout.run("server", PATH=str(programs))
    assert checkout.installs(calls) == [".[embedded,fast]"]


def test_failed_installation_is_tried_again_and_stops_the_start(checkout: Checkout) -> None:
    python = checkout.root / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\n[ "$3" != install ]\n')
    with pytest.raises(subprocess.CalledProcessError) as caught:
        checkout.run("server")
    assert b"pip could not install" in caught.value.stderr
    python.write_text(FAKE_PYTHON)
    assert len(checkout.installs(checkout.run("server"))) == 1


class Machine:
    """Has all that ``script/test`` needs, but no browser.

    Attributes:
        environ: for the scripts.
    """

    def __init__(self, folder: Path, user: int) -> None:
        self._folder = folder
        folder.mkdir()
        for name in ("cat", "cmp", "dirname", "printf", "sh"):
            (folder / name).symlink_to(shutil.which(name) or "")
        for name in ("node", "true"):
            (folder / name).symlink_to("/bin/true")
        self.add("id", f"#!/bin/sh\necho {user}\n")
        self.environ = {"PATH": str(folder), "PROGRAMS": str(folder)}

    def add(self, name: str, text: str) -> None:
        """Give it a program."""
        (self._folder / name).write_text(text.replace("ln ", f"{shutil.which('ln')} "))
        (self._folder / name).chmod(0o755)


def test_browser_is_installed_for_the_tests_where_it_may_be(
    checkout: Checkout, tmp_path: Path
) -> None:
    machine = Machine(tmp_path / "programs", user=0)
    machine.add("apt-get", FAKE_APT)
    calls = checkout.run("test", "tests/x", **machine.environ)
    assert "apt-get install -qq -y --no-install-recommends chromium" in calls
    assert calls[-1].startswith("-m pytest tests/x")
    again = checkout.run("test", "tests/x", **machine.environ)
    assert [call for call in again if call.startswith("apt-get")] == []


@pytest.mark.parametrize("environ", [{}, {"CI": "1"}])
@pytest.mark.parametrize(("user", "apt"), [(0, ""), (0, "#!/bin/sh\nexit 100\n"), (1000, FAKE_APT)])
def test_missing_browser_that_may_not_be_installed_stops_the_tests_and_is_named(
    checkout: Checkout, tmp_path: Path, user: int, apt: str, environ: dict[str, str]
) -> None:
    machine = Machine(tmp_path / "programs", user)
    if apt:
        machine.add("apt-get", apt)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        checkout.run("test", "tests/x", **machine.environ, **environ)
    assert b"install it with apt-get install chromium" in caught.value.stderr


@pytest.mark.parametrize("script", ["script/setup", "script/server", "script/test", ".ci/run"])
def test_script_is_executable_and_plain_shell(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert subprocess.run(["sh", "-n", ROOT / script], check=False).returncode == 0


def test_ci_runs_the_test_script_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands[:2] == ["set -eu", "export CI=1"]
    assert commands[2:] == ['exec "$(dirname -- "$0")/../script/test"']
