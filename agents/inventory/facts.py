"""What a host tells of itself, at most hourly: the detail query and the fields of Host it fills."""

from datetime import datetime

from agents.inventory.labels import follow_platforms
from agents.inventory.schemas import DIGEST
from agents.models import Host, Platform

SQL = f"""SELECT i.version AS osquery_version, s.hostname, s.uuid, s.hardware_serial, s.cpu_brand, s.physical_memory,
 o.name AS os_name, o.platform AS os_platform, o.version AS os_version,
 (SELECT value FROM osquery_flags WHERE name = 'distributed_interval') AS distributed_interval,
 (SELECT group_concat(name || ' ' || version, char(10)) FROM
  (SELECT name, version FROM osquery_extensions WHERE type = 'extension' ORDER BY name, version)) AS extensions,
 (SELECT group_concat(address, char(10)) FROM (SELECT DISTINCT address FROM interface_addresses WHERE address <> '::1'
  AND address NOT LIKE '127.%' AND address NOT LIKE 'fe80:%' ORDER BY address LIMIT 50)) AS addresses,
 {DIGEST} AS registry_digest
 FROM osquery_info AS i, system_info AS s, os_version AS o"""  # noqa: S608 - nothing of it comes from outside

OF_ITS_OWN_NAME = (Platform.WINDOWS, Platform.DARWIN, Platform.FREEBSD)
OS_NAMES = {
    Platform.WINDOWS: ("microsoft windows",),
    Platform.DARWIN: ("macos", "mac os"),
    Platform.FREEBSD: ("freebsd",),
}
TEXTS = {
    "hostname": 255,
    "uuid": 64,
    "hardware_serial": 128,
    "cpu_brand": 200,
    "os_name": 100,
    "os_version": 200,
    "osquery_version": 50,
    "extensions": 10_000,
    "addresses": 2500,
    "registry_digest": 64,
}
NUMBERS = {"physical_memory": 2**63, "distributed_interval": 2**31}


def contradiction(platform: str, os_platform: str, os_name: str) -> str:
    """Say how the platform that osquery's bits name, and what os_version says, contradict each other; "" = not.

    os_version names a distribution on Linux, and elsewhere the platform itself.
    """
    named = os_platform.strip().lower()
    of_os = named if named in OF_ITS_OWN_NAME else (Platform.LINUX if named else "")
    for platform_named, words in OS_NAMES.items():
        of_os = of_os or (platform_named if os_name.lower().startswith(words) else "")
    if not of_os or platform in (Platform.OTHER, of_os):
        return ""
    shown = " ".join(filter(None, [os_name.strip(), named and f"({named})"]))[:150]
    return f"platform_type says {platform}, os_version says {shown}, which is {of_os}"


def update(host: Host, row: dict[str, str], at: datetime) -> None:
    """Write the facts of one row to a host; what it left empty stays as it was, but extensions may go."""
    for name, longest in TEXTS.items():
        text = row.get(name, "").replace("\0", "")[:longest]
        if text or name == "extensions":
            setattr(host, name, text)
    for name, limit in NUMBERS.items():
        text = row.get(name, "")
        if text.isdecimal() and int(text) < limit:
            setattr(host, name, int(text))
    host.details_at = at
    host.platform_contradiction = contradiction(host.platform, row.get("os_platform", ""), row.get("os_name", ""))
    host.save(update_fields=[*TEXTS, *NUMBERS, "details_at", "platform_contradiction"])
    follow_platforms([host])
