"""Settings of the formats."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from state.events import MAX_DEPTH, MAX_RAW_BYTES

#: RFC 1918, carrier-grade NAT, link-local, unique local and loopback addresses.
HOME_NETWORKS = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
)


class JsonMapping(BaseModel):
    """Which keys of a generic JSON message fill the event; dotted, the first that is present counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: tuple[str, ...] = Field(
        default=(
            "@timestamp",
            "timestamp",
            "time",
            "ts",
            "event_time",
            "eventTime",
            "event.created",
            "datetime",
            "date",
        ),
        description="Event time: ISO 8601, or a number of seconds, milliseconds, micro- or nanoseconds since 1970.",
    )
    host: tuple[str, ...] = Field(
        default=(
            "host.name",
            "host.hostname",
            "host",
            "hostname",
            "host_name",
            "computer",
            "computer_name",
            "device_id",
            "device",
            "agent.name",
        ),
        description="Name or address of the host that the event is about, never of the collector.",
    )
    dataset: tuple[str, ...] = Field(
        default=("event.dataset", "event_type", "type", "source_type"),
        description="What sort of log this is; becomes the source type, json.<dataset>.",
    )
    category: tuple[str, ...] = Field(
        default=("event.category", "category"), description="ECS event category; other values are ignored."
    )
    action: tuple[str, ...] = Field(default=("event.action", "action", "event_type"), description="What happened.")
    outcome: tuple[str, ...] = Field(
        default=("event.outcome", "outcome", "status", "result"), description="Whether it succeeded."
    )
    user: tuple[str, ...] = Field(
        default=("user.name", "user_id", "username", "user_name", "user"), description="Name of the user."
    )
    source_ip: tuple[str, ...] = Field(
        default=("source.ip", "source_ip", "src_ip", "client.ip", "client_ip"), description="Address of the source."
    )
    source_port: tuple[str, ...] = Field(
        default=("source.port", "source_port", "src_port"), description="Port of the source."
    )
    destination_ip: tuple[str, ...] = Field(
        default=("destination.ip", "destination_ip", "dest_ip", "dst_ip", "server.ip"),
        description="Address of the destination.",
    )
    destination_port: tuple[str, ...] = Field(
        default=("destination.port", "destination_port", "dest_port", "dst_port"),
        description="Port of the destination.",
    )
    source_bytes: tuple[str, ...] = Field(
        default=("source.bytes", "bytes_sent", "bytes_out"), description="Bytes that the source sent."
    )
    destination_bytes: tuple[str, ...] = Field(
        default=("destination.bytes", "bytes_received", "bytes_in"), description="Bytes that the destination sent."
    )
    process: tuple[str, ...] = Field(
        default=("process.executable", "process.name", "process_name", "process"),
        description="Path or name of the process.",
    )
    command_line: tuple[str, ...] = Field(
        default=("process.command_line", "command_line", "cmdline"), description="Command line, worth classifying."
    )
    url: tuple[str, ...] = Field(
        default=("url.original", "url.full", "url"), description="URL with its query, worth classifying."
    )
    dns: tuple[str, ...] = Field(
        default=("dns.question.name", "dns_query"), description="DNS name asked for, worth classifying."
    )


class FormatSettings(BaseModel):
    """How messages become events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timezone: str = Field(default="UTC", description="IANA zone of time stamps that carry no zone of their own.")
    year: int | None = Field(
        default=None,
        ge=2000,
        lt=2100,
        description="Year of stamps without one (RFC 3164); unset: the latest that is at most a day past the message's "
        "broker time.",
    )
    home_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=tuple(IPv6Network(n) if ":" in n else IPv4Network(n) for n in HOME_NETWORKS),
        description="Networks that are ours; a network sensor's event belongs to the side that is in one of them.",
    )
    host_aliases: dict[str, str] = Field(
        default_factory=dict,
        description="Other names or addresses of a host, each with the name it is known by; compared in lower case, "
        "before and after suffixes are stripped.",
    )
    domain_suffixes: tuple[str, ...] = Field(
        default=("*",),
        description='Domains stripped from host names; "*" strips everything past the first dot.',
    )
    json_mapping: JsonMapping = Field(
        default_factory=JsonMapping, description="Keys of generic JSON messages that fill the event."
    )
    max_raw_bytes: int = Field(
        default=MAX_RAW_BYTES, ge=1024, description="Largest message that is parsed at all, bytes."
    )
    max_depth: int = Field(default=MAX_DEPTH, ge=4, le=500, description="Deepest nesting of JSON that is accepted.")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"no such time zone: {value!r}") from error
        return value
