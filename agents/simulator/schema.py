"""The tables a host has, with osquery's column names and types (specs/ of osquery 5.23), per platform.

Notation: `name` is TEXT, `name:I` INTEGER, `name:B` BIGINT, `name:D` DOUBLE. A table stands under the platforms
that have it; EXTRA_COLUMNS come after the common ones.
"""

from typing import NamedTuple

LINUX, DARWIN, WINDOWS = "linux", "darwin", "windows"
_TYPES = {"": "TEXT", "I": "INTEGER", "B": "BIGINT", "D": "DOUBLE"}


class Column(NamedTuple):
    """A column and its declared type."""

    name: str
    type: str


EVERYWHERE = {
    "arp_cache": "address mac interface permanent",
    "carves": "time:B sha256 size:I path status carve_guid request_id carve:I",
    "certificates": "common_name subject issuer ca:I self_signed:I not_valid_before not_valid_after signing_algorithm "
    "key_algorithm key_strength key_usage subject_key_id authority_key_id sha1 path serial",
    "chrome_extensions": "browser_type uid:B name profile profile_path referenced_identifier identifier version "
    "description default_locale current_locale update_url author persistent:I path permissions permissions_json "
    "optional_permissions optional_permissions_json manifest_hash referenced:B from_webstore state install_time "
    "install_timestamp:B manifest_json key",
    "cpu_info": "device_id model manufacturer processor_type cpu_status:I number_of_cores logical_processors:I "
    "address_width current_clock_speed:I max_clock_speed:I socket_designation availability",
    "docker_containers": "id name image image_id command created:B state status pid:B path config_entrypoint "
    "started_at finished_at privileged:I security_options env_variables readonly_rootfs:I",
    "etc_hosts": "address hostnames",
    "groups": "gid:B gid_signed:B groupname",
    "interface_addresses": "interface address mask broadcast point_to_point type",
    "interface_details": "interface mac type:I mtu:I metric:I flags:I ipackets:B opackets:B ibytes:B obytes:B "
    "ierrors:B oerrors:B idrops:B odrops:B collisions:B last_change:B",
    "kernel_info": "version arguments path device",
    "listening_ports": "pid:I port:I protocol:I family:I address fd:B socket:B path",
    "logged_in_users": "type user tty host time:B pid:I",
    "os_version": "name version major:I minor:I patch:I build platform platform_like codename arch",
    "osquery_extensions": "uuid:B name version sdk_version path type",
    "osquery_flags": "name type description default_value value shell_only:I",
    "osquery_info": "pid:I uuid instance_id version config_hash config_valid:I extensions build_platform build_distro "
    "start_time:I watcher:I platform_mask:I",
    "osquery_registry": "registry name owner_uuid:I internal:I active:I",
    "platform_info": "vendor version date revision extra firmware_type",
    "process_open_sockets": "pid:I fd:B socket:B family:I protocol:I local_address remote_address local_port:I "
    "remote_port:I path state",
    "processes": "pid:B name path cmdline state cwd root uid:B gid:B euid:B egid:B suid:B sgid:B on_disk:I "
    "wired_size:B resident_size:B total_size:B user_time:B system_time:B disk_bytes_read:B disk_bytes_written:B "
    "start_time:B parent:B pgroup:B threads:I nice:I",
    "python_packages": "name version summary author license path directory",
    "routes": "destination netmask:I gateway source flags:I interface mtu:I metric:I type",
    "startup_items": "name path args type source status username",
    "system_info": "hostname uuid cpu_type cpu_subtype cpu_brand cpu_physical_cores:I cpu_logical_cores:I "
    "cpu_sockets:I cpu_microcode physical_memory:B hardware_vendor hardware_model hardware_version hardware_serial "
    "board_vendor board_model board_version board_serial computer_name local_hostname",
    "time": "weekday year:I month:I day:I hour:I minutes:I seconds:I timezone local_timezone unix_time:I timestamp "
    "datetime iso_8601",
    "uptime": "days:I hours:I minutes:I seconds:I total_seconds:B",
    "user_groups": "uid:B gid:B",
    "users": "uid:B gid:B uid_signed:B gid_signed:B username description directory shell uuid",
}
_POSIX = {
    "crontab": "event minute hour day_of_month month day_of_week command path",
    "disk_encryption": "name uuid encrypted:I type encryption_status uid user_uuid filevault_status",
    "load_average": "period average",
    "mounts": "device device_alias path type blocks_size:B blocks:B blocks_free:B blocks_available:B inodes:B "
    "inodes_free:B flags",
}
ONLY: dict[str, dict[str, str]] = {
    LINUX: {
        **_POSIX,
        "deb_packages": "name version source size:B arch revision status maintainer section priority",
        "kernel_modules": "name size:B used_by status address",
        "memory_info": "memory_total:B memory_free:B memory_available:B buffers:B cached:B swap_cached:B active:B "
        "inactive:B swap_total:B swap_free:B",
        "rpm_packages": "name version release source size:B sha1 arch epoch:I install_time:I vendor package_group",
        "systemd_units": "id description load_state active_state sub_state unit_file_state following object_path "
        "job_id:B job_type job_path fragment_path user source_path",
    },
    DARWIN: {
        **_POSIX,
        "apps": "name path bundle_executable bundle_identifier bundle_name bundle_short_version bundle_version "
        "bundle_package_type environment element compiler development_region display_name info_string "
        "minimum_system_version category applescript_enabled copyright last_opened_time:D",
        "gatekeeper": "assessments_enabled:I dev_id_enabled:I version opaque_version",
        "homebrew_packages": "path name version type auto_updates:I app_name prefix",
        "launchd": "path name label program run_at_load keep_alive on_demand disabled username groupname stdout_path "
        "stderr_path start_interval program_arguments watch_paths queue_directories inetd_compatibility "
        "start_on_mount root_directory working_directory process_type",
        "sip_config": "config_flag enabled:I enabled_nvram:I",
    },
    WINDOWS: {
        "bitlocker_info": "device_id drive_letter persistent_volume_id conversion_status:I protection_status:I "
        "encryption_method version:I percentage_encrypted:I lock_status:I",
        "logical_drives": "device_id type description free_space:B size:B file_system boot_partition:I",
        "patches": "csname hotfix_id caption description fix_comments installed_by install_date installed_on",
        "programs": "name version install_location install_source language publisher uninstall_string install_date "
        "identifying_number package_family_name upgrade_code",
        "services": "name service_type display_name status pid:I start_type win32_exit_code:I service_exit_code:I "
        "path module_path description user_account",
        "windows_security_center": "firewall autoupdate antivirus antispyware internet_settings "
        "windows_security_center_service user_account_control",
    },
}
EXTRA_COLUMNS: dict[tuple[str, str], str] = {
    (LINUX, "interface_details"): "link_speed:B pci_slot",
    (DARWIN, "interface_details"): "link_speed:B",
    (WINDOWS, "interface_details"): "friendly_name description manufacturer connection_id connection_status enabled:I "
    "physical_adapter:I speed:I",
    (WINDOWS, "interface_addresses"): "friendly_name",
    (LINUX, "listening_ports"): "net_namespace",
    (LINUX, "process_open_sockets"): "net_namespace",
    (DARWIN, "os_version"): "extra",
    (WINDOWS, "os_version"): "install_date:B revision:I",
    (LINUX, "platform_info"): "address size volume_size:I",
    (DARWIN, "platform_info"): "address size volume_size:I",
    (WINDOWS, "processes"): "elevated_token:I secure_process:I protection_type virtual_process:I elapsed_time:B "
    "handle_count:B percent_processor_time:B",
    (DARWIN, "processes"): "upid:B uppid:B cpu_type:I cpu_subtype:I translated:I",
    (WINDOWS, "users"): "type",
    (DARWIN, "users"): "is_hidden:I",
    (WINDOWS, "groups"): "group_sid comment",
    (DARWIN, "groups"): "is_hidden:I",
    (WINDOWS, "logged_in_users"): "sid registry_hive",
    (WINDOWS, "time"): "win_timestamp:B",
    (WINDOWS, "system_info"): "emulated_cpu_type",
}
_ABSENT = {WINDOWS: {"docker_containers"}}

Schema = dict[str, tuple[Column, ...]]


def _columns(text: str) -> tuple[Column, ...]:
    pairs = (word.partition(":") for word in text.split())
    return tuple(Column(name, _TYPES[kind]) for name, _, kind in pairs)


def _schema(platform: str) -> Schema:
    tables = EVERYWHERE | ONLY[platform]
    return {
        table: _columns(f"{tables[table]} {EXTRA_COLUMNS.get((platform, table), '')}")
        for table in sorted(tables)
        if table not in _ABSENT.get(platform, ())
    }


SCHEMAS: dict[str, Schema] = {platform: _schema(platform) for platform in ONLY}
