"""Formats of the server's log: plain-text lines or JSON lines."""

from __future__ import annotations

import json
import logging
from typing import Any


class JsonFormatter(logging.Formatter):
    """Formats each record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
            "from": record.name,
        }
        if isinstance(record.args, dict):
            line |= record.args
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """Formats a record as a line of text, with errors indented below; client text cannot forge lines or escapes."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Format a record without its error."""
        return _printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Format an error with its traceback."""
        return "\n".join("  " + _printable(line) for line in super().formatException(ei).splitlines())


def _printable(text: str) -> str:
    """Return the text on one line, with escapes for unprintable characters."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def set_up_log(kind: str) -> None:
    """Write the server's log to stderr, in the format 'text' or 'json'."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter() if kind == "json" else TextFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    )
    for name in ("intact", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
