"""Typed JSON decoding that a wrong type in a field nobody decides by cannot defeat.

The hot path decodes straight into a Struct that names only the needed fields. Where that fails, the message is decoded
again into plain values and each field is coerced on its own: a number becomes text, text of digits a number, anything
else the field's default, except in the struct's ``essential`` fields, where it is ``bad_type``.
"""

from __future__ import annotations

import json
import re
import types
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from state.events import Fields

from .base import Malformed, WrongShape

S = TypeVar("S", bound=msgspec.Struct)

_PARTS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[{\]}]', re.DOTALL)


def parse(raw: bytes) -> dict[str, Any]:
    """Return the JSON object that the message is. Raises Malformed."""
    try:
        value = _value(raw, "strict")
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise malformed(error) from error
    if not isinstance(value, dict):
        raise Malformed("bad_type", f"JSON {type(value).__name__} where an object was expected")
    return value


def whole(raw: bytes) -> Any:
    """Return a message's JSON value, also where a part that typed decoding skips is beyond msgspec (``1e999``)."""
    return _value(raw, "replace")


def _value(raw: bytes, errors: str) -> Any:
    try:
        return _ANY.decode(raw)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return json.loads(raw.decode("utf-8", errors), strict=False)


def decode(decoder: msgspec.json.Decoder[S], cls: type[S], raw: bytes) -> S:
    """Return the message as ``cls``, coerced where its types are not quite right. Raises Malformed."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError:
        return coerce(cls, parse(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from error


def malformed(error: Exception) -> Malformed:
    """Return what is wrong with a message that a JSON parser refused with ``error``."""
    if isinstance(error, RecursionError):
        return Malformed("too_deep", "nested deeper than the parser goes")
    return Malformed("not_utf8" if isinstance(error, UnicodeDecodeError) else "malformed_json", str(error))


def coerce(cls: type[S], data: dict[str, Any]) -> S:
    """Return ``data`` as ``cls``, each field coerced or left at its default.

    Raises WrongShape if a required field is missing, Malformed ``bad_type`` if an essential one has the wrong type.
    """
    values: dict[str, Any] = {}
    for name, key, required, essential, hints in _plan(cls):
        if key not in data:
            if required:
                raise WrongShape(f"no {key}")
            continue
        value = data[key]
        fit = _fit(value, hints, essential)
        if fit is not _UNFIT:
            values[name] = fit
        elif essential or required:
            raise Malformed("bad_type", f"{key} is of type {_type_name(value)}")
    return cls(**values)


def too_deep(raw: bytes, limit: int) -> bool:
    """Return whether the message is a JSON object whose brackets, outside strings, nest deeper than ``limit``.

    Cheap where there are at most ``limit`` brackets at all, that is for nearly every message.
    """
    if raw.count(b"{") + raw.count(b"[") <= limit or raw.lstrip()[:1] not in (b"{", b""):
        return False
    depth = 0
    for match in _PARTS.finditer(raw):
        part = match.group()
        if part in (b"{", b"["):
            depth += 1
            if depth > limit:
                return True
        elif part in (b"}", b"]"):
            depth -= 1
    return False


def flatten(data: dict[str, Any], prefix: str = "", into: Fields | None = None) -> Fields:
    """Return nested objects as dotted keys; lists stay lists.

    >>> flatten({"a": {"b": 1, "c": [2]}})
    {'a.b': 1, 'a.c': [2]}
    """
    out: Fields = {} if into is None else into
    for key, value in data.items():
        if isinstance(value, dict) and value:
            flatten(value, f"{prefix}{key}.", out)
        else:
            out[prefix + key] = value
    return out


_UNFIT: Any = object()
#: Made once: ``msgspec.json.decode`` makes one a message, which costs a third of decoding.
_ANY = msgspec.json.Decoder()


@lru_cache(maxsize=256)
def _plan(cls: type[msgspec.Struct]) -> tuple[tuple[str, str, bool, bool, tuple[Any, ...]], ...]:
    essential: frozenset[str] = getattr(cls, "essential", frozenset())
    hints = get_type_hints(cls)
    return tuple(
        (f.name, f.encode_name, f.required, f.encode_name in essential, _alternatives(hints[f.name]))
        for f in msgspec.structs.fields(cls)
    )


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return get_args(hint)
    return (hint,)


def _fit(value: Any, hints: tuple[Any, ...], strict: bool = False) -> Any:
    """Return the value as one of the types, coerced if need be; _UNFIT if it cannot be. Strict: no number as text."""
    kind = type(value)
    for hint in hints:
        if hint is Any or kind is hint or (hint is type(None) and value is None):
            return value
        if get_origin(hint) is Literal and value in get_args(hint):
            return value
        if get_origin(hint) is list and kind is list:
            inner = _alternatives(get_args(hint)[0])
            fits = [_fit(v, inner) for v in value]
            return [v for v in fits if v is not _UNFIT]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct) and kind is dict:
            return coerce(hint, value)
    if float in hints and kind is int:
        return float(value)
    if str in hints and kind in (int, float) and not strict:
        return str(value)
    if int in hints and kind is float and value.is_integer():
        return int(value)
    if int in hints and kind is str and value.lstrip("-").isdecimal() and len(value) < 20:
        return int(value)
    return _UNFIT


def _type_name(value: Any) -> str:
    return {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}.get(
        type(value), "number"
    )
