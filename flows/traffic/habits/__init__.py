"""What hosts do all day: who, how often, in which rhythm, and the messages it leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from flows.traffic.fleet import Fleet, Host
from flows.traffic.habits import desks, linux, network, windows
from flows.traffic.message import Tape

Act = Callable[[Tape, Fleet, Host, int], None]


class Habit(msgspec.Struct, frozen=True):
    """Something that hosts of a role do again and again."""

    role: str
    #: Times an hour and host on average over a week. Bulk habits are scaled to the rate asked for, rare ones are not.
    per_hour: float
    #: Key of ``flows.traffic.clock.RHYTHMS``.
    rhythm: str
    act: Act
    rare: bool = False


HABITS: Final[tuple[Habit, ...]] = (
    Habit("workstation", 120, "office", network.browse),
    Habit("workstation", 60, "office", network.directory),
    Habit("workstation", 40, "office", desks.program),
    Habit("workstation", 30, "office", desks.file),
    Habit("workstation", 30, "server", windows.background),
    Habit("workstation", 4, "office", desks.logon, rare=True),
    Habit("workstation", 0.4, "office", desks.mistyped_password, rare=True),
    Habit("workstation", 0.7, "office", desks.administration, rare=True),
    Habit("workstation", 1.5, "steady", desks.scheduled_task, rare=True),
    Habit("workstation", 0.1, "morning", network.system_update, rare=True),
    Habit("controller", 400, "server", windows.domain_logon),
    Habit("controller", 60, "server", windows.background),
    Habit("controller", 0.5, "office", windows.stale_credentials, rare=True),
    Habit("controller", 1, "office", desks.administration, rare=True),
    Habit("files", 200, "server", windows.share_access),
    Habit("files", 60, "server", windows.background),
    Habit("files", 10, "backup", network.backup, rare=True),
    Habit("web", 900, "visitors", network.page),
    Habit("web", 30, "steady", network.from_database),
    Habit("web", 8, "steady", linux.cron, rare=True),
    Habit("web", 4, "steady", linux.stranger, rare=True),
    Habit("web", 1, "office", linux.administration, rare=True),
    Habit("web", 0.2, "morning", network.system_update, rare=True),
    Habit("web", 1, "steady", network.noise_alert, rare=True),
    Habit("database", 60, "server", linux.database_log),
    Habit("database", 8, "steady", linux.cron, rare=True),
    Habit("database", 0.5, "office", linux.administration, rare=True),
    Habit("database", 8, "backup", network.backup, rare=True),
    Habit("jump", 6, "office", linux.jump_session, rare=True),
    Habit("jump", 0.5, "office", linux.mistyped_password, rare=True),
    Habit("jump", 6, "steady", linux.stranger, rare=True),
    Habit("jump", 8, "steady", linux.cron, rare=True),
    Habit("jump", 40, "server", linux.service_log),
    Habit("application", 300, "office", linux.application),
    Habit("application", 60, "server", network.from_database),
    Habit("application", 8, "steady", linux.cron, rare=True),
)
