"""Settings of discovery: what an address like ``user@host`` leads to."""

from dataclasses import dataclass, field

from server import settings_values as values
from server.settings_values import about


@dataclass(frozen=True, slots=True)
class DiscoverySettings:
    """What is told, and of which addresses."""

    hosts: tuple[str, ...] = field(
        default=(),
        metadata=about(
            "Hosts whose addresses, such as `user@example.com`, lead to this server; else the"
            " host that is asked.",
            values.parse_words,
            name="discovery_hosts",
        ),
    )
    public_accounts: bool = field(
        default=False,
        metadata=about(
            "Tell everybody which accounts exist, and which buckets are theirs.",
            values.parse_flag,
            name="discovery_public_accounts",
        ),
    )
