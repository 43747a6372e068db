"""``/.well-known/``: from a user's address to this server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from handlers.hello import HTTP_API_VERSION
from handlers.messages import ApiRequest, ApiResponse, json_response
from handlers.plans import Plan
from handlers.routes import Place
from server.core.errors import EndpointMissing, invalid
from server.core.json_text import dump_json
from server.core.paths import ALL_KINDS, is_valid_id
from server.core.permissions import make_actor
from server.service.default_bucket import ALIAS, DefaultBuckets
from server.storage.base import Snapshot

WEBFINGER = "/.well-known/webfinger"
KINTO = "/.well-known/kinto"

ISSUER = "http://openid.net/specs/connect/1.0/issuer"
"""The relation to an identity provider (OpenID Connect Discovery 1.0, section 2)."""

_CACHE_SECONDS = 3600
_FOR_ALL = {"Access-Control-Allow-Origin": "*"}
"""Pages of every origin may discover, whoever may use the API (RFC 7033, section 5)."""


@dataclass(frozen=True, slots=True)
class Discoverable:
    """What there is to be told.

    Attributes:
        docs: URL of the page that says what the relations mean.
        sign_in: ways to authenticate; paths in ``login`` and ``keys`` are the API's.
        defaults: whose the default buckets are; None where there are none.
        hosts: whose addresses lead here; empty for the host that is asked.
        accounts: name of the policy whose users are told of; None to tell of nobody.
    """

    docs: str
    sign_in: Sequence[Mapping[str, Any]] = ()
    defaults: DefaultBuckets | None = None
    hosts: tuple[str, ...] = ()
    accounts: str | None = None


class DiscoveryEndpoints:
    """Plans what clients ask who know an address, or a host, and nothing else."""

    def __init__(self, told: Discoverable) -> None:
        self._told = told

    def plan_kinto(self, request: ApiRequest, _: Place) -> Plan:
        """What this server is, where, and how to sign in."""

        async def alone() -> ApiResponse:
            return json_response(self._describe(request.root), headers=_headers())

        return Plan(alone=alone)

    def _describe(self, root: str) -> dict[str, Any]:
        told: dict[str, Any] = {
            "url": f"{root}/",
            "http_api_version": HTTP_API_VERSION,
            "live": {"url": live_url(root), "subprotocol": "kinto.live.v1"},
            "sign_in": [_absolute(one, root) for one in self._told.sign_in],
            "webfinger": f"{root.removesuffix('/v1')}{WEBFINGER}?resource=acct:{{user}}@{{host}}",
        }
        if self._told.defaults is not None:
            told["bucket"] = f"{root}{ALIAS}"
        return told

    def plan_webfinger(self, request: ApiRequest, _: Place) -> Plan:
        """What an address leads to.

        Raises:
            InvalidParameters: If none is named.
            EndpointMissing: If it is of another host.

        Source: RFC 7033, section 4; RFC 7565.
        """
        resource = self._read_resource(request)
        user, _at, host = resource.partition(":")[2].rpartition("@")
        if host.lower() not in self._hosts(request.root):
            raise EndpointMissing
        relations = [value for name, value in request.arguments if name == "rel"]
        if self._told.accounts is None:
            return Plan(alone=lambda: self._answer(request, resource, ALIAS, relations))
        names = [unquote(f"{user}@{host}"), unquote(user)]

        async def read(snapshot: Snapshot) -> ApiResponse:
            bucket = await self._find_bucket(snapshot, names)
            return await self._answer(request, resource, bucket, relations)

        return Plan(read=read)

    def _read_resource(self, request: ApiRequest) -> str:
        given = [value for name, value in request.arguments if name == "resource"]
        if not given:
            raise invalid("querystring", "resource", "Required")
        scheme, _, rest = given[0].partition(":")
        user, _, host = rest.rpartition("@")
        if len(given) > 1 or not scheme or not rest or len(rest) > 1024:
            raise invalid("querystring", "resource", "should be a URI, given once")
        if scheme.lower() == "acct" and not (user and host):
            raise invalid("querystring", "resource", "should be like acct:user@host")
        if scheme.lower() != "acct":
            # A URI, but of nothing that is known here.
            raise EndpointMissing
        return given[0]

    def _hosts(self, root: str) -> set[str]:
        if self._told.hosts:
            return {host.lower() for host in self._told.hosts}
        split = urlsplit(root)
        return {split.netloc.lower(), (split.hostname or "").lower()}

    async def _find_bucket(self, snapshot: Snapshot, names: Sequence[str]) -> str:
        """The bucket of the first account that exists.

        Raises:
            EndpointMissing: If none does.
        """
        kind = ALL_KINDS["account"]
        known = {f"/{kind.plural}/{name}": name for name in names if is_valid_id(name, kind.ids)}
        found = await snapshot.objects(known)
        for uri, name in known.items():
            if uri in found and not found[uri].deleted:
                return self._bucket_of(name)
        raise EndpointMissing

    def _bucket_of(self, name: str) -> str:
        if self._told.defaults is None:
            return ""
        actor = make_actor(f"{self._told.accounts}:{name}")
        return f"/buckets/{self._told.defaults.bucket_of(actor)}"

    async def _answer(
        self, request: ApiRequest, resource: str, bucket: str, relations: Sequence[str]
    ) -> ApiResponse:
        links = self._links(request.root, bucket)
        wanted = [one for one in links if not relations or one["rel"] in relations]
        body = dump_json({"subject": resource, "links": wanted})
        return ApiResponse(200, body, {"Content-Type": "application/jrd+json", **_headers()})

    def _links(self, root: str, bucket: str) -> list[dict[str, str]]:
        docs = self._told.docs
        links = [
            {"rel": f"{docs}#api", "type": "application/json", "href": f"{root}/"},
            {"rel": f"{docs}#live", "href": live_url(root)},
        ]
        if self._told.defaults is not None and bucket:
            links.append(
                {"rel": f"{docs}#bucket", "type": "application/json", "href": root + bucket}
            )
        issuers = [one["issuer"] for one in self._told.sign_in if "issuer" in one]
        return links + [{"rel": ISSUER, "href": issuer} for issuer in issuers]


def live_url(root: str) -> str:
    """Where a WebSocket is opened."""
    return f"ws{root.removeprefix('http')}/live"


def _absolute(way: Mapping[str, Any], root: str) -> dict[str, Any]:
    """A way to sign in, with the API's URL before its paths."""
    paths = {name: root + way[name] for name in ("login", "keys", "accounts") if name in way}
    return {**way, **paths}


def _headers() -> dict[str, str]:
    return {"Cache-Control": f"max-age={_CACHE_SECONDS}", **_FOR_ALL}
