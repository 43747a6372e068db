"""Identity providers: one that a test tells what to answer, and the keys and tokens of it."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from jwt.algorithms import RSAAlgorithm
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

AUDIENCE = "https://api.example.com"
PROFILE = {"sub": "alice", "email": "alice@example.com"}


def make_private_key() -> RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


KEY = make_private_key()
OTHER_KEY = make_private_key()


def public_jwk(key: RSAPrivateKey, kid: str, **more: Any) -> dict[str, Any]:
    text = RSAAlgorithm.to_jwk(key.public_key())
    return {**json.loads(text), "kid": kid, "use": "sig", **more}


@dataclass
class ScriptedProvider:
    """A provider that answers what it was told to.

    Attributes:
        issuer: its URL.
        answers: by path: status and body; bytes are sent as they are.
        users: profiles by token; a token that is not among them is unknown.
        asked: paths of all requests, in order.
        forms: what the token endpoint was sent: authorization and body.
    """

    issuer: str
    answers: dict[str, tuple[int, Any]]
    users: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    forms: list[tuple[str | None, bytes]] = field(default_factory=list)

    @property
    def metadata(self) -> dict[str, Any]:
        """What it tells of itself; may be changed."""
        told: dict[str, Any] = self.answers["/.well-known/openid-configuration"][1]
        return told

    def show_keys(self, *keys: Mapping[str, Any]) -> None:
        self.answers["/jwks"] = (200, {"keys": list(keys)})

    def sign(
        self, key: Any = KEY, kid: str | None = "one", algorithm: str = "RS256", **claims: Any
    ) -> str:
        """A token of its own for ``AUDIENCE``; a claim that is None is left out."""
        said = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "alice",
            "exp": int(time.time()) + 600,
            **claims,
        }
        payload = {name: value for name, value in said.items() if value is not None}
        headers = {"kid": kid} if kid else {}
        return jwt.encode(payload, key, algorithm=algorithm, headers=headers)


class _Handler(RequestHandler):
    def initialize(self, told: ScriptedProvider) -> None:
        self.told = told

    async def get(self) -> None:
        path = self.request.path
        self.told.asked.append(path)
        if path == "/userinfo" and path not in self.told.answers:
            token = self.request.headers["Authorization"].removeprefix("Bearer ")
            found = self.told.users.get(token)
            self.answer(*((401, {"error": "invalid_token"}) if found is None else (200, found)))
            return
        self.answer(*self.told.answers[path])

    async def post(self) -> None:
        self.told.forms.append((self.request.headers.get("Authorization"), self.request.body))
        await self.get()

    def answer(self, status: int, body: Any) -> None:
        self.set_status(status)
        if status in (301, 302):
            self.set_header("Location", body)
        else:
            self.finish(body if isinstance(body, bytes) else json.dumps(body))

    def log_exception(self, *arguments: Any) -> None:
        raise AssertionError(arguments)


@asynccontextmanager
async def scripted_provider() -> AsyncIterator[ScriptedProvider]:
    """A provider in the test's own loop, with one key, and userinfo."""
    (listening,) = bind_sockets(0, "127.0.0.1")
    issuer = f"http://127.0.0.1:{listening.getsockname()[1]}"
    metadata = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
    }
    told = ScriptedProvider(issuer, {"/.well-known/openid-configuration": (200, metadata)})
    told.show_keys(public_jwk(KEY, "one"))
    application = Application([(".*", _Handler, {"told": told})], log_function=lambda handler: None)
    server = HTTPServer(application)
    server.add_sockets([listening])
    try:
        yield told
    finally:
        server.stop()
        await server.close_all_connections()
