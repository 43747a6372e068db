"""The live protocol's description as a page for people: ``docs/reference/asyncapi.md``.

Made anew by ``python -m handlers.asyncapi_page > docs/reference/asyncapi.md``.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from handlers.asyncapi import AsyncApiOptions, describe_live

_HEAD = """\
# The live protocol, message by message

Every server describes its live protocol in the form of [AsyncAPI](https://www.asyncapi.com) 3.0:
`GET /v1/__asyncapi__`. This page is made of that document. What the messages mean, and in which
order they come, is told [in the reference](live.md).

"""

_SIDES = (("client", "What a client says"), ("server", "What the server says"))


def make_page() -> str:
    """The page."""
    document = describe_live(AsyncApiOptions(), "http://localhost:8888/v1")
    return _HEAD + "\n".join(_lines(document["components"]["messages"]))


def _lines(messages: Mapping[str, Any]) -> Iterator[str]:
    for side, title in _SIDES:
        yield f"## {title}"
        yield ""
        for name, message in messages.items():
            if name.startswith(f"{side}."):
                yield from _message_lines(message)


def _message_lines(message: Mapping[str, Any]) -> Iterator[str]:
    payload = message["payload"]
    yield f"### {message['name']}"
    yield ""
    yield message["summary"]
    yield ""
    yield "| field | type | must be there | |"
    yield "|---|---|---|---|"
    for name, schema in payload["properties"].items():
        needed = "yes" if name in payload["required"] else ""
        about = schema.get("description", "")
        yield f"| `{name}` | {_type(schema)} | {needed} | {about} |".replace("|  |", "| |")
    yield ""
    yield "```json"
    yield json.dumps(message["examples"][0]["payload"])
    yield "```"
    yield ""


def _type(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    kind = schema.get("type", "any JSON")
    if kind == "array":
        return f"list of: {_type(schema['items'])}"
    return kind if isinstance(kind, str) else " or ".join(kind)


if __name__ == "__main__":
    sys.stdout.write(make_page())
