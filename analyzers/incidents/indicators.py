"""What an event links by beside its user and addresses: the hash of a file, and the processes it is of. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Algorithms with the length of their digests, the one to prefer first. An import hash is of many files.
DIGESTS = (("sha256", 64), ("sha1", 40), ("md5", 32))
#: Where ECS names a file's hashes, and what else says whose file it is.
OWNERS = ("file", "process", "dll")
_ECS = tuple((owner, tuple(f"{owner}.hash.{name}" for name, _ in DIGESTS)) for owner in OWNERS)
#: Where others name them: Suricata's fileinfo, Wazuh's syscheck, Zeek's files, plain JSON.
_OTHERS = tuple(
    tuple(prefix + name + suffix for name, _ in DIGESTS)
    for prefix, suffix in (("fileinfo.", ""), ("syscheck.", "_after"), ("hash.", ""), ("", ""))
)
#: Processes by unique id, and where their executable stands: Sysmon's, then ECS. Process numbers are used again.
PROCESSES = (
    ("ProcessGuid", "Image"),
    ("ParentProcessGuid", "ParentImage"),
    ("SourceProcessGuid", "SourceImage"),
    ("SourceProcessGUID", "SourceImage"),
    # Of a remote thread. Event 10, access, spells its target otherwise: whom an attack looks into is not of it.
    ("TargetProcessGuid", "TargetImage"),
    ("process.entity_id", "process.executable"),
    ("process.parent.entity_id", "process.parent.executable"),
)
#: Processes that begin, or do, what has nothing to do with each other: sessions, services, remote logons.
ROOTS = frozenset(
    (
        *("system", "registry", "smss.exe", "csrss.exe", "wininit.exe", "winlogon.exe", "services.exe", "lsass.exe"),
        *("svchost.exe", "explorer.exe", "userinit.exe", "taskhostw.exe", "taskeng.exe", "dllhost.exe"),
        *("runtimebroker.exe", "spoolsv.exe", "wmiprvse.exe", "systemd", "init", "launchd", "sshd", "cron", "crond"),
        *("dockerd", "containerd", "containerd-shim", "containerd-shim-runc-v2", "runc"),
    )
)
#: Folders of what came with the system.
SYSTEM = ("/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/", "/usr/lib/", "/lib/", "/usr/libexec/")
#: Digests of the empty file.
EMPTY = frozenset(
    (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "d41d8cd98f00b204e9800998ecf8427e",
    )
)
MAX_ID = 80
_HEX = re.compile(r"[0-9a-f]+")


def indicators_of(read: Mapping[str, Any]) -> list[str]:
    """Return the ``hash:…`` of files and the ``process:…`` ids of an event, by its fields.

    Files that came with the system are not named, as far as their signature, version resource or folder says so: what
    hosts have in common by being hosts is no indicator. Processes that begin everything on a host are not either.

    >>> indicators_of({"Hashes": "MD5=C78D58386504CAF3437EED37FBFF77B5,IMPHASH=0", "ProcessGuid": "{39E4-01}"})
    ['hash:c78d58386504caf3437eed37fbff77b5', 'process:39e4-01']
    >>> indicators_of({"ParentProcessGuid": "{39E4-02}", "ParentImage": "C:\\\\Windows\\\\explorer.exe"})
    []
    """
    found: dict[str, None] = {}
    hashes = read.get("Hashes")
    if isinstance(hashes, str) and not _of_windows(read):
        said = dict(part.strip().lower().partition("=")[::2] for part in hashes[:1_000].split(","))
        found.update(_best(said.get(name) for name, _ in DIGESTS))
    for owner, names in _ECS:
        best = _best(map(read.get, names))
        if best and not _of_system(read, owner):
            found.update(best)
    for names in _OTHERS:
        found.update(_best(map(read.get, names)))
    for name, image in PROCESSES:
        process = read.get(name)
        if isinstance(process, str) and _base(read.get(image)) not in ROOTS:
            process = process.strip("{} ").lower()
            if process.strip("0-") and len(process) <= MAX_ID and process.isprintable():
                found[f"process:{process}"] = None
    return list(found)


def _best(digests: Iterable[Any]) -> dict[str, None]:
    """Return the first that is a digest of its algorithm, as a link."""
    for digest, (_, length) in zip(digests, DIGESTS, strict=True):
        if isinstance(digest, str) and len(digest) == length:
            digest = digest.lower()
            if _HEX.fullmatch(digest) and digest.strip("0") and digest not in EMPTY:
                return {f"hash:{digest}": None}
    return {}


def _of_windows(read: Mapping[str, Any]) -> bool:
    """Say whether the file of a Sysmon event came with Windows, by its signature or its version resource.

    Who forges the latter is spared this one link.
    """
    if read.get("SignatureStatus") == "Valid" and _starts(read.get("Signature"), "Microsoft Windows"):
        return True
    if _starts(read.get("Company"), "Microsoft") and "Operating System" in str(read.get("Product"))[:200]:
        return True
    return "ImageLoaded" not in read and _starts(read.get("Image"), *SYSTEM)


def _of_system(read: Mapping[str, Any], owner: str) -> bool:
    signed = read.get(f"{owner}.code_signature.trusted") in (True, "true")
    if signed and _starts(read.get(f"{owner}.code_signature.subject_name"), "Microsoft Windows"):
        return True
    company, product = read.get(f"{owner}.pe.company"), read.get(f"{owner}.pe.product")
    if _starts(company, "Microsoft") and "Operating System" in str(product)[:200]:
        return True
    # Winlogbeat's module moves the hashes of a Sysmon event, and leaves the rest.
    return _of_windows(read) or _starts(read.get(f"{owner}.executable", read.get(f"{owner}.path")), *SYSTEM)


def _starts(value: Any, *beginnings: str) -> bool:
    return isinstance(value, str) and value.startswith(beginnings)


def _base(path: Any) -> str:
    return path.replace("\\", "/").rpartition("/")[2].lower() if isinstance(path, str) else ""
