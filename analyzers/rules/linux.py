"""Linux log sources: services are programs that write to syslog, categories are events of Sysmon for Linux."""

from __future__ import annotations

#: Programs whose syslog lines a service means, where it is not the program's own name.
PROGRAMS: dict[str, tuple[str, ...]] = {
    "clamav": ("clamav", "clamd", "freshclam", "clamscan"),
    "cron": ("cron", "crond", "crontab", "anacron"),
    "guacamole": ("guacamole", "guacd"),
    "sshd": ("sshd", "sshd-session"),
}
#: Sources of what is written when users come in or accounts change, which service ``auth`` means.
AUTH_PROGRAMS = frozenset(
    f"linux.{name}"
    for name in (
        *("chage", "chfn", "chsh", "gdm", "groupadd", "groupdel", "groupmod", "gpasswd", "login", "newgrp", "passwd"),
        *("pkexec", "polkitd", "remote", "runuser", "sshd", "sshd-session", "su", "sudo", "systemd-logind"),
        *("useradd", "userdel", "usermod"),
    )
)
#: Channel and source of Sysmon for Linux, and the ids of the events that it has.
SYSMON = "Linux-Sysmon/Operational"
SYSMON_SOURCE = "linux.sysmon"
SYSMON_CODES = frozenset({1, 3, 4, 5, 9, 11, 16, 23})
