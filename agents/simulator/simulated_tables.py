"""Simulated hosts: everything follows from a seed and the host's number, and the tables of one host agree.

Processes belong to users that exist, ports to processes that run, packages to the distribution.
"""

import random
import time
import uuid
from typing import Any

from agents.simulator.machine import Machine, Rows
from agents.simulator.schema import DARWIN, LINUX, WINDOWS

# name, version, codename, platform_like, package table
_LINUX = (
    ("Debian GNU/Linux", "debian", "12 (bookworm)", "debian", "deb_packages"),
    ("Ubuntu", "ubuntu", "24.04.1 LTS (Noble Numbat)", "debian", "deb_packages"),
    ("Rocky Linux", "rocky", "9.4 (Blue Onyx)", "rhel", "rpm_packages"),
)
_SYSTEMS = {
    DARWIN: ("macOS", "darwin", "15.1", "darwin"),
    WINDOWS: ("Microsoft Windows 11", "windows", "10.0.22631", ""),
}
_PEOPLE = ("amara", "bjorn", "chen", "dilnoza", "elif", "farid", "gita", "hana", "ivan", "jules")
# name, folder, user, port or 0
_SERVICES = {
    LINUX: (
        ("systemd", "/usr/lib/systemd", "root", 0),
        ("sshd", "/usr/sbin", "root", 22),
        ("osqueryd", "/opt/osquery/bin", "root", 0),
        ("nginx", "/usr/sbin", "www-data", 443),
        ("postgres", "/usr/lib/postgresql/15/bin", "postgres", 5432),
        ("redis-server", "/usr/bin", "redis", 6379),
        ("cron", "/usr/sbin", "root", 0),
    ),
    DARWIN: (
        ("launchd", "/sbin", "root", 0),
        ("osqueryd", "/opt/osquery/lib", "root", 0),
        ("mDNSResponder", "/usr/sbin", "_mdnsresponder", 5353),
        ("rapportd", "/usr/libexec", "root", 49152),
        ("WindowServer", "/System/Library/PrivateFrameworks", "_windowserver", 0),
    ),
    WINDOWS: (
        ("System", "C:\\Windows\\System32", "SYSTEM", 445),
        ("osqueryd.exe", "C:\\Program Files\\osquery\\osqueryd", "SYSTEM", 0),
        ("svchost.exe", "C:\\Windows\\System32", "NETWORK SERVICE", 135),
        ("lsass.exe", "C:\\Windows\\System32", "SYSTEM", 49664),
        ("MsMpEng.exe", "C:\\ProgramData\\Microsoft\\Windows Defender", "SYSTEM", 0),
    ),
}
# name, folder: what the person at the screen runs
_DESKTOP = {
    LINUX: (("bash", "/usr/bin"), ("firefox", "/usr/lib/firefox")),
    DARWIN: (
        ("Finder", "/System/Library/CoreServices/Finder.app/Contents/MacOS"),
        ("Safari", "/Applications/Safari.app/Contents/MacOS"),
    ),
    WINDOWS: (
        ("explorer.exe", "C:\\Windows"),
        ("msedge.exe", "C:\\Program Files (x86)\\Microsoft\\Edge\\Application"),
    ),
}
_PACKAGES = (("openssl", "3.0.15"), ("curl", "7.88.1"), ("bash", "5.2.15"), ("sudo", "1.9.13"), ("tar", "1.34"))
_PROGRAMS = (("7-Zip", "24.08"), ("Firefox", "132.0"), ("Git", "2.47.0"), ("Slack", "4.41.97"), ("Zoom", "6.2.5"))


