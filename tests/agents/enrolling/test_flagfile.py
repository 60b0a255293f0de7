"""The flagfile: flags that osquery has, endpoints that the gateway serves, values that osqueryd can use."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from agents.enrolling.flagfile import Joining
from agents.gateway.app import Gateway
from agents.protocol.endpoints import verb_of
from tests.conftest import Agent

# Protocol notes, section 7: flags of osquery 5.23 that a host needs to talk to a server.
OSQUERY_FLAGS = """
    tls_hostname tls_server_certs tls_client_cert tls_client_key tls_session_reuse tls_session_timeout tls_accept_gzip
    proxy_hostname dns_resolver_refresh_interval enroll_tls_endpoint enroll_secret_path enroll_secret_env enroll_always
    disable_enrollment disable_reenrollment tls_enroll_max_attempts tls_enroll_max_interval host_identifier
    specified_identifier config_plugin config_tls_endpoint config_tls_max_attempts config_refresh
    config_accelerated_refresh config_enable_backup logger_plugin logger_tls_endpoint logger_tls_period
    logger_tls_max_lines logger_tls_max_linesize logger_tls_compress logger_tls_backoff_max tls_disable_status_log
    buffered_log_max logger_event_type logger_snapshot_event_type logger_numerics logger_min_status
    disable_distributed distributed_plugin distributed_interval distributed_tls_read_endpoint
    distributed_tls_write_endpoint distributed_tls_max_attempts distributed_denylist_duration distributed_loginfo
    disable_carver carver_start_endpoint carver_continue_endpoint carver_block_size carver_compression
    carver_disable_function carver_expiry read_max
"""
FILES = {"ca": "/etc/osquery/ca.pem", "secret_file": "/etc/osquery/secret"}
CLIENT = {"client_cert": "/etc/osquery/host.pem", "client_key": "/etc/osquery/host-key.pem"}


def flags_of(text: str) -> dict[str, str]:
    """Read a flagfile as osqueryd does: a flag a line, comments left out."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(line.startswith("--") for line in lines)
    return dict(line[2:].split("=", 1) for line in lines)


def written(**options: Any) -> dict[str, str]:
    out = StringIO()
    call_command("osquery_flags", stdout=out, **{"hostname": "fleet.example.org:8443", **FILES, **options})
    return flags_of(out.getvalue())


def test_every_flag_is_one_of_osquery() -> None:
    assert set(written(**CLIENT)) <= set(OSQUERY_FLAGS.split())


def test_every_flag_says_what_it_is_for() -> None:
    text = Joining("fleet.example.org", interval=2, **FILES).text()

    above = set(text.splitlines()[::2])
    assert len(above) == len(flags_of(text))
    assert all(line.startswith("# ") and line.endswith(".") for line in above)


@pytest.mark.parametrize("prefix", ["/api/osquery/", "/api/v1/osquery/"])
def test_every_endpoint_is_one_that_the_gateway_serves(
    prefix: str, gateway: Gateway, agent: Callable[[int], Agent]
) -> None:
    endpoints = [value for name, value in written(prefix=prefix).items() if name.endswith("_endpoint")]
    verbs = [verb_of(endpoint) for endpoint in endpoints]

    assert len(endpoints) == 7
    assert set(verbs) == {*gateway._handlers, *gateway._cold}
    for verb in gateway._handlers:
        assert "no such endpoint" not in str(agent(1).post(verb, {"node_key": agent(1).key}))


def test_the_files_and_the_address_are_taken_over() -> None:
    flags = written(**CLIENT, host_identifier="instance")

    assert flags["tls_hostname"] == "fleet.example.org:8443"
    assert flags["tls_server_certs"] == FILES["ca"]
    assert flags["enroll_secret_path"] == FILES["secret_file"]
    assert (flags["tls_client_cert"], flags["tls_client_key"]) == tuple(CLIENT.values())
    assert flags["host_identifier"] == "instance"
    assert flags["disable_distributed"] == flags["disable_carver"] == "false"
    assert "tls_client_cert" not in written()


@pytest.mark.parametrize(("hold", "interval"), [(10.0, "2"), (0.0, "10")])
def test_the_interval_goes_with_held_reads(settings: Any, hold: float, interval: str) -> None:
    settings.HOLD_SECONDS = hold

    assert written()["distributed_interval"] == interval


def test_a_block_is_never_larger_than_what_is_taken(settings: Any) -> None:
    assert written()["carver_block_size"] == "2000000"
    settings.CARVE_MAX_BLOCK_BYTES = 100_000
    assert written()["carver_block_size"] == "100000"


def test_paths_of_windows_are_absolute_too() -> None:
    assert written(ca=r"C:\Program Files\osquery\ca.pem")["tls_server_certs"] == r"C:\Program Files\osquery\ca.pem"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("hostname", ""),
        ("hostname", "https://fleet.example.org"),
        ("hostname", "fleet.example.org/api"),
        ("hostname", "[::1]:8443"),
        ("hostname", "fleet.example.org:0"),
        ("hostname", "fleet.example.org:99999"),
        ("hostname", "fleet example"),
        ("hostname", "fleet.example.org\n--verbose"),
        ("ca", "ca.pem"),
        ("ca", ""),
        ("ca", "/etc/ca.pem\n--verbose"),
        ("secret_file", "secret"),
        ("client_cert", "/etc/osquery/host.pem"),
        ("client_key", "/etc/osquery/host-key.pem"),
        ("prefix", "/osquery/"),
        ("host_identifier", "serial"),
    ],
)
def test_what_osqueryd_could_not_use_is_refused_by_name(option: str, value: str) -> None:
    with pytest.raises(CommandError) as refused:
        written(**{option: value})

    assert option in str(refused.value).replace("-", "_")


def test_the_file_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    call_command("osquery_flags", hostname="fleet.example.org", output=tmp_path / "osquery.flags")

    assert flags_of((tmp_path / "osquery.flags").read_text())["tls_hostname"] == "fleet.example.org"


def test_without_a_hostname_it_is_that_of_the_public_address(settings: Any) -> None:
    settings.PUBLIC_URL = "https://fleet.example.org:8443"
    out = StringIO()

    call_command("osquery_flags", stdout=out)

    assert flags_of(out.getvalue())["tls_hostname"] == "fleet.example.org:8443"


def test_log_lines_come_within_minutes_after_an_outage() -> None:
    assert 0 < int(written()["logger_tls_backoff_max"]) < 3600


def test_a_server_that_drops_log_lines_says_so_in_the_flagfile(settings: Any) -> None:
    def text() -> str:
        out = StringIO()
        call_command("osquery_flags", stdout=out, hostname="fleet.example.org", **FILES)
        return out.getvalue()

    settings.LOG_SINK = ""
    without = text()
    settings.LOG_SINK = "file:///var/log/osquery.ndjson"

    assert "drops them: LOG_SINK is not set" in without
    assert "LOG_SINK" not in text()
    assert flags_of(without) == flags_of(text())
