"""Modifiers that pySigma lacks, or that it means for query languages and not for matching.

They take the place of pySigma's own of the same name, in its table of modifiers, when this module is imported:

- ``utf16le``, which the specification names and pySigma does not; UTF-16 of any text, not of ASCII alone, where Base64
  follows; placeholders are filled before a text is encoded or taken for a field's name.
- ``windash`` also takes the dashes – — ― in a rule for what they stand for.
- ``cased`` holds wherever it stands among the modifiers.
- ``startswith`` and ``endswith`` of a regular expression anchor it; pySigma appends ``.*`` instead, which says nothing
  where an expression is searched.
- A rule's values may not multiply without end: every modifier draws on the rule's ``Budget``.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import ClassVar

from sigma.exceptions import SigmaValueError
from sigma.modifiers import (
    SigmaContainsModifier,
    SigmaEndswithModifier,
    SigmaModifier,
    SigmaStartswithModifier,
    SigmaValueModifier,
    modifier_mapping,
    reverse_modifier_mapping,
)
from sigma.types import (
    Placeholder,
    SigmaCasedString,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaRegularExpression,
    SigmaString,
    SigmaStringPartType,
    SigmaType,
)

from analyzers.rules.policy import Budget, Policy
from analyzers.rules.rule import Placeholders, Unsupported

#: The dashes that Windows programs take for one another.
DASHES = "-/–—―"
#: A dash that begins a parameter: before a word and not inside one.
_DASH = re.compile(rf"\B[{DASHES}]\b")
#: Dashes of one value that are written in all ways.
MAX_DASHES = 3


class _Encoded(SigmaString):
    """A text as the bytes that Base64 is to encode."""

    data: bytes
    cased: bool


def filled(value: SigmaString, placeholders: Placeholders, budget: Budget | None = None) -> list[SigmaString]:
    """Replace a text's placeholders by their values, which may hold wildcards. Raises Unsupported for one without."""
    if not value.contains_placeholder():
        return [value]

    def values(placeholder: Placeholder) -> Iterator[SigmaString]:
        found = placeholders.get(placeholder.name)
        if not found:
            raise Unsupported(f"placeholder %{placeholder.name}% has no value in the settings")
        for text in found:
            yield SigmaString(text)

    found = value.replace_placeholders(values)
    if budget is not None:
        budget.spend(len(found), sum(len(each) for each in found))
    return [_of_parts(each.s, cased=isinstance(value, SigmaCasedString)) for each in found]


def _of_parts(parts: Sequence[SigmaStringPartType], *, cased: bool) -> SigmaString:
    made = SigmaCasedString() if cased else SigmaString()
    made.s = list(parts)
    return made._merge_strs()


class _Ours(SigmaValueModifier[SigmaString, SigmaType]):
    """A modifier that knows the policy."""

    def _policy(self) -> Policy:
        policy = self.detection_item.policy
        return policy if isinstance(policy, Policy) else Policy()

    def _filled(self, value: SigmaString) -> list[SigmaString]:
        policy = self._policy()
        return filled(value, policy.placeholders, policy.budget)


class Utf16(_Ours):
    """Encode a text as UTF-16; alone, an ASCII text becomes one with a NUL beside each letter."""

    codec: ClassVar[str] = "utf-16-le"
    mark: ClassVar[str] = ""

    def modify(self, val: SigmaString) -> SigmaExpansion:
        """Return the encoded text for every value of its placeholders."""
        following = self.detection_item.modifiers[len(self.applied_modifiers) + 1 :][:1]
        encode = self._bytes if following and issubclass(following[0], Base64) else self._text
        return SigmaExpansion([encode(each) for each in self._filled(val)])

    def _bytes(self, value: SigmaString) -> SigmaString:
        made = _Encoded()
        made.data = (self.mark + _literal(value)).encode(self.codec)
        made.cased = isinstance(value, SigmaCasedString)
        self._policy().budget.spend(1, len(made.data))
        return made

    def _text(self, value: SigmaString) -> SigmaString:
        parts: list[SigmaStringPartType] = [self.mark] if self.mark else []
        for part in value.s:
            if isinstance(part, str) and not part.isascii():
                raise SigmaValueError("UTF-16 of a text that is not ASCII needs base64 or base64offset after it")
            parts.append(part.encode(self.codec).decode("ascii") if isinstance(part, str) else part)
        self._policy().budget.spend(1, 2 * len(value))
        return _of_parts(parts, cased=isinstance(value, SigmaCasedString))


class Utf16BigEndian(Utf16):
    """Encode a text as UTF-16BE."""

    codec: ClassVar[str] = "utf-16-be"


class Utf16Marked(Utf16):
    """Encode a text as UTF-16LE behind a byte order mark."""

    mark: ClassVar[str] = "\ufeff"


def _literal(value: SigmaString) -> str:
    if value.contains_special():
        raise SigmaValueError("Base64 encoding of strings with wildcards is not allowed")
    return "".join(str(part) for part in value.s)


