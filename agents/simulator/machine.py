"""What the agent and the SQL engine know of a host, made-up or real, and the tables osquery has about itself.

A subclass says who the host is and gives the rows of the other tables as mappings; a column that is left out is NULL.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from agents.simulator.carver import Carver, Files
from agents.simulator.schema import DARWIN, LINUX, SCHEMAS, WINDOWS, Schema

Row = Mapping[str, Any]
Rows = Iterable[Row]
Tuples = list[tuple[Any, ...]]

# osquery/utils/info/platform_type.h: POSIX 1, WINDOWS 2, BSD 4, LINUX 8, OSX 16
PLATFORM_TYPES = {LINUX: "9", DARWIN: "21", WINDOWS: "2"}
DETAIL_TABLES = ("os_version", "osquery_info", "platform_info", "system_info")
NEVER_CACHED = frozenset({"carves", "time", "uptime", "osquery_flags", "osquery_info", "memory_info"})
CACHE_SECONDS = 60.0

# name: (type, default)
_FLAGS = {
    "carver_block_size": ("uint32", "8192"),
    "config_plugin": ("string", "filesystem"),
    "config_refresh": ("uint64", "0"),
    "disable_carver": ("bool", "true"),
    "disable_distributed": ("bool", "true"),
    "distributed_denylist_duration": ("uint64", "86400"),
    "distributed_interval": ("uint64", "60"),
    "distributed_plugin": ("string", "tls"),
    "distributed_tls_max_attempts": ("uint64", "3"),
    "enroll_always": ("bool", "false"),
    "host_identifier": ("string", "hostname"),
    "logger_plugin": ("string", "filesystem"),
    "logger_tls_period": ("uint64", "4"),
    "tls_hostname": ("string", ""),
    "tls_session_reuse": ("bool", "true"),
    "verbose": ("bool", "false"),
    "watchdog_level": ("int32", "0"),
}
# The others that the config may set, by type and default.
_OTHER_FLAGS = {
    ("bool", "false"): """
        aws_debug disable_events disable_logging disable_caching disable_database disable_tables disable_watchdog
        disable_enrollment disable_extensions disable_decorators disable_audit audit_allow_config
        audit_allow_process_events audit_allow_sockets audit_allow_user_events audit_allow_fim_events
        audit_persist enable_file_events enable_ntfs_event_publisher enable_bpf_events enable_keyboard_events
        enable_mouse_events enable_windows_events_publisher enable_powershell_events_subscriber events_optimize
        logger_event_type logger_snapshot_event_type logger_min_stderr logger_numerics schedule_reload_sql
        tls_accept_gzip tls_disable_status_log tls_node_api utc windows_event_channels yara_sigurl_authenticate
        decorations_top_level ephemeral
    """,
    ("uint64", "0"): """
        buffered_log_max config_accelerated_refresh config_tls_max_attempts distributed_loginfo
        distributed_tls_read_max events_expiry events_max events_enforce_denylist extensions_interval
        extensions_timeout hash_cache_max hash_delay logger_tls_max_lines logger_tls_max_linesize
        logger_tls_backoff_max logger_min_status read_max schedule_default_interval schedule_epoch
        schedule_lognames schedule_max_drift schedule_splay_percent schedule_timeout table_delay thrift_timeout
        thrift_threads tls_enroll_max_attempts tls_enroll_max_interval tls_session_timeout value_max
        watchdog_delay watchdog_latency_limit watchdog_memory_limit watchdog_utilization_limit worker_threads
        yara_delay carver_compression carver_expiry
    """,
    ("string", ""): """
        config_path config_tls_endpoint carver_start_endpoint carver_continue_endpoint database_path
        disabled_tables distributed_tls_read_endpoint distributed_tls_write_endpoint enroll_secret_path
        enroll_secret_env enroll_tls_endpoint extensions_autoload extensions_require extensions_socket
        extensions_default_index flagfile logger_path logger_tls_endpoint logger_tls_compress pack_delimiter
        pidfile proxy_hostname specified_identifier tls_client_cert tls_client_key tls_server_certs nullvalue
        logger_kafka_topic logger_rotate logger_rotate_size logger_rotate_max_files logger_syslog_facility
        logger_secondary_status_only
    """,
}
_FLAGS |= {name: kind for kind, names in _OTHER_FLAGS.items() for name in names.split() if name not in _FLAGS}
_COMMAND_LINE = {
    "carver_block_size": "2000000",
    "config_plugin": "tls",
    "config_refresh": "300",
    "disable_carver": "false",
    "disable_distributed": "false",
    "host_identifier": "uuid",
    "logger_plugin": "tls",
}
_PLUGINS = (("config", "tls"), ("distributed", "tls"), ("enroll", "tls"), ("logger", "tls"), ("database", "rocksdb"))


class Machine:
    """A host. `identifier` is what it enrolls with; `boot_time` is in seconds of Unix time."""

    platform: str
    identifier: str
    boot_time: float
    version = "5.23.0"
    build_distro = "simulator"
    extensions: tuple[tuple[str, str], ...] = ()

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.started = clock()
        self.config_hash = ""
        self.flags = {name: default for name, (_, default) in _FLAGS.items()} | _COMMAND_LINE
        self.carver = Carver(self.files)
        self._cache: dict[str, tuple[float, Tuples]] = {}

    @property
    def schema(self) -> Schema:
        """Give every table the host has, with its columns."""
        return SCHEMAS[self.platform]

    def files(self, pattern: str) -> Files:
        """Give the files that a path means, or a pattern with `%`, and their contents."""
        path = pattern.replace("%%", "%").replace("%", "file")
        return {path: f"{path} of {self.identifier}\n".encode() * 1000}

    def generate(self, table: str) -> Rows:
        """Give the rows of one table; nothing for a table there is nothing to say about."""
        own: Callable[[], Rows] | None = getattr(self, f"table_{table}", None)
        return own() if own is not None else ()

    def rows(self, table: str) -> Tuples:
        """Give the rows of one table in the order of its columns, from the cache if they are young."""
        now = self.clock()
        until, kept = self._cache.get(table, (0.0, []))
        if now < until:
            return kept
        names = [column.name for column in self.schema[table]]
        rows = [tuple(map(row.get, names)) for row in self.generate(table)]
        if table not in NEVER_CACHED:
            self._cache[table] = (now + CACHE_SECONDS, rows)
        return rows

    def forget(self) -> None:
        """Drop cached tables that are no longer young, so that idle hosts cost no memory."""
        now = self.clock()
        self._cache = {table: entry for table, entry in self._cache.items() if now < entry[0]}

    def details(self) -> dict[str, dict[str, str]]:
        """Give host_details of the enroll request: first rows, every value a string."""
        first = {table: next(iter(self.generate(table)), None) for table in DETAIL_TABLES}
        return {
            table: {name: str(value) for name, value in row.items() if value is not None}
            for table, row in first.items()
            if row is not None
        }

    def configured(self, config: Mapping[str, Any]) -> None:
        """Take a new config: its options stay until the process ends, and its hash shows in osquery_info."""
        text = json.dumps(config, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        self.config_hash = _sha1(_sha1(text).encode())
        options = config.get("options")
        for name, value in options.items() if isinstance(options, dict) else ():
            if name not in self.flags and not name.startswith("custom_"):
                continue  # osquery warns of an option it does not know, and goes on without
            if isinstance(value, bool):
                self.flags[name] = str(value).lower()
            elif isinstance(value, (str, int)):
                self.flags[name] = str(value)

    def table_carves(self) -> Rows:
        """Give what was carved and what will be."""
        return self.carver.rows()

    def table_osquery_info(self) -> Rows:
        """Give the one row about the agent."""
        yield {
            "pid": self.agent_pid(),
            "uuid": self.identifier,
            "instance_id": hashlib.md5(self.identifier.encode(), usedforsecurity=False).hexdigest(),
            "version": self.version,
            "config_hash": self.config_hash,
            "config_valid": int(bool(self.config_hash)),
            "extensions": "active",
            "build_platform": self.platform,
            "build_distro": self.build_distro,
            "start_time": int(self.started),
            "watcher": -1,
            "platform_mask": int(PLATFORM_TYPES[self.platform]),
        }

    def agent_pid(self) -> int:
        """Give the process id of the agent."""
        return 1

    def table_osquery_flags(self) -> Rows:
        """Give flags with their defaults and what command line and config made of them."""
        for name in sorted(self.flags):
            kind, default = _FLAGS.get(name, ("string", ""))
            yield {
                "name": name,
                "type": kind,
                "description": name.replace("_", " ").capitalize(),
                "default_value": default,
                "value": self.flags[name],
                "shell_only": 0,
            }

    def table_osquery_registry(self) -> Rows:
        """Give plugins and tables, as the schema is learned from them."""
        tables = (("table", name) for name in self.schema)
        for registry, name in (*_PLUGINS, *tables):
            yield {"registry": registry, "name": name, "owner_uuid": 0, "internal": 0, "active": 1}

    def table_osquery_extensions(self) -> Rows:
        """Give the core, and what is registered beside it."""
        yield {"uuid": 0, "name": "core", "version": self.version, "sdk_version": "0.0.0", "type": "core"}
        for number, (name, version) in enumerate(self.extensions, start=1):
            yield {"uuid": number, "name": name, "version": version, "sdk_version": "5.23.0", "type": "extension"}

    def table_time(self) -> Rows:
        """Give the time of the host, in UTC."""
        seconds = self.clock()
        now = datetime.fromtimestamp(seconds, UTC)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        yield {
            "weekday": now.strftime("%A"),
            "year": now.year,
            "month": now.month,
            "day": now.day,
            "hour": now.hour,
            "minutes": now.minute,
            "seconds": now.second,
            "timezone": "UTC",
            "local_timezone": "UTC",
            "unix_time": int(seconds),
            "timestamp": now.strftime("%a %b %e %H:%M:%S %Y UTC"),
            "datetime": stamp,
            "iso_8601": stamp,
            "win_timestamp": int((seconds + 11_644_473_600) * 10_000_000),
        }

    def table_uptime(self) -> Rows:
        """Give the time since boot."""
        total = int(self.clock() - self.boot_time)
        minutes, seconds = divmod(total, 60)
        hours, minutes = divmod(minutes, 60)
        days, hours = divmod(hours, 24)
        yield {"days": days, "hours": hours, "minutes": minutes, "seconds": seconds, "total_seconds": total}


def _sha1(text: bytes) -> str:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()
