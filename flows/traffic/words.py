"""Vocabulary of benign traffic: sites, pages, programs, scripts. All of it is made up or generic."""

from __future__ import annotations

from typing import Final, NamedTuple

#: Outside sites with their address, taken from the networks reserved for documentation.
SITES: Final = tuple(
    (f"{sub}.{name}.{top}", f"{net}.{10 + index % 220}")
    for index, (sub, name, top, net) in enumerate(
        (sub, name, top, net)
        for name in ("riverbank", "northwind", "papermill", "lanternews", "cloudpine", "mapleshop", "quietfox", "tidal")
        for sub, top, net in (
            ("www", "example", "203.0.113"),
            ("cdn", "example", "198.51.100"),
            ("api", "example.net", "192.0.2"),
            ("static", "example.com", "203.0.113"),
            ("login", "example.org", "198.51.100"),
            ("mail", "example.net", "192.0.2"),
        )
    )
)
UPDATE_SITES: Final = (
    ("ctldl.windowsupdate.com", "198.51.100.240"),
    ("archive.ubuntu.com", "203.0.113.241"),
    ("security.ubuntu.com", "203.0.113.242"),
)
AGENTS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 "
    "Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
)
#: Pages of our own web servers, hard negatives among them: innocent words that attacks also use.
PAGES: Final = (
    "/", "/index.html", "/about", "/contact", "/pricing", "/blog/2024/spring-release", "/assets/app.css",
    "/assets/app.js", "/assets/logo.svg", "/favicon.ico", "/api/v1/status", "/api/v1/cart", "/login", "/logout",
    "/products?id=17", "/products?id=214&colour=green", "/products?category=garden&sort=price_asc",
    "/search?q=union+jack+flags", "/search?q=how+to+select+a+mattress", "/search?q=drop+shipping+table+lamp",
    "/search?q=O%27Reilly+books", "/search?q=script+fonts&page=2", "/search?q=order+by+phone",
    "/news?from=2024-01-01&to=2024-02-01", "/download?file=manual.pdf", "/insert-coin", "/select-plan?plan=basic",
)  # fmt: skip
#: Not /.env: who asks for that looks for secrets, and the text judge says so.
MISSING_PAGES: Final = (
    "/wp-login.php", "/.well-known/security.txt", "/old/index.html", "/robots.txt", "/apple-touch-icon.png",
)  # fmt: skip

_SYSTEM: Final = "C:\\Windows\\System32\\"
_PROGRAM_FILES: Final = "C:\\Program Files\\"
_OFFICE: Final = _PROGRAM_FILES + "Microsoft Office\\root\\Office16\\"
_DEFENDER: Final = _PROGRAM_FILES + "Windows Defender\\MpCmdRun.exe"
_FIREFOX: Final = _PROGRAM_FILES + "Mozilla Firefox\\firefox.exe"
_BACKUP: Final = _PROGRAM_FILES + "Backup Agent\\agent.exe"
_POWERSHELL: Final = _SYSTEM + "WindowsPowerShell\\v1.0\\powershell.exe"


class Parent(NamedTuple):
    """Who started a program."""

    image: str
    command_line: str


class Program(NamedTuple):
    """A program as it is started on Windows."""

    image: str
    command_line: str
    parent: Parent
    description: str
    company: str = "Microsoft Corporation"


_EXPLORER: Final = Parent("C:\\Windows\\explorer.exe", "C:\\Windows\\explorer.exe")
_SERVICES: Final = Parent(_SYSTEM + "services.exe", _SYSTEM + "services.exe")
_SCHEDULE: Final = Parent(_SYSTEM + "svchost.exe", _SYSTEM + "svchost.exe -k netsvcs -p -s Schedule")
_DCOM: Final = Parent(_SYSTEM + "svchost.exe", _SYSTEM + "svchost.exe -k DcomLaunch -p")
_CMD: Final = Parent(_SYSTEM + "cmd.exe", "cmd.exe")

