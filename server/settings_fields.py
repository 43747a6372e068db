"""The table of settings: one frozen value with a type, a default and a meaning for each."""

import dataclasses
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server import settings_values as values
from server.settings_accounts import AccountSettings, MailSettings
from server.settings_attachments import AttachmentSettings
from server.settings_discovery import DiscoverySettings
from server.settings_history import HistorySettings
from server.settings_metrics import MetricsSettings
from server.settings_quotas import QuotaSettings
from server.settings_values import about
from server.settings_webhooks import WebhookSettings

_count = values.whole_number(1)
_seconds = values.whole_number(0)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. What each means stands beside it.

    The names are Kinto's where Kinto has the setting.
    """

    # Where it listens and what it is called.
    host: str = field(
        default="127.0.0.1", metadata=about("Address to listen on.", values.parse_text)
    )
    port: int = field(
        default=8888,
        metadata=about("TCP port to listen on; 0 takes a free one.", values.whole_number(0, 65535)),
    )
    http_host: str | None = field(
        default=None,
        metadata=about("Host, with port, in the URLs of answers; else the request's.", str),
    )
    http_scheme: str | None = field(
        default=None,
        metadata=about(
            "Scheme in the URLs of answers; else the request's.", values.one_of("http", "https")
        ),
    )
    project_name: str = field(
        default="kinto", metadata=about("Name in the hello view.", values.parse_text)
    )
    project_version: str | None = field(
        default=None,
        metadata=about("Version in the hello view; else this server's own.", values.parse_text),
    )
    project_docs: str = field(
        default="https://kinto.readthedocs.io/",
        metadata=about("Link to documentation in the hello view.", values.parse_text),
    )
    version_json_path: Path = field(
        default=Path("version.json"),
        metadata=about("JSON file that `/__version__` serves.", Path),
    )
    error_info_link: str = field(
        default="https://github.com/Kinto/kinto/issues/",
        metadata=about("Link that an answer with status 500 gives as `info`.", values.parse_text),
    )

    # Where the data lie.
    storage_backend: str = field(
        default="mongo",
        metadata=about(
            "`mongo`, `memory`, or a backend that an installed package offers under the entry "
            "point `kintoun.storage`.",
            values.parse_text,
        ),
    )
    mongodb_uri: str | None = field(
        default=None,
        metadata=about(
            "Address of MongoDB; without it the server runs a private one. `MONGODB_URI` too.",
            values.parse_mongodb_uri,
        ),
    )
    mongodb_database: str = field(
        default="kintoun",
        metadata=about(
            "Database in MongoDB; the address's, if that names one.", values.parse_database
        ),
    )
    mongodb_driver: str = field(
        default="pymongo",
        metadata=about(
            "Driver of MongoDB: `pymongo` or `motor`.", values.one_of("pymongo", "motor")
        ),
    )
    mongod_path: str | None = field(
        default=None,
        metadata=about("Program for the private MongoDB; else `mongod` on PATH.", str),
    )
    data_dir: Path = field(
        default=Path("data"), metadata=about("Folder of the private MongoDB's data.", Path)
    )
    write_timeout_seconds: float = field(
        default=15.0,
        metadata=about(
            "Seconds that a write is tried before it is answered 503.", values.parse_duration
        ),
    )

    # What a client may ask for.
    readonly: bool = field(
        default=False, metadata=about("Answer every write 405.", values.parse_flag)
    )
    batch_max_requests: int = field(
        default=25, metadata=about("Requests that one batch may hold.", _count)
    )
    paginate_by: int | None = field(
        default=None,
        metadata=about("Objects in a page of a list, and at most `_limit`.", _count),
    )
    storage_max_fetch_size: int = field(
        default=10000, metadata=about("Objects that one answer holds at most.", _count)
    )
    pagination_token_validity_seconds: int = field(
        default=600, metadata=about("Seconds that a `Next-Page` can be followed.", _count)
    )
    max_body_bytes: int = field(
        default=8 * 1024 * 1024, metadata=about("Bytes that a request body may have.", _count)
    )
    explicit_permissions: bool = field(
        default=True,
        metadata=about("The creator of an object gets `write` on it.", values.parse_flag),
    )
    sharee_tombstones: bool = field(
        default=True,
        metadata=about("Tell pollers what left their sight, as tombstones.", values.parse_flag),
    )
    experimental_permissions_endpoint: bool = field(
        default=False, metadata=about("Offer `GET /permissions`.", values.parse_flag)
    )
    experimental_collection_schema_validation: bool = field(
        default=False,
        metadata=about("Check objects by the schemas of their parents.", values.parse_flag),
    )
    id_generator: str = field(
        default="UUID4",
        metadata=about("Ids that the server makes, in general.", values.parse_id_generator),
    )
    bucket_id_generator: str = field(
        default="NameGenerator", metadata=about("Ids of buckets.", values.parse_id_generator)
    )
    collection_id_generator: str = field(
        default="NameGenerator", metadata=about("Ids of collections.", values.parse_id_generator)
    )
    group_id_generator: str = field(
        default="NameGenerator", metadata=about("Ids of groups.", values.parse_id_generator)
    )
    record_id_generator: str = field(
        default="RelaxedUUID", metadata=about("Ids of records.", values.parse_id_generator)
    )

    # Features, users and rights.
    includes: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Features to switch on: `accounts`, `api_keys`, `attachments`, `counters`,"
            " `default_bucket`, `discovery`, `flush`, `history`, `openid`, `prometheus`,"
            " `quotas`; with or without `kinto.plugins.`.",
            values.parse_words,
        ),
    )
    policies: Mapping[str, str] = field(
        default_factory=lambda: {"basicauth": "basicauth"},
        metadata=about(
            "Ways to authenticate, in order; what each is, `multiauth.policy.NAME.use` tells.",
            values.parse_words,
            name="multiauth.policies",
        ),
    )
    policy_options: Mapping[str, str] = field(
        default_factory=dict,
        metadata=about(
            "What a policy wants to know, such as `multiauth.policy.google.client_id`.",
            str,
            name="multiauth.policy.<policy>.<option>",
            pattern=r"multiauth[._]policy[._](.+)",
        ),
    )
    principals: Mapping[str, frozenset[str]] = field(
        default_factory=lambda: {
            "bucket:create": frozenset({"system.Authenticated"}),
            "permissions:read": frozenset({"system.Everyone"}),
        },
        metadata=about(
            "Principals with a permission everywhere, such as `bucket_create_principals`.",
            values.parse_principals,
            name="<resource>_<permission>_principals",
        ),
    )
    flush_principals: frozenset[str] = field(
        default=frozenset({"system.Everyone"}),
        metadata=about("Who may `POST /__flush__`.", values.parse_principals),
    )
    userid_hmac_secret: str | None = field(
        default=None,
        metadata=about(
            "Secret from which user ids are made; else made once, and kept in the database.",
            values.parse_text,
        ),
    )
    default_bucket_hmac_secret: str = field(
        default="",
        metadata=about("Secret from which ids of default buckets are made.", values.parse_text),
    )
    disabled_endpoints: frozenset[tuple[str, str, str]] = field(
        default=frozenset(),
        metadata=about(
            "`false` answers that method 405, such as `object_record_delete_enabled`.",
            values.parse_flag,
            name="<plural|object>_<resource>_<method>_enabled",
        ),
    )

    # Headers and redirects.
    cors_origins: tuple[str, ...] = field(
        default=("*",),
        metadata=about("Origins whose pages may read the answers.", values.parse_words),
    )
    cors_max_age_seconds: int | None = field(
        default=3600,
        metadata=about("Seconds that a browser may keep a CORS preflight.", _seconds),
    )
    root_cache_expires_seconds: int = field(
        default=86400,
        metadata=about("Seconds that the hello view of a read-only server is kept.", _seconds),
    )
    cache_expires_seconds: Mapping[str, int] = field(
        default_factory=dict,
        metadata=about(
            "Seconds that anonymous readers may keep an answer, such as "
            "`blog.articles.record_cache_expires_seconds`.",
            _seconds,
            name="<bucket>.<collection>.record_cache_expires_seconds",
        ),
    )
    trailing_slash_redirect_enabled: bool = field(
        default=True,
        metadata=about("Redirect a path with a slash at its end.", values.parse_flag),
    )
    trailing_slash_redirect_ttl_seconds: int = field(
        default=3600,
        metadata=about(
            "Seconds that such a redirect is kept; -1 sends no header.", values.whole_number(-1)
        ),
    )
    version_prefix_redirect_enabled: bool = field(
        default=True, metadata=about("Redirect a path without `/v1`.", values.parse_flag)
    )
    version_prefix_redirect_ttl_seconds: int = field(
        default=-1,
        metadata=about(
            "Seconds that such a redirect is kept; -1 sends no header.", values.whole_number(-1)
        ),
    )

    # Live changes.
    live_max_subscriptions: int = field(
        default=128, metadata=about("Subscriptions of one WebSocket connection.", _count)
    )
    live_message_max_bytes: int = field(
        default=65536, metadata=about("Bytes of one message from a client.", _count)
    )
    live_messages_per_second: int = field(
        default=100,
        metadata=about("Messages that one client may send, ten times as many at once.", _count),
    )
    live_event_max_bytes: int = field(
        default=1 << 20,
        metadata=about("Bytes of an object in an event; a larger one is left out.", _count),
    )
    live_outbox_max_messages: int = field(
        default=1000,
        metadata=about("Messages that wait for a slow reader before it has to catch up.", _count),
    )
    live_outbox_max_bytes: int = field(
        default=1 << 20, metadata=about("Bytes of those messages.", _count)
    )
    live_hello_seconds: float = field(
        default=10.0,
        metadata=about("Seconds within which a client has to say hello.", values.parse_duration),
    )
    live_ping_seconds: float = field(
        default=20.0, metadata=about("Seconds between two pings.", values.parse_duration)
    )
    live_heartbeat_seconds: float = field(
        default=25.0,
        metadata=about(
            "Seconds of silence after which the server says something.", values.parse_duration
        ),
    )
    live_stalled_seconds: float = field(
        default=60.0,
        metadata=about(
            "Seconds after which a socket that takes nothing is closed.", values.parse_duration
        ),
    )

    # Who has an account.
    accounts: AccountSettings = field(
        default_factory=AccountSettings, metadata={"group": AccountSettings}
    )
    quotas: QuotaSettings = field(default_factory=QuotaSettings, metadata={"group": QuotaSettings})
    mail: MailSettings = field(default_factory=MailSettings, metadata={"group": MailSettings})
    discovery: DiscoverySettings = field(
        default_factory=DiscoverySettings, metadata={"group": DiscoverySettings}
    )

    # What was done, and for how long that is known.
    history: HistorySettings = field(
        default_factory=HistorySettings, metadata={"group": HistorySettings}
    )

    # Files of records.
    attachments: AttachmentSettings = field(
        default_factory=AttachmentSettings, metadata={"group": AttachmentSettings}
    )

    # Who is told.
    webhooks: WebhookSettings = field(
        default_factory=WebhookSettings, metadata={"group": WebhookSettings}
    )

    # Operation.
    metrics: MetricsSettings = field(
        default_factory=MetricsSettings, metadata={"group": MetricsSettings}
    )
    backoff: int | None = field(
        default=None,
        metadata=about("Seconds that clients are asked to wait between requests.", _seconds),
    )
    backoff_percentage: int | None = field(
        default=None,
        metadata=about(
            "Percentage of the answers that carry `Backoff`; else all.",
            values.whole_number(0, 100),
        ),
    )
    retry_after_seconds: int = field(
        default=3, metadata=about("Seconds in `Retry-After`.", _seconds)
    )
    eos: datetime.datetime | None = field(
        default=None,
        metadata=about("Date from which every answer is 410.", values.parse_date),
    )
    eos_message: str | None = field(
        default=None, metadata=about("What users are told of that end.", values.parse_text)
    )
    eos_url: str | None = field(
        default=None, metadata=about("Link for users about that end.", values.parse_text)
    )
    heartbeat_timeout_seconds: float = field(
        default=10.0,
        metadata=about("Seconds that a check of the heartbeat may take.", values.parse_duration),
    )
    log_format: str = field(
        default="text",
        metadata=about("Lines of the log: `text` or `json`.", values.one_of("text", "json")),
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """A setting: where its value stands.

    Attributes:
        group: the field of ``Settings`` whose value has it; None for ``Settings`` itself.
        field: its own.
    """

    group: str | None
    field: dataclasses.Field[Any]

    @property
    def name(self) -> str:
        """As it is written in the ini file."""
        name: str = self.field.metadata["name"] or self.field.name
        return name

    @property
    def pattern(self) -> str | None:
        """Of the names of many; see ``about``."""
        pattern: str | None = self.field.metadata["pattern"]
        return pattern

    def default(self) -> Any:
        """Its value where nobody sets it."""
        settings = Settings()
        return getattr(getattr(settings, self.group) if self.group else settings, self.field.name)


def _entries() -> list[Entry]:
    entries = []
    for one in dataclasses.fields(Settings):
        group = one.metadata.get("group")
        if group is None:
            entries.append(Entry(None, one))
        else:
            entries.extend(Entry(one.name, inner) for inner in dataclasses.fields(group))
    return entries


FIELDS = {entry.name: entry for entry in _entries()}
"""The settings by the name that is written in the ini file."""


def setting_rows() -> list[tuple[str, str, str]]:
    """Name, default and meaning of each setting, as the reference shows them."""
    return [
        (name, _shown(entry.default()), entry.field.metadata["help"])
        for name, entry in FIELDS.items()
    ]


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{k}={_shown(v)}" if v != k else k for k, v in value.items())
    if isinstance(value, (tuple, frozenset)):
        return " ".join(str(item) for item in sorted(value))
    return "" if value is None else str(value)
