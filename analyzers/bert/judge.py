"""Judge texts: what each is, how sure that is, and by which model. Pure but for the model and the store behind it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, get_args

import msgspec

from analyzers.bert.cache import Remembered
from analyzers.bert.canonical import SOURCES, Canonical, canonical
from analyzers.bert.encoder import READING, Encoder
from analyzers.bert.excerpt import WINDOWS, excerpt

#: The label of a text that no other label is sure enough about.
BENIGN = "benign"
#: Longest text that is judged at all, characters.
MAX_CHARACTERS = 2_097_152
#: Longest text that is a cache's key itself; of a longer one its hash is.
_SHORT = 128
_PLACE = {source: place for place, source in enumerate(SOURCES)}
_UNKNOWN = _PLACE["unknown"]

#: What said what a text is: ``raw``, the memory of texts as they came; ``canonical``, that of canonical ones;
#: ``shared``, the store that workers share; ``screen``, which cleared it; ``encoder``; ``nothing``: there was no text.
By = Literal["raw", "canonical", "shared", "screen", "encoder", "nothing", "refused"]


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What a text is. Depends on text, source and model only, never on what was judged beside it or before."""

    #: One of the model's labels, or ``benign``.
    label: str
    #: Probability of the most probable label, 0 to 1, six decimals.
    malicious: float
    #: Probability of each label, in the model's order; a text may be several things, or none.
    scores: tuple[float, ...]
    #: Version of the model.
    model: str
    #: Whether only head, tail and samples of the text were read, because it is long.
    sampled: bool = False


class Refused(msgspec.Struct, frozen=True):
    """Why a text was not judged, in one line."""

    reason: str