class Base64(_Ours):
    """Encode a text as Base64."""

    def modify(self, val: SigmaString) -> SigmaExpansion:
        """Return the encoded forms for every value of the text's placeholders."""
        made: list[SigmaType] = []
        for each in self._filled(val):
            if isinstance(each, _Encoded):
                data, cased = each.data, each.cased
            else:
                data, cased = _literal(each).encode("utf-8", "surrogatepass"), isinstance(each, SigmaCasedString)
            for text in self._forms(data):
                self._policy().budget.spend(1, len(text))
                made.append(_of_parts([text] if text else [], cased=cased))
        return SigmaExpansion(made)

    def _forms(self, data: bytes) -> list[str]:
        return [b64encode(data).decode()]


class Base64Offset(Base64):
    """Encode a text as the parts of Base64 that do not depend on the bytes around it, for each of three offsets."""

    def _forms(self, data: bytes) -> list[str]:
        # A letter is six bits; kept are those without a bit of the bytes before and after.
        return [
            b64encode(bytes(offset) + data + bytes(2)).decode()[-(-8 * offset // 6) : 8 * (offset + len(data)) // 6]
            for offset in range(3)
        ]


class WindowsDash(_Ours):
    """Write each dash that begins a parameter in every way in which Windows programs take it."""

    def modify(self, val: SigmaString) -> SigmaExpansion:
        """Return all the ways."""
        marked = val.replace_with_placeholder(_DASH, "_windash")
        dashes = sum(isinstance(part, Placeholder) and part.name == "_windash" for part in marked.s)
        if dashes > MAX_DASHES:
            raise SigmaValueError(f"windash takes at most {MAX_DASHES} dashes in one value; split it into several")
        self._policy().budget.spend(len(DASHES) ** dashes, len(DASHES) ** dashes * len(val))

        def ways(placeholder: Placeholder) -> Iterator[str | Placeholder]:
            if placeholder.name == "_windash":
                yield from DASHES
            else:
                yield placeholder

        cased = isinstance(val, SigmaCasedString)
        return SigmaExpansion([_of_parts(each.s, cased=cased) for each in marked.replace_placeholders(ways)])


class FieldReference(_Ours):
    """Take a text for the name of a field to compare with."""

    def modify(self, val: SigmaString) -> SigmaExpansion | SigmaFieldReference:
        """Return the reference, or one for each value of the text's placeholders."""
        if isinstance(val, SigmaCasedString):
            raise SigmaValueError("cased does not go together with fieldref")
        if val.contains_special():
            raise SigmaValueError("Field references must not contain wildcards")
        made = [SigmaFieldReference("".join(str(part) for part in each.s)) for each in self._filled(val)]
        return made[0] if len(made) == 1 else SigmaExpansion(list(made))


class Contains(SigmaContainsModifier):
    """Put wildcards around a text; a regular expression is searched anyway."""

    def modify(
        self, val: SigmaString | SigmaRegularExpression | SigmaFieldReference
    ) -> SigmaString | SigmaRegularExpression | SigmaFieldReference:
        """Return the value that is met anywhere."""
        return val if isinstance(val, SigmaRegularExpression) else super().modify(val)


class StartsWith(SigmaStartswithModifier):
    """Put a wildcard behind a text; anchor a regular expression at the beginning."""

    def modify(
        self, val: SigmaString | SigmaRegularExpression | SigmaFieldReference
    ) -> SigmaString | SigmaRegularExpression | SigmaFieldReference:
        """Return the value that is met at the beginning."""
        return _anchored(val, "(?-m:^)", "") if isinstance(val, SigmaRegularExpression) else super().modify(val)


class EndsWith(SigmaEndswithModifier):
    """Put a wildcard before a text; anchor a regular expression at the end."""

    def modify(
        self, val: SigmaString | SigmaRegularExpression | SigmaFieldReference
    ) -> SigmaString | SigmaRegularExpression | SigmaFieldReference:
        """Return the value that is met at the end."""
        return _anchored(val, "", "(?-m:$)") if isinstance(val, SigmaRegularExpression) else super().modify(val)


def _anchored(value: SigmaRegularExpression, before: str, after: str) -> SigmaRegularExpression:
    value.regexp = SigmaString(f"{before}(?:", escape=False) + value.regexp + SigmaString(f"){after}", escape=False)
    value.compile()
    return value


OURS: dict[str, type[SigmaModifier]] = {  # type: ignore[type-arg]
    "base64": Base64,
    "base64offset": Base64Offset,
    "contains": Contains,
    "endswith": EndsWith,
    "fieldref": FieldReference,
    "startswith": StartsWith,
    "utf16": Utf16Marked,
    "utf16be": Utf16BigEndian,
    "utf16le": Utf16,
    "wide": Utf16,
    "windash": WindowsDash,
}
modifier_mapping.update(OURS)
reverse_modifier_mapping.update({modifier.__name__: name for name, modifier in OURS.items()})
