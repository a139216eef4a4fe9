"""A zip of rules may be hostile: nothing leaves its folder, nothing but bounded regular files is written."""

from __future__ import annotations

import stat
import threading
import zipfile
from pathlib import Path

import pytest

from analyzers.rules import archive
from analyzers.rules.rule import Unsupported

RULE = "title: {}\n"


def packed(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in files.items():
            made.writestr(name, text)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    made = tmp_path / "target"
    made.mkdir()
    return made


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


FILES: dict[str, str | bytes] = {
    "rules/windows/a.yml": RULE.format("a"),
    "rules-emerging-threats/b.yml": RULE.format("b"),
    "deprecated/c.yml": RULE.format("c"),
    "rules/readme.md": "no rule",
    "rules/.hidden.yml": "no rule",
    "tests/run.py": "no rule",
    "version.txt": "r2026",
}


def test_folders_of_rules_are_taken_and_nothing_else(tmp_path: Path, target: Path) -> None:
    made = archive.unpack(packed(tmp_path / "a.zip", FILES), target)
    assert written(target) == {"rules/windows/a.yml", "rules-emerging-threats/b.yml", "version.txt"}
    assert made.files.keys() == written(target)
    assert (made.folders, made.rules) == (("rules", "rules-emerging-threats"), 2)


def test_only_the_folders_asked_for_are_taken_also_ones_of_another_name(tmp_path: Path, target: Path) -> None:
    made = archive.unpack(packed(tmp_path / "a.zip", FILES), target, ("deprecated",))
    assert written(target) == {"deprecated/c.yml", "version.txt"} and made.folders == ("deprecated",)
    with pytest.raises(Unsupported, match="no rules in a folder nowhere; there are: rules, rules-emerging-threats"):
        archive.unpack(tmp_path / "a.zip", target, ("rules", "nowhere"))


def test_the_folder_around_an_archive_of_source_code_is_left_away(tmp_path: Path, target: Path) -> None:
    archive.unpack(packed(tmp_path / "a.zip", {f"sigma-r2026/{name}": text for name, text in FILES.items()}), target)
    assert written(target) == {"rules/windows/a.yml", "rules-emerging-threats/b.yml", "version.txt"}


@pytest.mark.parametrize(
    "name",
    ["../rules/a.yml", "rules/../../a.yml", "/rules/a.yml", "rules\\..\\..\\a.yml", "C:/rules/a.yml", "rules/a\x1b.yml",
     "rules/" + "a" * 500 + ".yml", "rules/../a/"],
)  # fmt: skip
def test_a_name_that_would_leave_the_folder_condemns_the_archive(tmp_path: Path, target: Path, name: str) -> None:
    with pytest.raises(Unsupported, match="name is not accepted"):
        archive.unpack(packed(tmp_path / "a.zip", {**FILES, name: "x"}), target)
    assert written(target) == set() and {path.name for path in tmp_path.iterdir()} == {"target", "a.zip"}


def test_a_link_condemns_the_archive(tmp_path: Path, target: Path) -> None:
    link = zipfile.ZipInfo("rules/link.yml")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr("rules/a.yml", RULE)
        made.writestr(link, "/etc/passwd")
    with pytest.raises(Unsupported, match="is a link or device"):
        archive.unpack(tmp_path / "a.zip", target)
    assert written(target) == set()


def test_a_rule_that_unpacks_to_much_is_refused_whatever_its_header_says(tmp_path: Path, target: Path) -> None:
    path = packed(tmp_path / "a.zip", {"rules/a.yml": b"#" * 50_000_000})
    assert path.stat().st_size < 100_000
    raw = bytearray(path.read_bytes())
    # The size is at offset 24 of the entry in the directory, and at 22 of the entry itself.
    directory = raw.rfind(b"PK\x01\x02")
    for at in (directory + 24, 22):
        raw[at : at + 4] = (100).to_bytes(4, "little")
    lying = tmp_path / "lying.zip"
    lying.write_bytes(raw)
    for each in (path, lying):
        with pytest.raises(Unsupported):
            archive.unpack(each, target)
    assert written(target) == set()


def test_many_entries_and_a_large_sum_are_refused(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "a.zip", {f"rules/{i}.yml": "#" * 1_000 for i in range(20)})
    monkeypatch.setattr(archive, "MAX_TOTAL", 10_000)
    with pytest.raises(Unsupported, match="more than 10,000 bytes"):
        archive.unpack(path, target)
    monkeypatch.setattr(archive, "MAX_ENTRIES", 19)
    with pytest.raises(Unsupported, match="more than 19 entries"):
        archive.unpack(path, target)


@pytest.mark.parametrize("raw", [b"", b"no zip", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_zip_is_said(tmp_path: Path, target: Path, raw: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(Unsupported, match="not a sound zip archive"):
        archive.unpack(tmp_path / "a.zip", target)


def test_a_damaged_entry_and_an_archive_without_rules_are_said(tmp_path: Path, target: Path) -> None:
    path = packed(tmp_path / "a.zip", {"rules/a.yml": "title: a rule of some length " * 50})
    raw = bytearray(path.read_bytes())
    raw[50] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(raw)
    with pytest.raises(Unsupported, match="not a sound zip archive"):
        archive.unpack(tmp_path / "b.zip", target)
    with pytest.raises(Unsupported, match="no rule in it"):
        archive.unpack(packed(tmp_path / "c.zip", {"docs/a.md": "x"}), target)


def made(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True)
    (folder / f"{name}.yml").write_text(name)
    return folder


class TestPut:
    def test_the_first_time_and_the_second(self, tmp_path: Path) -> None:
        out = tmp_path / "deep" / "rules"
        for name in ("one", "two"):
            staged = archive.staging(out)
            (staged / f"{name}.yml").write_text(name)
            archive.put(staged, out)
            assert written(out) == {f"{name}.yml"}
        assert [path.name for path in out.parent.iterdir()] == ["rules"]

    def test_a_reader_never_finds_the_folder_missing(self, tmp_path: Path) -> None:
        """A reload that reads while rules are replaced must not see an empty set."""
        out = made(tmp_path / "rules", "0")
        missing: list[int] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                if not out.exists():
                    missing.append(1)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for i in range(200):
                archive.put(made(tmp_path / f"new{i}", str(i)), out)
        finally:
            done.set()
            reader.join()
        assert not missing and written(out) == {"199.yml"}

    def test_where_names_cannot_be_exchanged_the_folder_is_replaced_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(archive, "_exchange", lambda first, second: False)
        out = made(tmp_path / "rules", "old")
        archive.put(made(tmp_path / "new", "new"), out)
        assert written(out) == {"new.yml"} and [path.name for path in tmp_path.iterdir()] == ["rules"]


def test_what_people_changed_since_is_seen(tmp_path: Path, target: Path) -> None:
    unpacked = archive.unpack(packed(tmp_path / "a.zip", FILES), target)
    manifest = archive.Manifest(1, "a.zip", "0" * 64, "2026-01-01T00:00:00Z", ("rules",), 2, unpacked.files)
    archive.write_manifest(target, manifest)
    assert archive.manifest(target) == manifest
    assert archive.touched(target, manifest) == []
    (target / "rules/windows/a.yml").write_text("mine")
    (target / "rules/own.test.yaml").write_text("mine")
    (target / "version.txt").unlink()
    assert archive.touched(target, manifest) == ["rules/own.test.yaml", "rules/windows/a.yml", "version.txt"]
    (target / archive.MANIFEST).write_text("{")
    with pytest.raises(Unsupported, match="is damaged"):
        archive.manifest(target)
