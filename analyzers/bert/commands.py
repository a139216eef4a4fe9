"""Cut a line into its commands, so that each can be judged by itself beside the whole. Pure."""

from __future__ import annotations

import re
from typing import Final

from analyzers.bert.canonical import SOURCES

#: Characters of a text that is read as a whole only: among so few one command does not hide another.
SHORT: Final = 96
#: Characters of a command that is looked at by itself, at least and at most: a longer one fills windows over the whole.
LEAST, MOST = 4, 320
#: What ends a command. A pipe does not: what it joins means something together. Nor does ``&`` in a redirection.
_SHELL: Final = re.compile(r"\n|&&|\|\||;|(?<![<>&0-9])&(?![&>])")
_POWERSHELL: Final = re.compile(r"\n|;|&&|\|\|")
#: What a quote holds together, on one line: a script is an argument of the command that runs it.
_QUOTED: Final = re.compile(r"""(?<![\w\\])(?:'[^'\n]*+'|"(?:[^"\\\n]|\\.)*+")""")
#: By the place of the source. Of what nobody said it is, any may be a command.
_CUTS: Final = tuple({"shell": _SHELL, "unknown": _SHELL, "powershell": _POWERSHELL}.get(source) for source in SOURCES)


def commands(text: str, source: int) -> list[str]:
    """Return the commands of a text in canonical form, each once, where it has several.

    A quote may be left open by what stands around a command, so it is no shelter: what stands in it is cut too. What
    closed quotes hold together comes after these. ``source`` is a place in ``SOURCES``.

    >>> line = "cd /srv/app && git pull --rebase && make build; systemctl restart app.service || echo it did not start"
    >>> commands(line, SOURCES.index("shell"))[1:4]
    ['git pull --rebase', 'make build', 'systemctl restart app.service']
    >>> line = "systemctl status nginx.service --no-pager --full -l 9; python3 -c 'import os;os.setuid(0)' && ls /"
    >>> commands(line, SOURCES.index("shell"))[1:]
    ["python3 -c 'import os", "os.setuid(0)'", 'ls /', "python3 -c 'import os;os.setuid(0)'"]
    >>> commands("id; ls", SOURCES.index("shell"))
    []
    """
    cut = _CUTS[source]
    if cut is None or len(text) <= SHORT:
        return []
    pieces, joined = [], []
    start = begin = 0
    quotes = ((match.start(), match.end()) for match in _QUOTED.finditer(text))
    quote = next(quotes, None)
    for place, after in [*(match.span() for match in cut.finditer(text)), (len(text), len(text))]:
        pieces.append(text[start:place])
        while quote is not None and quote[1] <= place:
            quote = next(quotes, None)
        if quote is None or place < quote[0]:
            if begin < start:
                joined.append(text[begin:place])
            begin = after
        start = after
    if sum(len(some.strip()) >= LEAST for some in pieces) <= 1:
        return []
    parts = [part for some in (*pieces, *joined) if LEAST <= len(part := some.strip()) <= MOST]
    return list(dict.fromkeys(part for part in parts if part != text.strip()))