class SimulatedHost(Machine):
    """Host `number` of the fleet with this seed."""

    def __init__(self, number: int, seed: int = 0) -> None:
        super().__init__()
        chance = random.Random(seed * 1_000_003 + number)  # noqa: S311 - not a secret
        self.platform = chance.choices((LINUX, DARWIN, WINDOWS), (60, 20, 20))[0]
        self.version = chance.choice(("5.23.0", "5.22.1", "5.19.0"))
        self.identifier = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        self.hostname = f"{ {LINUX: 'srv', DARWIN: 'mac', WINDOWS: 'win'}[self.platform] }-{number:05d}"
        self.serial = f"{chance.getrandbits(40):010X}"
        self.boot_time = time.time() - chance.randrange(3600, 60 * 86400)
        self.address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.distribution = chance.choice(_LINUX)
        self.memory = chance.choice((8, 16, 32, 64)) << 30
        self.cores = chance.choice((4, 8, 16))
        self.people = chance.sample(_PEOPLE, 2)
        self._processes = self._make_processes(chance)

    def _make_processes(self, chance: random.Random) -> list[dict[str, Any]]:
        services = [*_SERVICES[self.platform]]
        services = services[:3] + [service for service in services[3:] if chance.random() < 0.6]
        services += [(name, folder, self.people[0], 0) for name, folder in _DESKTOP[self.platform]]
        uids = {user["username"]: user["uid"] for user in self.table_users()}
        pid, processes = 1, []
        for name, folder, user, port in services:
            separator = "\\" if self.platform == WINDOWS else "/"
            processes.append(
                {
                    "pid": pid,
                    "name": name,
                    "path": f"{folder}{separator}{name}",
                    "cmdline": f"{folder}{separator}{name}",
                    "state": "S",
                    "uid": uids[user],
                    "gid": uids[user],
                    "on_disk": 1,
                    "resident_size": chance.randrange(1 << 20, 1 << 29),
                    "total_size": chance.randrange(1 << 29, 1 << 31),
                    "user_time": chance.randrange(100_000),
                    "system_time": chance.randrange(50_000),
                    "start_time": int(self.boot_time) + pid,
                    "parent": 0 if pid == 1 else 1,
                    "threads": chance.randrange(1, 40),
                    "nice": 0,
                    "port": port,
                }
            )
            pid += chance.randrange(3, 400)
        return processes

    def table_processes(self) -> Rows:
        """Give the processes that run."""
        return self._processes

    def table_listening_ports(self) -> Rows:
        """Give the ports of those processes."""
        for process in self._processes:
            if process["port"]:
                yield {
                    "pid": process["pid"],
                    "port": process["port"],
                    "protocol": 17 if process["port"] == 5353 else 6,
                    "family": 2,
                    "address": "0.0.0.0",  # noqa: S104 - what a made-up host says
                    "fd": 7,
                    "socket": process["pid"] * 10,
                    "path": "",
                }

    def table_process_open_sockets(self) -> Rows:
        """Give the connection that the agent has to its server."""
        for process in self._processes:
            if process["name"].startswith("osqueryd"):
                yield {
                    "pid": process["pid"],
                    "fd": 9,
                    "family": 2,
                    "protocol": 6,
                    "local_address": self.address,
                    "remote_address": "10.255.0.1",
                    "local_port": 50_000,
                    "remote_port": 443,
                    "state": "ESTABLISHED",
                }

    def agent_pid(self) -> int:
        """Give the pid of the agent among the processes."""
        return int(next(process["pid"] for process in self._processes if process["name"].startswith("osqueryd")))

    def table_users(self) -> Rows:
        """Give system accounts, those that services run as, and two people."""
        names = dict.fromkeys(["root" if self.platform != WINDOWS else "SYSTEM"])
        names |= dict.fromkeys(service[2] for service in _SERVICES[self.platform])
        for number, name in enumerate(names):
            yield self._user(name, number * 7, "/usr/sbin/nologin" if number else "/bin/bash")
        for number, name in enumerate(self.people):
            yield self._user(name, 1000 + number, "/bin/bash")

    def _user(self, name: str, uid: int, shell: str) -> dict[str, Any]:
        home = {LINUX: "/home/", DARWIN: "/Users/", WINDOWS: "C:\\Users\\"}[self.platform]
        return {"uid": uid, "gid": uid, "username": name, "description": name, "directory": home + name, "shell": shell}

    def table_groups(self) -> Rows:
        """Give a group for each user."""
        return [{"gid": user["gid"], "groupname": user["username"]} for user in self.table_users()]

    def table_user_groups(self) -> Rows:
        """Give who is in which."""
        return [{"uid": user["uid"], "gid": user["gid"]} for user in self.table_users()]

    def table_logged_in_users(self) -> Rows:
        """Give the one person at the machine."""
        yield {"type": "user", "user": self.people[0], "tty": "tty1", "time": int(self.boot_time) + 600, "pid": 900}

    def table_os_version(self) -> Rows:
        """Give the operating system."""
        name, platform, version, like = self.distribution[:4] if self.platform == LINUX else _SYSTEMS[self.platform]
        major, _, rest = version.partition(".")
        yield {
            "name": name,
            "version": version,
            "major": int(major.split()[0]),
            "minor": int(rest[:2].strip(". (") or 0) if rest[:2].isdigit() else 0,
            "patch": 0,
            "platform": platform,
            "platform_like": like,
            "arch": "arm64" if self.platform == DARWIN else "x86_64",
        }

    def table_system_info(self) -> Rows:
        """Give the hardware."""
        yield {
            "hostname": self.hostname,
            "uuid": self.identifier,
            "cpu_type": "arm64e" if self.platform == DARWIN else "x86_64",
            "cpu_brand": "Apple M3" if self.platform == DARWIN else "Intel(R) Xeon(R) Gold 6338",
            "cpu_physical_cores": self.cores // 2,
            "cpu_logical_cores": self.cores,
            "cpu_sockets": 1,
            "physical_memory": self.memory,
            "hardware_vendor": "Apple Inc." if self.platform == DARWIN else "Dell Inc.",
            "hardware_model": "Mac15,3" if self.platform == DARWIN else "PowerEdge R650",
            "hardware_serial": self.serial,
            "computer_name": self.hostname,
            "local_hostname": self.hostname,
        }

    def table_platform_info(self) -> Rows:
        """Give the firmware."""
        yield {"vendor": "Dell Inc.", "version": "1.9.2", "date": "06/14/2025", "firmware_type": "uefi"}

    def table_kernel_info(self) -> Rows:
        """Give the kernel."""
        version = {LINUX: "6.1.0-27-amd64", DARWIN: "24.1.0", WINDOWS: "10.0.22631.4460"}[self.platform]
        yield {"version": version, "arguments": "quiet", "path": "/boot", "device": "sda1"}

    def table_interface_addresses(self) -> Rows:
        """Give loopback and the one address."""
        yield {"interface": "lo", "address": "127.0.0.1", "mask": "255.0.0.0"}
        yield {"interface": "eth0", "address": self.address, "mask": "255.0.0.0", "broadcast": "10.255.255.255"}

    def table_interface_details(self) -> Rows:
        """Give the one network interface of a simulated host."""
        mac = ":".join(self.serial[place : place + 2].lower() for place in range(0, 10, 2))
        yield {"interface": "eth0", "mac": f"02:{mac}", "type": 1, "mtu": 1500}

    def table_routes(self) -> Rows:
        """Give the way out."""
        yield {"destination": "0.0.0.0", "netmask": 0, "gateway": "10.0.0.1", "interface": "eth0"}  # noqa: S104

    def table_etc_hosts(self) -> Rows:
        """Give the names the machine knows by itself."""
        yield {"address": "127.0.0.1", "hostnames": f"localhost {self.hostname}"}

    def table_mounts(self) -> Rows:
        """Give the one file system of a simulated host."""
        yield {
            "device": "/dev/sda1",
            "path": "/",
            "type": "ext4" if self.platform == LINUX else "apfs",
            "blocks_size": 4096,
            "blocks": 1 << 26,
            "blocks_free": self.memory >> 9,
            "flags": "rw,relatime",
        }

    def table_memory_info(self) -> Rows:
        """Give the memory."""
        yield {"memory_total": self.memory, "memory_free": self.memory // 4, "memory_available": self.memory // 2}

    def table_cpu_info(self) -> Rows:
        """Give the processor."""
        yield {"device_id": "0", "model": "Xeon", "manufacturer": "Intel", "logical_processors": self.cores}

    def table_deb_packages(self) -> Rows:
        """Give the packages of a Debian or Ubuntu."""
        return self._packages("deb_packages", "amd64")

    def table_rpm_packages(self) -> Rows:
        """Give the packages of a Rocky."""
        return self._packages("rpm_packages", "x86_64")

    def _packages(self, table: str, arch: str) -> Rows:
        if self.distribution[4] != table:
            return []
        return [{"name": name, "version": version, "arch": arch} for name, version in _PACKAGES]

    def table_apps(self) -> Rows:
        """Give the programs of a Mac."""
        for name, version in _PROGRAMS[1:]:
            yield {"name": f"{name}.app", "path": f"/Applications/{name}.app", "bundle_short_version": version}

    def table_programs(self) -> Rows:
        """Give the programs of a Windows machine."""
        return [{"name": name, "version": version, "publisher": name} for name, version in _PROGRAMS]

    def table_services(self) -> Rows:
        """Give the services of a Windows machine."""
        for process in self._processes:
            yield {"name": process["name"], "status": "RUNNING", "pid": process["pid"], "path": process["path"]}
