"""Read HttpParamsDataset (Morzeux, MIT): payloads of HTTP parameters with their kind, as CSV or CSV in zstandard."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Final

import msgspec
import zstandard

#: Kind in the file to label here.
KINDS: Final = {
    "norm": (),
    "sqli": ("sqli",),
    "xss": ("xss",),
    "path-traversal": ("path-traversal",),
    "cmdi": ("cmdi",),
}
#: A larger file is no set of parameters, bytes unpacked.
LARGEST: Final = 256 << 20
#: A payload that ends in a quotation mark was written without doubling it, so that CSV takes the rest of its row and
#: the next payload as one. The marks stay in the payload: they belong to it.
_MERGED: Final = re.compile(r'(?<="),[0-9]+,(norm|sqli|xss|path-traversal|cmdi),(?:norm|anom)\s')


class Payload(msgspec.Struct, frozen=True):
    """A value of an HTTP parameter and what it is."""

    text: str
    labels: tuple[str, ...]


class DatasetError(ValueError):
    """A data set that cannot be read; says which and why."""


def read(path: Path) -> list[Payload]:
    """Return the payloads in the file's order, each once, merged rows apart. DatasetError if it is not such a file."""
    try:
        raw = path.read_bytes()
        if path.suffix == ".zst":
            raw = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read(LARGEST + 1)
        text = raw.decode()
    except (OSError, zstandard.ZstdError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: {error}") from None
    if len(raw) > LARGEST:
        raise DatasetError(f"{path}: more than {LARGEST} bytes")
    rows = csv.reader(io.StringIO(text, newline=""))
    if next(rows, None) != ["payload", "length", "attack_type", "label"]:
        raise DatasetError(f"{path}: its header is not payload,length,attack_type,label")
    found: dict[str, Payload] = {}
    for row in rows:
        if len(row) != 4 or row[2] not in KINDS:
            raise DatasetError(f"{path}:{rows.line_num}: not a payload, its length, its kind and norm or anom")
        *merged, last = _MERGED.split(row[0])
        for payload, kind in (*zip(merged[::2], merged[1::2], strict=True), (last, row[2])):
            found.setdefault(payload, Payload(payload, KINDS[kind]))
    return list(found.values())
