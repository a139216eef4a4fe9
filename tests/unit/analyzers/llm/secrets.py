"""Secrets planted where people leave them. ``{}`` is the secret."""

from __future__ import annotations

import base64
import random
import string

#: Field name, and text with the secret's place.
PLACES: tuple[tuple[str, str], ...] = (
    ("CommandLine", "mysql -u root -p{} -h db.example shop"),
    ("CommandLine", "mysqldump --user=backup --password={} shop"),
    ("CommandLine", "net user bob {} /add"),
    ("CommandLine", r"C:\Windows\System32\net.exe use Z: \\srv\c$ {} /user:corp\bob"),
    ("CommandLine", r"net use \\srv\c$ /user:corp\bob {}"),
    ("CommandLine", "sshpass -p {} ssh root@10.0.0.7"),
    ("CommandLine", r"psexec \\srv -u corp\bob -p {} cmd.exe"),
    ("CommandLine", "curl -u deploy:{} https://ci.example/job"),
    ("CommandLine", "curl -H 'Authorization: Bearer {}' https://api.example/v1"),
    ("CommandLine", "schtasks /create /tn x /tr calc /ru bob /rp {}"),
    ("CommandLine", "wmic /node:srv /user:bob /password:{} process list"),
    ("CommandLine", "secretsdump.py corp/bob:{}@10.0.0.1"),
    ("CommandLine", "smbclient -U bob%{} //srv/share"),
    ("CommandLine", "cmdkey /add:srv /user:bob /pass:{}"),
    ("CommandLine", "7z a -p{} loot.7z C:\\Users\\bob"),
    ("CommandLine", "docker login -u bob -p {} registry.example"),
    ("CommandLine", "redis-cli -h cache -a {} flushall"),
    ("CommandLine", "sqlcmd -S db -U sa -P {} -Q 'select 1'"),
    ("CommandLine", "powershell ConvertTo-SecureString '{}' -AsPlainText -Force"),
    ("CommandLine", "openssl enc -aes-256-cbc -pass pass:{} -in a -out b"),
    ("ScriptBlockText", "$cred = New-Object PSCredential('bob', '{}')"),
    ("ScriptBlockText", "$env:DB_PASSWORD = '{}'"),
    ("ScriptBlockText", "Server=db;Database=shop;User Id=sa;Password={};Encrypt=true"),
    ("ScriptBlockText", "DefaultEndpointsProtocol=https;AccountName=x;AccountKey={};EndpointSuffix=core.windows.net"),
    ("url", "https://bob:{}@git.example/repo.git"),
    ("url", "/login.php?user=bob&password={}&next=/"),
    ("url", "/api?access_token={}&page=2"),
    ("url", "/redirect?to=https%3A%2F%2Fx.example%2F%3Fapi_key%3D{}"),
    ("request_body", '{{"user": "bob", "client_secret": "{}"}}'),
    ("request_body", "<user>bob</user><password>{}</password>"),
    ("http.request.headers.authorization", "Basic {}"),
    ("Cookie", "session={}"),
    ("message", "sudo: env DB_PASS={} ./deploy.sh"),
    ("message", "X-Api-Key: {}"),
    ("message", "echo {} | sudo -S id"),
)
#: Keys that show what they are.
KEYS: tuple[str, ...] = (
    "AKIA" + "IOSFODNN7EXAMPLE",
    "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "xoxb-" + "2345678901-abcdefABCDEF0123",
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiJib2IifQ." + "c2lnbmF0dXJlLW9mLWl0",
    "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "glpat-" + "abcDEF123456_7890xyz",
    "sk-" + "proj1234567890abcdefABCDEF",
)


def planted(seed: int = 1) -> list[tuple[str, str, str]]:
    """Return (field, text, secret): every place with a secret of its own, and keys, a private key and encoded ones."""
    chance = random.Random(seed)
    found = []
    for field, text in PLACES:
        secret = "".join(chance.choices(string.ascii_letters + string.digits + "-_", k=18)) + "9z"
        found.append((field, text.format(secret), secret))
    found += [("message", f"loaded {key} from vault", key) for key in KEYS]
    body = "".join(chance.choices(string.ascii_letters + string.digits, k=64))
    found.append(("message", f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----", body))
    secret = "Tr0ub4dor-and-3-others"
    inner = base64.b64encode(f"net user bob {secret} /add".encode("utf-16-le")).decode()
    found.append(("CommandLine", f"powershell -nop -enc {inner}", secret))
    found.append(("CommandLine", f"powershell -nop -enc {inner}", inner))
    return found
