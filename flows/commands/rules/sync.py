"""``winnow rules sync``: take a release of rules from a zip, by file or address, and say what it changes."""

from __future__ import annotations

import argparse
import hashlib
import http.client
import re
import shutil
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

import orjson

from analyzers.rules import archive
from analyzers.rules.documents import Changes, Document, Documents, differences, read
from analyzers.rules.explanation import shown
from analyzers.rules.rule import Unsupported
from flows.usage import UsageError

#: Seconds without a byte after which a download is given up, and seconds that it may take in all.
SILENCE = 30
LONGEST = 900
#: Seconds between two lines of progress on stderr.
PROGRESS_SECONDS = 5.0
#: Rules of each sort, and files changed by hand, that are listed.
MAX_LISTED = 40
_BLOCK = 1 << 20


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the action."""
    parser = actions.add_parser(
        "sync",
        help="take a release of SigmaHQ rules from a zip",
        description="Put the rules of a zip (a SigmaHQ release, or its source code) in the place of DIR, and say what "
        "changed. DIR must be new, empty, or made by this command.",
    )
    parser.add_argument("source", metavar="SOURCE", help="zip file, or its http(s) address")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make or replace")
    parser.add_argument("--sha256", metavar="HEX", help="checksum of the zip; required for an address")
    parser.add_argument(
        "--insecure-no-checksum", action="store_true", help="take whatever the address serves, unchecked"
    )
    parser.add_argument(
        "--only", metavar="LIST", help="folders of the zip, with commas (default: rules and every rules-*)"
    )
    parser.add_argument(
        "--discard-changes", action="store_true", help="replace DIR although files in it were changed by hand"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sync; return the exit status."""
    only = tuple(dict.fromkeys(part.strip() for part in (args.only or "").split(",") if part.strip()))
    if args.only is not None and not only:
        raise UsageError("--only names no folder")
    if args.sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", args.sha256):
        raise UsageError("--sha256 must be 64 hexadecimal digits")
    remote = urlsplit(args.source).scheme.lower() in ("http", "https")
    if remote and args.sha256 is None and not args.insecure_no_checksum:
        raise UsageError("an address needs --sha256 (or --insecure-no-checksum)")
    out = args.out.absolute()
    _replaceable(out, args.discard_changes)
    try:
        made = archive.staging(out)
    except OSError as error:
        raise UsageError(f"{args.out}: {error}") from error
    packed = made.with_name(made.name + ".zip")
    try:
        if remote:
            _download(args.source, packed)
        path = packed if remote else Path(args.source)
        digest = _checksum(path, args.sha256)
        target = made
        unpacked = archive.unpack(path, target, only)
        old = read([out]) if out.exists() else Documents({}, "", (), (), ())
        new = read([made])
        changes = differences(_inside(old, out), _inside(new, made))
        source = _public(args.source) if remote else Path(args.source).name
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        archive.write_manifest(
            made, archive.Manifest(1, source, digest, now, unpacked.folders, unpacked.rules, unpacked.files)
        )
        archive.put(made, out)
    except (Unsupported, OSError) as error:
        raise UsageError(f"{_public(args.source)}: {error}") from error
    finally:
        packed.unlink(missing_ok=True)
        shutil.rmtree(made, ignore_errors=True)
    report = {
        "source": source,
        "sha256": digest,
        "out": str(args.out),
        "folders": unpacked.folders,
        "files": unpacked.rules,
        "rules": len(new.rules),
        "unreadable": [str(Path(name).relative_to(made)) for name in new.unreadable],
        **{name: [_document(each) for each in getattr(changes, name)] for name in _FATES},
        "unchanged": changes.unchanged,
        "filters_changed": old.filters != new.filters,
    }
    if args.json:
        sys.stdout.write(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _print(report, changes)
    return 0


_FATES = ("new", "changed", "reworded", "removed")


def _replaceable(out: Path, discard: bool) -> None:
    """Raise UsageError if the folder is not ours to replace, or holds people's own work."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"--out {out}: not a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    try:
        made = archive.manifest(out)
        if made is None:
            raise UsageError(f"--out {out}: holds files that winnow rules sync did not put there")
        touched = [] if discard else archive.touched(out, made)
    except (Unsupported, OSError) as error:
        raise UsageError(str(error)) from error
    if touched:
        names = ", ".join(shown(name) for name in touched[:5])
        more = f" and {len(touched) - 5:,} more" if len(touched) > 5 else ""
        raise UsageError(f"--out {out}: changed by hand since: {names}{more} (--discard-changes to replace them)")


def _checksum(path: Path, wanted: str | None) -> str:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if path.stat().st_size > archive.MAX_ARCHIVE:
        raise Unsupported(f"larger than {archive.MAX_ARCHIVE:,} bytes")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if wanted is not None and digest != wanted.lower():
        raise Unsupported(f"sha256 is {digest}, not {wanted.lower()}")
    return digest


# ----------------------------------------------------------------------------------------------------------- Download


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but not from https to http, and to nothing else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after != "https" and (after != "http" or before == "https"):
            raise Unsupported(f"redirected from {before} to {after or 'nowhere'}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(address: str, target: Path) -> None:
    """Write what an address serves to a file. Raises UsageError, Unsupported or OSError."""
    parts = urlsplit(address)
    if not parts.hostname:
        raise UsageError("SOURCE names no host")
    if parts.username is not None or parts.password is not None:
        raise UsageError("SOURCE must hold no user or password")
    opener = urllib.request.build_opener(_Redirects)
    started = said = time.monotonic()
    size = 0
    try:
        request = urllib.request.Request(address, headers={"User-Agent": "winnow"})  # noqa: S310 - http(s) only
        with opener.open(request, timeout=SILENCE) as answer, target.open("xb") as file:
            expected = answer.headers.get("Content-Length")
            if expected and expected.isdecimal() and int(expected[:15]) > archive.MAX_ARCHIVE:
                raise Unsupported(f"larger than {archive.MAX_ARCHIVE:,} bytes")
            while block := answer.read1(_BLOCK):
                size += len(block)
                if size > archive.MAX_ARCHIVE:
                    raise Unsupported(f"larger than {archive.MAX_ARCHIVE:,} bytes")
                file.write(block)
                now = time.monotonic()
                if now - started > LONGEST:
                    raise Unsupported(f"not done after {LONGEST} s")
                if now - said >= PROGRESS_SECONDS:
                    said = now
                    print(f"{_public(address)}: {size / 1e6:,.1f} MB", file=sys.stderr)
            if expected and expected.isdecimal() and size != int(expected[:15]):
                raise Unsupported(f"broke off after {size:,} of {expected[:15]} bytes")
    except urllib.error.HTTPError as error:
        raise Unsupported(f"HTTP status {error.code}") from error
    except urllib.error.URLError as error:
        raise Unsupported(f"cannot be reached: {error.reason}") from error
    except (http.client.HTTPException, ValueError, TimeoutError) as error:
        raise Unsupported(f"{type(error).__name__}: {str(error)[:200]}") from error


def _public(source: str) -> str:
    """Return an address without what may be secret in it: user, password, query."""
    parts = urlsplit(source)
    if parts.scheme.lower() not in ("http", "https"):
        return source
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


# -------------------------------------------------------------------------------------------------------------- Report


def _inside(documents: Documents, folder: Path) -> Documents:
    """Return the rules with their paths as seen from their folder."""
    return Documents(
        {
            key: Document(each.key, each.title, str(Path(each.path).relative_to(folder)), each.content, each.detection)
            for key, each in documents.rules.items()
        },
        documents.filters,
        documents.filter_paths,
        documents.repeated,
        documents.unreadable,
    )


def _document(each: Document) -> dict[str, str]:
    return {"id": each.key, "title": each.title, "path": each.path}


def _print(report: dict[str, Any], changes: Changes) -> None:
    print(f"source      {shown(report['source'], 400)}")
    print(f"sha256      {report['sha256']}")
    print(f"out         {report['out']}: {report['rules']:,} rules in {report['files']:,} files")
    print(f"folders     {', '.join(report['folders'])}")
    print(
        f"changes     {len(changes.new):,} new, {len(changes.changed):,} changed, {len(changes.reworded):,} reworded, "
        f"{len(changes.removed):,} removed, {changes.unchanged:,} unchanged"
        f"{'; filters changed' if report['filters_changed'] else ''}"
    )
    if report["unreadable"]:
        print(f"unreadable  {', '.join(shown(name) for name in report['unreadable'][:MAX_LISTED])}")
    if not changes.unchanged and not changes.changed and not changes.reworded and not changes.removed:
        return  # the first time: everything is new
    for name in _FATES:
        listed = getattr(changes, name)
        if listed:
            print(f"\nRules {name}:")
        for each in listed[:MAX_LISTED]:
            print(f"  {shown(each.title or each.key)} ({shown(each.key)}): {shown(each.path, 400)}")
        if len(listed) > MAX_LISTED:
            print(f"  … {len(listed) - MAX_LISTED:,} more (--json has all)")
