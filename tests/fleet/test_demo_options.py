"""What `make demo` takes on its command line, and what its server is called then."""

import ipaddress
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from cryptography import x509

from fleet.demo import address
from fleet.demo.certificates import Certificates
from fleet.demo.options import read_options


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "70000"], "argument --port: '70000' is no port: 1 to 65535 are allowed"),
        (["--port", "0"], "argument --port: '0' is no port"),
        (["--port", "https"], "argument --port: 'https' is no port"),
        (["--hosts", "-5"], "argument --hosts: '-5' is no number of hosts: 0 to 9999999 are allowed"),
        (["--hosts", "many"], "argument --hosts: 'many' is no number of hosts"),
        (["--bind", ""], "argument --bind: '' is no IP address"),
        (["--bind", "[::1]"], "argument --bind: '[::1]' is no IP address (without brackets, without a zone)"),
        (["--bind", "fe80::1%eth0"], "argument --bind: 'fe80::1%eth0' is no IP address"),
        (["--bind", "two words"], "argument --bind: 'two words' is no IP address"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments: list[str], sentence: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "fleet.demo", *arguments], capture_output=True, text=True, timeout=90, check=False
    )

    assert (ended.returncode, ended.stdout) == (2, "")
    usage, said = ended.stderr.splitlines()
    assert usage.startswith("usage: make demo")
    assert sentence in said


@pytest.mark.parametrize(
    ("bind", "origin"),
    [
        ("127.0.0.1", "https://127.0.0.1:8412"),
        ("0.0.0.0", "https://127.0.0.1:8412"),  # noqa: S104 - nothing is started
        ("::", "https://[::1]:8412"),
        ("0:0:0:0:0:0:0:1", "https://[::1]:8412"),
        ("Fleet.Example", "https://fleet.example:8412"),
    ],
)
def test_the_origin_is_what_a_browser_makes_of_it(bind: str, origin: str) -> None:
    options = read_options(["--bind", bind])

    assert address.origin(options.bind, options.port) == origin


def test_only_loopback_is_out_of_reach_of_other_machines() -> None:
    told = {bind: address.is_private(bind) for bind in ("127.0.0.1", "127.0.0.2", "::1", "localhost", "::", "fd00::2")}

    assert [bind for bind, private in told.items() if not private] == ["::", "fd00::2"]


@pytest.mark.parametrize("bind", ["::1", "fd00::2", "fleet.example", "::", "0.0.0.0"])  # noqa: S104
def test_the_certificate_has_every_name_the_server_is_reached_by(tmp_path: Path, bind: str) -> None:
    certificates = Certificates(tmp_path / "certificates")
    certificates.make("127.0.0.1")
    certificates.make(bind)

    server = x509.load_pem_x509_certificate(certificates.server.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
    wanted = {bind}
    if bind in address.EVERYWHERE:
        own = (each.address for interface in psutil.net_if_addrs().values() for each in interface)
        wanted = {each for each in own if address.is_address(each) and not ipaddress.ip_address(each).is_link_local}
    assert found >= wanted | {"localhost", "127.0.0.1", "::1"}
