"""What the records of Linux audit are: names of their type numbers, and each type in ECS words.

Numbers: ``linux/audit.h`` and the message dictionary of https://github.com/linux-audit/audit-documentation.
"""

from __future__ import annotations

from state.events import Kind

from .auditd_syscalls import NAMES as NAMES_OF_CALLS
from .kinds import kind, slug

#: Names from the first number on, of runs of consecutive numbers.
_RUNS: dict[int, str] = {
    1000: (
        "GET SET LIST ADD DEL USER LOGIN WATCH_INS WATCH_REM WATCH_LIST SIGNAL_INFO ADD_RULE DEL_RULE LIST_RULES "
        "TRIM MAKE_EQUIV TTY_GET TTY_SET SET_FEATURE GET_FEATURE"
    ),
    1100: (
        "USER_AUTH USER_ACCT USER_MGMT CRED_ACQ CRED_DISP USER_START USER_END USER_AVC USER_CHAUTHTOK USER_ERR "
        "CRED_REFR USYS_CONFIG USER_LOGIN USER_LOGOUT ADD_USER DEL_USER ADD_GROUP DEL_GROUP DAC_CHECK CHGRP_ID TEST "
        "TRUSTED_APP USER_SELINUX_ERR USER_CMD USER_TTY CHUSER_ID GRP_AUTH SYSTEM_BOOT SYSTEM_SHUTDOWN "
        "SYSTEM_RUNLEVEL SERVICE_START SERVICE_STOP GRP_MGMT GRP_CHAUTHTOK MAC_CHECK ACCT_LOCK ACCT_UNLOCK "
        "USER_DEVICE SOFTWARE_UPDATE"
    ),
    1200: (
        "DAEMON_START DAEMON_END DAEMON_ABORT DAEMON_CONFIG DAEMON_RECONFIG DAEMON_ROTATE DAEMON_RESUME "
        "DAEMON_ACCEPT DAEMON_CLOSE DAEMON_ERR"
    ),
    1300: "SYSCALL FS_WATCH PATH IPC SOCKETCALL CONFIG_CHANGE SOCKADDR CWD",
    1309: "EXECVE",
    1311: (
        "IPC_SET_PERM MQ_OPEN MQ_SENDRECV MQ_NOTIFY MQ_GETSETATTR KERNEL_OTHER FD_PAIR OBJ_PID TTY EOE BPRM_FCAPS "
        "CAPSET MMAP NETFILTER_PKT NETFILTER_CFG SECCOMP PROCTITLE FEATURE_CHANGE REPLACE KERN_MODULE FANOTIFY "
        "TIME_INJOFFSET TIME_ADJNTPVAL BPF EVENT_LISTENER URINGOP OPENAT2 DM_CTRL DM_EVENT"
    ),
    1400: (
        "AVC SELINUX_ERR AVC_PATH MAC_POLICY_LOAD MAC_STATUS MAC_CONFIG_CHANGE MAC_UNLBL_ALLOW MAC_CIPSOV4_ADD "
        "MAC_CIPSOV4_DEL MAC_MAP_ADD MAC_MAP_DEL MAC_IPSEC_ADDSA MAC_IPSEC_DELSA MAC_IPSEC_ADDSPD MAC_IPSEC_DELSPD "
        "MAC_IPSEC_EVENT MAC_UNLBL_STCADD MAC_UNLBL_STCDEL MAC_CALIPSO_ADD MAC_CALIPSO_DEL"
    ),
    1500: (
        "APPARMOR APPARMOR_AUDIT APPARMOR_ALLOWED APPARMOR_DENIED APPARMOR_HINT APPARMOR_STATUS APPARMOR_ERROR "
        "APPARMOR_KILL"
    ),
    1700: "ANOM_PROMISCUOUS ANOM_ABEND ANOM_LINK ANOM_CREAT",
    1800: (
        "INTEGRITY_DATA INTEGRITY_METADATA INTEGRITY_STATUS INTEGRITY_HASH INTEGRITY_PCR INTEGRITY_RULE "
        "INTEGRITY_EVM_XATTR INTEGRITY_POLICY_RULE"
    ),
    2000: "KERNEL",
    2100: (
        "ANOM_LOGIN_FAILURES ANOM_LOGIN_TIME ANOM_LOGIN_SESSIONS ANOM_LOGIN_ACCT ANOM_LOGIN_LOCATION ANOM_MAX_DAC "
        "ANOM_MAX_MAC ANOM_AMTU_FAIL ANOM_RBAC_FAIL ANOM_RBAC_INTEGRITY_FAIL ANOM_CRYPTO_FAIL ANOM_ACCESS_FS "
        "ANOM_EXEC ANOM_MK_EXEC ANOM_ADD_ACCT ANOM_DEL_ACCT ANOM_MOD_ACCT ANOM_ROOT_TRANS ANOM_LOGIN_SERVICE"
    ),
    2200: (
        "RESP_ANOMALY RESP_ALERT RESP_KILL_PROC RESP_TERM_ACCESS RESP_ACCT_REMOTE RESP_ACCT_LOCK_TIMED "
        "RESP_ACCT_UNLOCK_TIMED RESP_ACCT_LOCK RESP_TERM_LOCK RESP_SEBOOL RESP_EXEC RESP_SINGLE RESP_HALT "
        "RESP_ORIGIN_BLOCK RESP_ORIGIN_BLOCK_TIMED"
    ),
    2300: (
        "USER_ROLE_CHANGE ROLE_ASSIGN ROLE_REMOVE LABEL_OVERRIDE LABEL_LEVEL_CHANGE USER_LABELED_EXPORT "
        "USER_UNLABELED_EXPORT DEV_ALLOC DEV_DEALLOC FS_RELABEL USER_MAC_POLICY_LOAD ROLE_MODIFY "
        "USER_MAC_CONFIG_CHANGE USER_MAC_STATUS"
    ),
    2400: (
        "CRYPTO_TEST_USER CRYPTO_PARAM_CHANGE_USER CRYPTO_LOGIN CRYPTO_LOGOUT CRYPTO_KEY_USER CRYPTO_FAILURE_USER "
        "CRYPTO_REPLAY_USER CRYPTO_SESSION CRYPTO_IKE_SA CRYPTO_IPSEC_SA"
    ),
    2500: (
        "VIRT_CONTROL VIRT_RESOURCE VIRT_MACHINE_ID VIRT_INTEGRITY_CHECK VIRT_CREATE VIRT_DESTROY VIRT_MIGRATE_IN "
        "VIRT_MIGRATE_OUT"
    ),
}
#: Name of each record type by its number.
NAMES: dict[str, str] = {
    str(first + place): name for first, names in _RUNS.items() for place, name in enumerate(names.split())
}
_KNOWN = frozenset(NAMES.values())
#: Category and action by type; others are found by their first word.
TYPES: dict[str, tuple[str, str]] = {
    "ACCT_LOCK": ("iam", "user-locked-out"),
    "ACCT_UNLOCK": ("iam", "user-unlocked"),
    "ADD_GROUP": ("iam", "group-created"),
    "ADD_USER": ("iam", "user-created"),
    "ANOM_ABEND": ("process", "process-crashed"),
    "ANOM_CREAT": ("file", "file-creation-refused"),
    "ANOM_LINK": ("file", "link-refused"),
    "ANOM_PROMISCUOUS": ("network", "promiscuous-mode-changed"),
    "AVC": ("host", "access-checked"),
    "BPF": ("driver", "bpf-program-changed"),
    "CHGRP_ID": ("iam", "group-changed"),
    "CHUSER_ID": ("iam", "user-changed"),
    "CONFIG_CHANGE": ("configuration", "audit-configuration-changed"),
    "CWD": ("process", "working-directory"),
    "CRED_ACQ": ("session", "credentials-acquired"),
    "CRED_DISP": ("session", "credentials-disposed"),
    "CRED_REFR": ("session", "credentials-refreshed"),
    "DEL_GROUP": ("iam", "group-deleted"),
    "DEL_USER": ("iam", "user-deleted"),
    # The record that holds the arguments; that of the system call beside it tells executable and user.
    "EXECVE": ("process", "process-created"),
    "GRP_AUTH": ("authentication", "group-authentication"),
    "GRP_CHAUTHTOK": ("iam", "password-changed"),
    "GRP_MGMT": ("iam", "group-changed"),
    "KERN_MODULE": ("driver", "driver-loaded"),
    "LOGIN": ("session", "login-id-set"),
    "NETFILTER_CFG": ("configuration", "firewall-rule-changed"),
    "NETFILTER_PKT": ("network", "packet-passed"),
    "OBJ_PID": ("process", "process-accessed"),
    "PATH": ("file", "file-accessed"),
    "PROCTITLE": ("process", "process-title"),
    "SECCOMP": ("process", "system-call-blocked"),
    "SERVICE_START": ("configuration", "service-started"),
    "SERVICE_STOP": ("configuration", "service-stopped"),
    "SOCKADDR": ("network", "socket-address"),
    "SOFTWARE_UPDATE": ("package", "package-changed"),
    "SYSTEM_BOOT": ("host", "system-started"),
    "SYSTEM_RUNLEVEL": ("host", "run-level-changed"),
    "SYSTEM_SHUTDOWN": ("host", "system-shut-down"),
    "TTY": ("session", "terminal-input"),
    "USER_ACCT": ("session", "account-checked"),
    # Each check of a password or key, and only these, counts as an authentication; USER_LOGIN tells the same again.
    "USER_AUTH": ("authentication", "logon"),
    "USER_AVC": ("host", "access-checked"),
    "USER_CHAUTHTOK": ("iam", "password-changed"),
    "USER_CMD": ("process", "sudo-command"),
    "USER_END": ("session", "session-closed"),
    "USER_ERR": ("session", "account-state-error"),
    "USER_LOGIN": ("session", "login"),
    "USER_LOGOUT": ("session", "logged-off"),
    "USER_MGMT": ("iam", "user-changed"),
    "USER_ROLE_CHANGE": ("iam", "role-changed"),
    "USER_START": ("session", "session-opened"),
    "USER_TTY": ("session", "terminal-input"),
}
#: Category by a type's first word.
FAMILIES: dict[str, str] = {
    "ANOM": "intrusion_detection",
    "APPARMOR": "host",
    "CRYPTO": "session",
    "DAEMON": "configuration",
    "INTEGRITY": "file",
    "MAC": "configuration",
    "RESP": "intrusion_detection",
    "ROLE": "iam",
    "VIRT": "host",
}
#: What PATH tells of a file, by ``nametype``.
PATHS = {"CREATE": "file-created", "DELETE": "file-deleted"}
_SYSCALLS: dict[str, str] = {
    name: category
    for category, names in {
        "driver": "bpf create_module delete_module finit_module init_module",
        "configuration": "adjtimex clock_settime mount sethostname settimeofday swapoff swapon umount umount2",
        "file": "chmod chown creat fchmod fchmodat fchown fchownat ftruncate lchown link linkat lsetxattr mkdir "
        "mkdirat mknod mknodat open open_by_handle_at openat openat2 removexattr rename renameat renameat2 rmdir "
        "setxattr symlink symlinkat truncate unlink unlinkat utimensat",
        "network": "accept accept4 bind connect listen recvfrom recvmsg sendmsg sendto socket socketcall",
    }.items()
    for name in names.split()
}


def record_kind(type: str, outcome: str = "unknown", detail: str = "") -> Kind:
    """Return the kind of a record: source ``auditd.<type>``, category, action and outcome.

    ``detail``: the name of a system call (SYSCALL), the ``nametype`` of a file (PATH), the action itself (EXECVE).

    >>> record_kind("SYSCALL", "success", "connect").action, record_kind("USER_AUTH", "failure").action
    ('syscall-connect', 'logon-failed')
    """
    source = "auditd." + slug(type, also="_")
    if type == "SYSCALL":
        known = detail in NAMES_OF_CALLS
        return kind(source, _SYSCALLS.get(detail, "process"), f"syscall-{detail}" if known else "syscall", outcome)
    category, action = TYPES.get(type, ("", ""))
    if not category:
        category = FAMILIES.get(type.partition("_")[0], "host")
        action = slug(type) if type in _KNOWN else "audit-record"
    if type == "PATH":
        action = PATHS.get(detail, action)
    elif type == "EXECVE":
        action = detail or action
    elif action in ("logon", "login") and outcome != "unknown":
        action = f"{action}-{'succeeded' if outcome == 'success' else 'failed'}"
    return kind(source, category, action, outcome)
