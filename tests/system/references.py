"""The reference, PyPI's ``kinto``, as a process of its own on its memory backend."""

import subprocess
import time
import urllib.request
from pathlib import Path

from tests.processes import ROOT, OutputLines, die_with_parent, free_port

PYTHON = ROOT / ".venv" / "reference" / "bin" / "python"
_DEADLINE_SECONDS = 60.0
# Its own script has the path of the folder in it where it was made.
_START = "import sys; from kinto.__main__ import main; sys.exit(main())"

_INI = """
[app:main]
use = egg:kinto
kinto.storage_backend = kinto.core.storage.memory
kinto.permission_backend = kinto.core.permission.memory
kinto.cache_backend = kinto.core.cache.memory
kinto.userid_hmac_secret = a secret
kinto.includes = kinto.plugins.accounts kinto_attachment
kinto.paginate_by = 40
multiauth.policies = account
multiauth.policy.account.use = kinto.plugins.accounts.authentication.AccountsAuthenticationPolicy
kinto.account_create_principals = system.Everyone
kinto.account_write_principals = account:admin
kinto.account_read_principals = account:admin
kinto.bucket_create_principals = system.Authenticated
kinto.bucket_read_principals = account:admin
kinto.group_read_principals = account:admin
kinto.collection_read_principals = account:admin
kinto.record_read_principals = account:admin
kinto.attachment.base_path = {folder}/files
[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = {port}
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = short
[logger_root]
level = WARN
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = short
[formatter_short]
format = %(message)s
"""


class ReferenceProcess:
    """A Kinto with accounts and attachments.

    Attributes:
        url: root of the API, without a slash at its end.
        files: folder of its attachments.
    """

    def __init__(self, folder: Path) -> None:
        """Start it, and wait until it answers.

        Args:
            folder: gets its settings and files.
        """
        assert PYTHON.exists(), "the reference is missing: run script/test once"
        port = free_port()
        self.files = folder / "files"
        self.files.mkdir()
        ini = folder / "kinto.ini"
        ini.write_text(_INI.format(folder=folder, port=port))
        command = [str(PYTHON), "-c", _START, "start", "--ini", str(ini), "--port", str(port)]
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"},
            preexec_fn=die_with_parent,
        )
        self._output = OutputLines(self._process)
        self.url = f"http://127.0.0.1:{port}/v1"
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        end = time.monotonic() + _DEADLINE_SECONDS
        while time.monotonic() < end:
            assert self._process.poll() is None, self._output.read_to_end()
            try:
                with urllib.request.urlopen(f"{self.url}/__lbheartbeat__", timeout=5):
                    return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"the reference does not answer:\n{self._output.text}")

    def stop(self) -> None:
        """End it; what it held is gone."""
        self._process.kill()
        self._process.wait()
        self._output.close()