class Store(Protocol):
    """Where workers share verdicts. It may forget, and never raises."""

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return what is stored under each key, None where nothing is."""

    def put(self, items: Mapping[bytes, bytes]) -> None:
        """Store values."""


class TextJudge:
    """One model with its memory: most texts were seen before.

    Args:
        encoder: the model.
        size: texts that are remembered, as they came and in canonical form.
        windows: windows of a long text that are read, at most.
        store: what is asked for texts that are not remembered.
        screened: whether the model's screen, if it has one, clears texts that are plainly benign; their scores are 0.
    """

    def __init__(
        self,
        encoder: Encoder,
        size: int = 50_000,
        windows: int = WINDOWS,
        store: Store | None = None,
        screened: bool = False,
    ) -> None:
        manifest = encoder.manifest
        self.labels = manifest.labels
        self.version = manifest.version
        #: How many texts each of ``By`` answered.
        self.counts: dict[By, int] = dict.fromkeys(get_args(By), 0)
        self.encoder = encoder
        self._thresholds = manifest.thresholds
        self.windows = windows
        self._store = store
        self._screen = encoder.screen if screened else None
        # Under one name the store must hold one verdict only: what is read of a long text, and a screen, change it.
        screened_by = b"" if self._screen is None else b"s"
        self._name = b"%s.%d.%d%s" % (self.version.encode(), READING, windows, screened_by)
        self._packing = struct.Struct(f"<B{len(self.labels)}I")
        self._raw = Remembered[tuple[str, str | bytes], Verdict](size)
        self._canonical = Remembered[bytes, Verdict](size)
        self._nothing = Verdict(BENIGN, 0.0, (0.0,) * len(self.labels), self.version)

    def judge(self, texts: Sequence[tuple[str, str]]) -> list[Verdict | Refused]:
        """Return what each text is; a text is ``(text, source)``, sources are those of ``canonical.SOURCES``."""
        out: list[Verdict | Refused | None] = []
        #: Texts to look into, to where they stand.
        new: dict[tuple[str, str | bytes], list[int]] = {}
        get, hits = self._raw.get, 0
        for place, (text, source) in enumerate(texts):
            key = (source, text if len(text) <= _SHORT else _digest(text))
            found = get(key)
            if found is None:
                new.setdefault(key, []).append(place)
            else:
                hits += 1
            out.append(found)
        self.counts["raw"] += hits
        if new:
            looked = self._look([texts[places[0]] for places in new.values()])
            for (key, places), verdict in zip(new.items(), looked, strict=True):
                for place in places:
                    out[place] = verdict
                self.counts["raw"] += len(places) - 1
                if isinstance(verdict, Verdict):
                    self._raw.put(key, verdict)
        return out  # type: ignore[return-value]

    def _look(self, texts: Sequence[tuple[str, str]]) -> list[Verdict | Refused]:
        """Return what each of distinct texts is, by its canonical form."""
        out: list[Verdict | Refused | None] = [None] * len(texts)
        asked: dict[bytes, tuple[Canonical, int, bool]] = {}
        keys: list[bytes] = []
        for place, (text, source) in enumerate(texts):
            key = b""
            if len(text) > MAX_CHARACTERS:
                out[place] = Refused(f"{len(text):,} characters; the limit is {MAX_CHARACTERS:,}")
                self.counts["refused"] += 1
            else:
                read = excerpt(sound(text))
                form = canonical(read, source)
                if not form.text:
                    out[place] = self._nothing
                    self.counts["nothing"] += 1
                else:
                    number = place_of(source)
                    key = _key(form, number)
                    found = self._canonical.get(key)
                    if found is not None or key in asked:
                        self.counts["canonical"] += 1
                        out[place] = found
                    else:
                        asked[key] = (form, number, len(read) < len(text))
            keys.append(key)
        if asked:
            found_now = self._recall(asked)
            for place, key in enumerate(keys):
                if out[place] is None:
                    out[place] = found_now[key]
        return out  # type: ignore[return-value]

    def _recall(self, asked: dict[bytes, tuple[Canonical, int, bool]]) -> dict[bytes, Verdict]:
        """Return the verdicts on canonical forms by key: from the store, else from the encoder."""
        found: dict[bytes, Verdict] = {}
        if self._store is not None:
            names = {key: b"%s:%s" % (self._name, key.hex().encode()) for key in asked}
            for key, stored in zip(names, self._store.get(list(names.values())), strict=True):
                verdict = self._unpack(stored)
                if verdict is not None:
                    found[key] = verdict
            self.counts["shared"] += len(found)
        rest = {key: value for key, value in asked.items() if key not in found}
        if self._screen is not None and rest:
            forms = list(rest.values())
            cleared = self._screen.cleared([form.text for form, _, _ in forms], [source for _, source, _ in forms])
            benign = {key: self._nothing for key, clear in zip(list(rest), cleared, strict=True) if clear}
            self.counts["screen"] += len(benign)
            found.update(benign)
            rest = {key: value for key, value in rest.items() if key not in benign}
        if rest:
            fresh = dict(zip(rest, self.encode(list(rest.values())), strict=True))
            self.counts["encoder"] += len(fresh)
            found.update(fresh)
            if self._store is not None:
                self._store.put({names[key]: self._pack(verdict) for key, verdict in fresh.items()})
        for key, verdict in found.items():
            self._canonical.put(key, verdict)
        return found

    def encode(self, forms: Sequence[tuple[Canonical, int, bool]]) -> list[Verdict]:
        """Return the encoder's verdicts on (form, place of the source, whether it was cut), past every memory."""
        encoder = self.encoder
        readings = encoder.read([(form.text, source, form.features) for form, source, _ in forms], self.windows)
        logits = encoder.logits([window for reading in readings for window in reading.windows])
        found, start = [], 0
        for reading, screened, (_, _, cut) in zip(readings, encoder.screened(readings), forms, strict=True):
            end = start + len(reading.windows)
            scores = encoder.probabilities(logits[start:end], screened, reading.among)
            found.append(self.verdict(scores, sampled=cut or not reading.whole))
            start = end
        return found

    def verdict(self, scores: Sequence[float], sampled: bool = False) -> Verdict:
        """Return the verdict that probabilities of the labels come to."""
        sure = [
            (score, label)
            for score, label, threshold in zip(scores, self.labels, self._thresholds, strict=True)
            if score >= threshold
        ]
        label = max(sure, key=lambda pair: pair[0])[1] if sure else BENIGN
        return Verdict(label, max(scores), tuple(scores), self.version, sampled)

    def _pack(self, verdict: Verdict) -> bytes:
        return self._packing.pack(verdict.sampled, *(round(score * 1e6) for score in verdict.scores))

    def _unpack(self, stored: bytes | None) -> Verdict | None:
        """Return a stored verdict; None if there is none, or it cannot be one: others may write to the store too."""
        if stored is None or len(stored) != self._packing.size:
            return None
        sampled, *millionths = self._packing.unpack(stored)
        if sampled > 1 or max(millionths) > 1_000_000:
            return None
        return self.verdict([round(number / 1e6, 6) for number in millionths], sampled=bool(sampled))


def place_of(source: str) -> int:
    """Return the token type of a source."""
    return _PLACE.get(source, _UNKNOWN)


def sound(text: str) -> str:
    """Return the text without lone surrogates, which are no characters and have no UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _key(form: Canonical, source: int) -> bytes:
    # The features are part of what the encoder reads: texts of one canonical form may differ in what was undone.
    told = hashlib.blake2b(struct.pack(f"<B{len(form.features)}d", source, *form.features), digest_size=16)
    told.update(form.text.encode())
    return told.digest()
