"""Zeek logs as JSON lines, with ``_path`` or without it; dotted (``id.orig_h``) and nested (``id: {}``) keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec

from state.events import Event, Fields

from . import projection, tolerant, zeek
from .base import Format, Malformed, Position, WrongShape

if TYPE_CHECKING:
    from analyzers.rules.shortcut import Projector

#: A key that only the named log has, for messages that do not say which log they are from (Zeek's own JSON writer).
TELLTALES = (
    ("conn", "conn_state"),
    ("dns", "qtype"),
    ("dns", "trans_id"),
    ("http", "trans_depth"),
    ("http", "status_code"),
    ("ssl", "ssl_history"),
    ("ssl", "cipher"),
    ("notice", "note"),
    ("files", "fuid"),
    ("ssh", "auth_attempts"),
    ("kerberos", "request_type"),
    ("ntlm", "server_nb_computer_name"),
    ("weird", "notice"),
    ("rdp", "security_protocol"),
    ("smb_mapping", "share_type"),
    ("dce_rpc", "named_pipe"),
    ("x509", "certificate.serial"),
    ("software", "unparsed_version"),
)


class ZeekJson(Format):
    """Decode Zeek's JSON logs."""

    name: ClassVar[str] = "zeek_json"
    rank: ClassVar[int] = 10
    verbatim: ClassVar[bool] = True
    marker: ClassVar[bytes] = b'"_path"'

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(zeek.Records).decode

    def sniff(self, raw: bytes) -> bool:
        """Return whether an unescaped ``_path`` or a connection's four-tuple stands in the line."""
        return (
            raw.find(b'"_path"') >= 0
            or raw.find(b'"id.orig_h"') >= 0
            or (raw.find(b'"orig_h"') >= 0 and raw.find(b'"uid"') >= 0)
        )

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event."""
        try:
            record: zeek.Record = self._decode(raw)
        except msgspec.ValidationError:
            record, path = _slowly(tolerant.parse(raw))
            return zeek.to_event(record, raw, at, "zeek_json", path)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise tolerant.malformed(error) from error
        return zeek.to_event(record, raw, at, "zeek_json")

    def project(self, names: Sequence[str]) -> Projector:
        """Return what decodes just the named fields."""
        return projection.flattened(names)

    def fields(self, event: Event) -> Fields:
        """Return the original dotted keys; a nested ``id`` is flattened."""
        return tolerant.flatten(cast("dict[str, Any]", tolerant.whole(event.raw)))


def _slowly(data: dict[str, Any]) -> tuple[zeek.Record, str]:
    """Return the record of a log without a struct of its own, without ``_path``, or with a type that did not fit."""
    path = data.get("_path")
    if path is None:
        if "_path" in data or not ("id.orig_h" in data or isinstance(data.get("id"), dict)):
            raise WrongShape("no _path and no connection")
        path = next((name for name, key in TELLTALES if key in data), "other")
    if not isinstance(path, str):
        raise Malformed("bad_type", "_path is no string")
    if data.get("ts") is None:
        if "ts" not in data and "id.orig_h" not in data and "_write_ts" not in data:
            raise WrongShape("no ts")
        raise Malformed("missing_time", "ts is missing or null")
    return tolerant.coerce(zeek.BY_PATH.get(path, zeek.Other), data), path
