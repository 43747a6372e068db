"""The log of a process: to standard error, as text or as JSON."""

import logging
import sys

from handlers.summaries import JsonFormatter

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def set_up_log(log_format: str) -> None:
    """Write what is logged from now on.

    Args:
        log_format: ``text`` or ``json``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
