"""Cut a line into its commands, so that each can be judged by itself beside the whole. Pure."""

from __future__ import annotations

import re
from typing import Final

from analyzers.bert.canonical import SOURCES

#: Characters of a text that is read as a whole only: among so few one command does not hide another.
SHORT: Final = 96
#: Characters of a command that is looked at by itself, at least.
LEAST: Final = 4
#: What ends a command. A pipe does not: what it joins means something together. Nor does ``&`` in a redirection.
_SHELL: Final = re.compile(r"\n|&&|\|\||;|(?<![<>&0-9])&(?![&>])")
_POWERSHELL: Final = re.compile(r"\n|;|&&|\|\|")
#: By the place of the source. Of what nobody said it is, any may be a command.
_CUTS: Final = tuple({"shell": _SHELL, "unknown": _SHELL, "powershell": _POWERSHELL}.get(source) for source in SOURCES)


def commands(text: str, source: int) -> list[str]:
    """Return the commands of a text in canonical form, each once, where it has several; quotes are not looked at.

    A quote may be left open by what stands around a command, so it is no shelter. ``source`` is a place in ``SOURCES``.

    >>> line = "cd /srv/app && git pull --rebase && make build; systemctl restart app.service || echo it did not start"
    >>> commands(line, SOURCES.index("shell"))[1:4]
    ['git pull --rebase', 'make build', 'systemctl restart app.service']
    >>> commands("id; ls", SOURCES.index("shell"))
    []
    """
    cut = _CUTS[source]
    if cut is None or len(text) <= SHORT:
        return []
    found = list(dict.fromkeys(part for some in cut.split(text) if len(part := some.strip()) >= LEAST))
    return found if len(found) > 1 else []
