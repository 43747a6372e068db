"""GET /docs: the API's description, to be browsed with Swagger UI.

Its scripts and styles come from this server alone; nothing is run that is not a file.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import openapi_ui_bundles

from handlers.messages import ApiRequest, ApiResponse
from handlers.plans import Plan
from handlers.routes import Place
from server.core.errors import EndpointMissing

_OURS = Path(__file__).parents[1] / "static" / "docs"
_THEIRS = Path(openapi_ui_bundles.__file__).parent / "swagger_ui" / "vendor"

FILES: Mapping[str, tuple[Path, str]] = {
    "index.html": (_OURS, "text/html; charset=utf-8"),
    "page.css": (_OURS, "text/css; charset=utf-8"),
    "init.js": (_OURS, "text/javascript; charset=utf-8"),
    "swagger-ui.css": (_THEIRS, "text/css; charset=utf-8"),
    "swagger-ui-bundle.js": (_THEIRS, "text/javascript; charset=utf-8"),
    "favicon-32x32.png": (_THEIRS, "image/png"),
}
"""What may be asked for: the folder it lies in, and its type."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

_KEEP_SECONDS = 3600


class DocsEndpoint:
    """Plans ``/docs`` and what lies below it."""

    def plan(self, request: ApiRequest, place: Place) -> Plan:
        """A file.

        Raises:
            EndpointMissing: If there is none of that name.
        """
        name = place.names.get("file", "index.html") if place.names else "index.html"
        found = FILES.get(name)
        if found is None:
            raise EndpointMissing
        folder, kind = found

        async def alone() -> ApiResponse:
            content = await asyncio.to_thread((folder / name).read_bytes)
            headers = {
                "Content-Type": kind,
                "Content-Security-Policy": POLICY,
                "Cache-Control": f"public, max-age={_KEEP_SECONDS}",
                "Referrer-Policy": "no-referrer",
            }
            return ApiResponse(200, content, headers)

        # No JSON: it cannot be a part of a batch.
        return Plan(alone=alone, solitary=True)
