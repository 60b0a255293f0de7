"""This very machine as a host: its tables from psutil and the files of the system, read only."""

import glob
import grp
import platform
import pwd
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from agents.simulator.carver import Files
from agents.simulator.machine import Machine, Rows
from agents.simulator.schema import LINUX

_DENIED = (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess, OSError)
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
MOST_FILES, LARGEST_FILE = 20, 1 << 20  # of one carve; bytes


class ThisMachine(Machine):
    """What an ordinary user can see; what is denied is left out."""

    platform = LINUX

    def __init__(self) -> None:
        super().__init__()
        self.boot_time = psutil.boot_time()
        self.hostname = socket.gethostname()
        known = Path("/etc/machine-id")
        name = known.read_text().strip() if known.exists() else self.hostname
        self.identifier = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"fleet-live-queries.{name or self.hostname}"))

    def files(self, pattern: str) -> Files:
        """Give real files that this process can read: at most twenty, each of a megabyte at most."""
        found: dict[str, bytes] = {}
        wanted = glob.escape(pattern).replace("%%", "**").replace("%", "*")
        for path in islice(glob.iglob(wanted, recursive=True), MOST_FILES):
            try:
                if Path(path).is_file() and Path(path).stat().st_size <= LARGEST_FILE:
                    found[path] = Path(path).read_bytes()
            except OSError:
                continue
        return found

    def agent_pid(self) -> int:
        """Give the pid of the process that stands for osqueryd."""
        return psutil.Process().pid

    def table_processes(self) -> Rows:
        """Give the processes that run."""
        for process in psutil.process_iter():
            try:
                with process.oneshot():
                    yield _process(process)
            except _DENIED:
                continue

    def table_users(self) -> Rows:
        """Give /etc/passwd and what else the system knows."""
        for user in pwd.getpwall():
            yield {
                "uid": user.pw_uid,
                "gid": user.pw_gid,
                "username": user.pw_name,
                "description": user.pw_gecos,
                "directory": user.pw_dir,
                "shell": user.pw_shell,
            }

    def table_groups(self) -> Rows:
        """Give the groups."""
        return [{"gid": group.gr_gid, "groupname": group.gr_name} for group in grp.getgrall()]

    def table_user_groups(self) -> Rows:
        """Give who is in which."""
        for user in pwd.getpwall():
            yield {"uid": user.pw_uid, "gid": user.pw_gid}

    def table_logged_in_users(self) -> Rows:
        """Give the sessions."""
        for user in psutil.users():
            yield {
                "type": "user",
                "user": user.name,
                "tty": user.terminal,
                "host": user.host,
                "time": int(user.started),
            }

    def table_listening_ports(self) -> Rows:
        """Give what listens on the network."""
        for found in _connections():
            if found.status in (psutil.CONN_LISTEN, psutil.CONN_NONE) and not found.raddr:
                yield {
                    "pid": found.pid if found.pid is not None else -1,
                    "port": found.laddr.port,
                    "fd": found.fd,
                    "protocol": 6 if found.type == socket.SOCK_STREAM else 17,
                    "family": int(found.family),
                    "address": found.laddr.ip,
                }

    def table_process_open_sockets(self) -> Rows:
        """Give the connections that are open."""
        for found in _connections():
            if found.raddr:
                yield {
                    "pid": found.pid if found.pid is not None else -1,
                    "fd": found.fd,
                    "family": int(found.family),
                    "protocol": 6,
                    "local_address": found.laddr.ip,
                    "local_port": found.laddr.port,
                    "remote_address": found.raddr.ip,
                    "remote_port": found.raddr.port,
                    "state": found.status,
                }

    def table_mounts(self) -> Rows:
        """Give the file systems that are mounted."""
        for part in psutil.disk_partitions(all=True):
            try:
                used = psutil.disk_usage(part.mountpoint)
            except _DENIED:
                continue
            yield {
                "device": part.device,
                "path": part.mountpoint,
                "type": part.fstype,
                "flags": part.opts,
                "blocks_size": 1,
                "blocks": used.total,
                "blocks_free": used.free,
                "blocks_available": used.free,
            }

    def table_interface_addresses(self) -> Rows:
        """Give the addresses of every interface."""
        for name, addresses in psutil.net_if_addrs().items():
            for found in addresses:
                if found.family in _FAMILIES:
                    yield {
                        "interface": name,
                        "address": found.address,
                        "mask": found.netmask,
                        "broadcast": found.broadcast,
                    }

    def table_interface_details(self) -> Rows:
        """Give the interfaces."""
        addresses, sent = psutil.net_if_addrs(), psutil.net_io_counters(pernic=True)
        for name, stats in psutil.net_if_stats().items():
            mac = next((found.address for found in addresses.get(name, ()) if found.family == psutil.AF_LINK), "")
            counters = sent.get(name)
            yield {
                "interface": name,
                "mac": mac,
                "mtu": stats.mtu,
                **({"ibytes": counters.bytes_recv, "obytes": counters.bytes_sent} if counters else {}),
            }

    def table_deb_packages(self) -> Rows:
        """Give the packages of a Debian or Ubuntu."""
        names = ("name", "version", "arch", "size", "status")
        form = "\t".join(("${Package}", "${Version}", "${Architecture}", "${Installed-Size}", "${db:Status-Status}"))
        for line in _output("dpkg-query", "-W", "-f", form + "\n"):
            yield dict(zip(names, line.split("\t"), strict=False))

    def table_rpm_packages(self) -> Rows:
        """Give the packages of a system with rpm."""
        for line in _output("rpm", "-qa", "--qf", "%{NAME}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\n"):
            yield dict(zip(("name", "version", "release", "arch"), line.split("\t"), strict=False))

    def table_os_version(self) -> Rows:
        """Give what /etc/os-release says."""
        facts = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
        major, _, minor = facts.get("VERSION_ID", "0").partition(".")
        yield {
            "name": facts.get("NAME", "Linux"),
            "version": facts.get("VERSION", ""),
            "platform": facts.get("ID", ""),
            "platform_like": facts.get("ID_LIKE", ""),
            "codename": facts.get("VERSION_CODENAME", ""),
            "major": major,
            "minor": minor or 0,
            "patch": 0,
            "arch": platform.machine(),
        }

    def table_system_info(self) -> Rows:
        """Give the hardware."""
        yield {
            "hostname": self.hostname,
            "uuid": self.identifier,
            "cpu_type": platform.machine(),
            "cpu_brand": next(iter(_cpu_models()), ""),
            "cpu_physical_cores": psutil.cpu_count(logical=False),
            "cpu_logical_cores": psutil.cpu_count(),
            "physical_memory": psutil.virtual_memory().total,
            "computer_name": self.hostname,
            "local_hostname": self.hostname,
            "hardware_serial": "",
        }

    def table_kernel_info(self) -> Rows:
        """Give the kernel."""
        yield {"version": platform.release(), "arguments": _read("/proc/cmdline")}

    def table_memory_info(self) -> Rows:
        """Give the memory."""
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        yield {
            "memory_total": memory.total,
            "memory_free": memory.free,
            "memory_available": memory.available,
            "swap_total": swap.total,
            "swap_free": swap.free,
        }

    def table_etc_hosts(self) -> Rows:
        """Give the lines of /etc/hosts."""
        for line in _read("/etc/hosts").splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            if address:
                yield {"address": address, "hostnames": " ".join(names)}


def _process(process: psutil.Process) -> dict[str, Any]:
    times, memory, uids = process.cpu_times(), process.memory_info(), process.uids()
    try:
        path = process.exe()
    except _DENIED:
        path = ""
    return {
        "pid": process.pid,
        "name": process.name(),
        "path": path,
        "cmdline": " ".join(process.cmdline()),
        "state": process.status()[:1].upper(),
        "uid": uids.real,
        "euid": uids.effective,
        "suid": uids.saved,
        "gid": process.gids().real,
        "resident_size": memory.rss,
        "total_size": memory.vms,
        "user_time": int(times.user * 1000),
        "system_time": int(times.system * 1000),
        "start_time": int(process.create_time()),
        "parent": process.ppid(),
        "threads": process.num_threads(),
        "nice": process.nice(),
        "on_disk": int(bool(path) and Path(path).exists()),
    }


def _connections() -> Iterator[Any]:
    try:
        yield from psutil.net_connections("inet")
    except _DENIED:
        return


def _cpu_models() -> Iterator[str]:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            yield line.partition(":")[2].strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _output(program: str, *arguments: str) -> list[str]:
    found = shutil.which(program)
    if found is None:
        return []
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    return done.stdout.splitlines()