#: What people start, and what starts by itself.
PROGRAMS: Final = (
    Program(_OFFICE + "WINWORD.EXE", f'"{_OFFICE}WINWORD.EXE" /n "C:\\Users\\Public\\report.docx"', _EXPLORER, "Word"),
    Program(_OFFICE + "EXCEL.EXE", f'"{_OFFICE}EXCEL.EXE" /dde', _EXPLORER, "Microsoft Excel"),
    Program(_OFFICE + "OUTLOOK.EXE", f'"{_OFFICE}OUTLOOK.EXE"', _EXPLORER, "Microsoft Outlook"),
    Program(_FIREFOX, f'"{_FIREFOX}" -url https://www.riverbank.example/', _EXPLORER, "Firefox", "Mozilla Corporation"),
    Program(_SYSTEM + "notepad.exe", "notepad.exe C:\\Users\\Public\\notes.txt", _EXPLORER, "Notepad"),
    Program(_SYSTEM + "svchost.exe", _SYSTEM + "svchost.exe -k netsvcs -p -s wuauserv", _SERVICES, "Service Host"),
    Program(_SYSTEM + "conhost.exe", "conhost.exe 0xffffffff -ForceV1", _CMD, "Console Window Host"),
    Program(_SYSTEM + "wbem\\WmiPrvSE.exe", "wmiprvse.exe -secured -Embedding", _DCOM, "WMI Provider Host"),
)
#: What the task scheduler starts.
TASKS: Final = (
    Program(_SYSTEM + "taskhostw.exe", "taskhostw.exe Install $(Arg0)", _SCHEDULE, "Host Process for Windows Tasks"),
    Program(_DEFENDER, f'"{_DEFENDER}" SignatureUpdate -ScheduleJob', _SCHEDULE, "Malware Protection Command Line"),
    Program(_BACKUP, f'"{_BACKUP}" --inventory', _SCHEDULE, "Backup Agent", "Papermill Software"),
    Program(_POWERSHELL, "powershell.exe -NoProfile -File C:\\Scripts\\Get-DiskReport.ps1", _SCHEDULE, "PowerShell"),
)
#: What administrators type.
ADMIN_PROGRAMS: Final = (
    Program(_SYSTEM + "ipconfig.exe", "ipconfig /all", _CMD, "IP Configuration Utility"),
    Program(_SYSTEM + "gpupdate.exe", "gpupdate /force", _CMD, "Group Policy Update"),
    Program(_SYSTEM + "mmc.exe", "mmc.exe C:\\Windows\\system32\\eventvwr.msc", _EXPLORER, "Management Console"),
    Program(_SYSTEM + "PING.EXE", "ping -n 4 fs-01", _CMD, "TCP/IP Ping Command"),
    Program(_POWERSHELL, "powershell.exe -NoProfile -File C:\\Scripts\\Get-Inventory.ps1", _CMD, "PowerShell"),
    Program(_POWERSHELL, "powershell.exe -Command Get-EventLog -LogName System -Newest 50", _CMD, "PowerShell"),
)
POWERSHELL_SCRIPTS: Final = (
    "Get-Service | Where-Object { $_.Status -eq 'Stopped' -and $_.StartType -eq 'Automatic' }",
    "Get-ChildItem -Path C:\\Reports -Recurse | Where-Object LastWriteTime -lt (Get-Date).AddDays(-30)",
    "Get-CimInstance Win32_LogicalDisk | Select-Object DeviceID, FreeSpace, Size | Export-Csv C:\\Reports\\disks.csv",
    "Import-Module ActiveDirectory; Get-ADUser -Filter * -Properties LastLogonDate | Sort-Object LastLogonDate",
    "Invoke-WebRequest -Uri https://repo.corp.example/tools/inventory.zip -OutFile C:\\Tools\\inventory.zip",
    "Test-NetConnection -ComputerName fs-01 -Port 445",
)
FILES: Final = (
    "C:\\Users\\Public\\Documents\\report.docx", "C:\\Users\\Public\\Documents\\~$report.docx",
    "C:\\Windows\\Prefetch\\WINWORD.EXE-4F2C1A77.pf", "C:\\Windows\\Temp\\MpSigStub.log",
    "C:\\Users\\Public\\Downloads\\invoice-2024.pdf", "C:\\ProgramData\\Backup Agent\\state.db",
)  # fmt: skip
SUDO_COMMANDS: Final = (
    "/usr/bin/systemctl restart apache2", "/usr/bin/apt-get update", "/usr/bin/journalctl -u apache2 -n 200",
    "/usr/bin/systemctl status postgresql", "/usr/sbin/service cron status", "/usr/bin/tail -n 100 /var/log/auth.log",
)  # fmt: skip
CRON_COMMANDS: Final = (
    "cd / && run-parts --report /etc/cron.hourly", "/usr/local/bin/collect-metrics.sh",
    "[ -x /usr/lib/php/sessionclean ] && /usr/lib/php/sessionclean", "/usr/lib/sysstat/debian-sa1 1 1",
)  # fmt: skip
#: User names that strangers on the internet try on any SSH server.
GUESSED_USERS: Final = ("admin", "test", "oracle", "ubuntu", "postgres", "git", "pi", "ftpuser", "support")
#: What the company's own application says: event type, severity, description.
APPLICATION_EVENTS: Final = (
    ("login", "low", "User signed in to the customer portal"),
    ("logout", "low", "User signed out of the customer portal"),
    ("api_call", "info", "GET /v2/orders answered 200"),
    ("api_call", "info", "POST /v2/orders answered 201"),
    ("file_access", "low", "User opened quarterly-plan.xlsx"),
    ("configuration_change", "low", "User changed notification settings"),
    ("api_call", "info", "GET /v2/customers answered 200"),
)
