import json
import subprocess
import sys

import pytest

from tests.processes import ROOT

SCRIPT = "import logging, server.logs; server.logs.set_up_log({!r}); logging.info('begun')"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_log_goes_to_standard_error_in_its_format(log_format: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(log_format)], cwd=ROOT, capture_output=True, check=True
    )
    (line,) = done.stderr.decode().splitlines()
    if log_format == "json":
        assert json.loads(line)["Fields"] == {"message": "begun"}
    else:
        assert line.endswith("INFO root: begun")
