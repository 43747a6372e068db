"""The line that the log has of each request."""

import json
import logging
import time

from tornado.web import RequestHandler

logger = logging.getLogger("request.summary")


def log_request(handler: RequestHandler) -> None:
    """Log one line, as Kinto's ``request.summary`` has it: the facts as fields.

    The message is for people; ``record.fields`` holds the facts for a
    formatter that writes JSON.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    request = handler.request
    status = handler.get_status()
    fields = {
        "agent": request.headers.get("User-Agent"),
        "path": request.path,
        "method": request.method,
        "lang": request.headers.get("Accept-Language"),
        "rid": request.headers.get("X-Request-Id"),
        "errno": 0,
        "querystring": request.query,
        "code": status,
        "t": round(request.request_time() * 1000),
        "time": round(time.time(), 3),
        **getattr(handler, "summary", {}),
    }
    logger.info(
        "%s %s %d %dms", request.method, request.uri, status, fields["t"], extra={"fields": fields}
    )


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in the shape that Mozilla's log tools read."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        fields = dict(getattr(record, "fields", None) or {"message": record.getMessage()})
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(
            {
                "Timestamp": int(record.created * 1e9),
                "Type": record.name,
                "Logger": "kintoun",
                "Severity": _SEVERITIES.get(record.levelno, 7),
                "Pid": record.process,
                "Fields": fields,
            }
        )


_SEVERITIES = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
