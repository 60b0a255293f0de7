"""Whatever an agent, or a person at the config, says: a value, or the one refusal that is documented, never a crash."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.carving import carves
from agents.carving.carves import CarveRefusedError, Start
from agents.carving.models import Carve
from agents.enrolling import config_document
from agents.enrolling.application import Application, EnrollmentRefusedError
from agents.gateway.log_sink import _entry
from agents.models import Host
from agents.protocol import messages
from fleet.errors import BadInputError

a_hundred = settings(max_examples=100, deadline=None)

odd_text = st.text(st.characters(), max_size=8) | st.sampled_from(["", "\0", "\ud800", "é" * 300, "9" * 30, "²"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | odd_text
deep = st.integers(1, 990).map(lambda levels: json.loads("[" * levels + "]" * levels))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_text, inner, max_size=3), max_leaves=8
)


def bodies(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Make up bodies with these members or odd ones, some not there, some cut short."""
    likely = st.fixed_dictionaries({}, optional={name: member | values | deep for name, member in members.items()})
    whole = likely.map(lambda body: json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    cut = st.tuples(whole, st.integers(0, 200)).map(lambda pair: pair[0][: pair[1]])
    return whole | whole | cut | st.binary(max_size=50)


def read(body: bytes) -> dict[str, Any] | None:
    """Take a body apart as the views do."""
    members = messages.members_of(body)
    return None if members is None else {name: messages.value_of(raw) for name, raw in members.items()}


def tried(parse: Callable[[], Any], refusal: type[Exception]) -> Any:
    """Give what it gives; None when it is refused, with a sentence that can be sent."""
    try:
        return parse()
    except refusal as error:
        str(error).encode()
        return None


lines = st.lists(st.dictionaries(odd_text, values, max_size=3), max_size=4)


@a_hundred
@given(bodies(log_type=st.sampled_from(["result", "status"]), data=lines))
def test_whatever_log_batch_comes_its_lines_can_be_kept(body: bytes) -> None:
    members = messages.members_of(body)
    batch = None if members is None else messages.log_lines_of(members)

    for line in batch[1] if batch else ():
        entry = _entry(7, batch[0], line)  # type: ignore[index]
        assert entry.endswith(b"}\n")
        assert entry.count(b"\n") == 1


tables = st.dictionaries(
    st.sampled_from(["system_info", "os_version", "osquery_info", "platform_info"]) | odd_text,
    st.dictionaries(
        st.sampled_from(["hostname", "uuid", "physical_memory", "platform", "version", "name", "cpu_brand"]) | odd_text,
        values,
    )
    | values,
    max_size=4,
)


@a_hundred
@given(
    bodies(
        enroll_secret=odd_text,
        host_identifier=odd_text,
        platform_type=st.sampled_from(["9", "21", "2", "36", "0", "-1", "1e3"]) | st.integers(),
        host_details=tables,
    )
)
def test_whatever_enroll_request_comes_is_kept_or_refused(body: bytes) -> None:
    application = tried(lambda: Application.read(read(body), "192.0.2.1"), EnrollmentRefusedError)
    if application is None:
        return
    identifier = application.host_identifier or "x"
    host = Host(**{**application.facts(), "host_identifier": identifier[:255]})
    host.hostname = host.hostname[:255] or "x"
    try:
        host.clean_fields(exclude=["enroll_secret"])
    except ValidationError as error:
        pytest.fail(f"a host that PostgreSQL would not keep: {error}")
    for text in (application.secret, identifier, host.hostname, json.dumps(host.details, ensure_ascii=False)):
        assert "\0" not in text
        text.encode()


sizes = st.integers(-1, 10) | st.sampled_from([2**20, 2**31, 2**63, 2**64])
BLOCK = {"carve_size": 2560, "block_size": 1024, "block_count": 3}


@a_hundred
@given(
    bodies(
        carve_id=st.just("5f2c3f9a-7c1e") | odd_text,
        request_id=odd_text,
        block_count=sizes,
        block_size=sizes,
        carve_size=sizes,
    )
)
def test_whatever_begin_of_a_carve_comes_is_taken_or_refused(body: bytes) -> None:
    start = tried(lambda: Start.read(read(body) or {}), CarveRefusedError)
    if start is None:
        return
    if not start.objection:
        assert start.block_count <= carves.MOST_BLOCKS
        carve = Carve(
            block_count=start.block_count, block_size=start.block_size, carve_size=start.carve_size, carve_id="x"
        )
        blocks = [carves._size_of_block(carve, number) for number in range(start.block_count)]
        assert sum(blocks) == start.carve_size
        assert all(0 <= size <= start.block_size for size in blocks)


@a_hundred
@given(
    bodies(block_id=sizes, data=st.binary(max_size=9).map(lambda data: data.hex()) | st.text("AZaz09+/=", max_size=9))
)
def test_whatever_block_of_a_carve_comes_is_read_or_refused(body: bytes) -> None:
    members = read(body) or {}
    number = tried(lambda: carves._number(members, "block_id"), CarveRefusedError)
    data = tried(lambda: carves._bytes(members.get("data")), CarveRefusedError)

    assert number is None or 0 <= number < 2**63
    assert data is None or isinstance(data, bytes)


options = st.dictionaries(
    st.sampled_from(["distributed_interval", "disable_distributed", "distributed_plugin", "tls_hostname"]) | odd_text,
    scalars,
    max_size=4,
)
documents = st.fixed_dictionaries({}, optional={"options": options | values, "schedule": values | deep, "é": values})


@a_hundred
@given(documents | values | deep)
def test_whatever_config_is_taken_agents_can_read(document: Any) -> None:
    if tried(lambda: [config_document.check(document)], BadInputError) is None:
        return
    served = messages.config(config_document.text_of(document).encode(), 2)
    assert len(served) < config_document.MOST_BYTES
    assert b"\\u0000" not in served.replace(b"\\\\", b"")
    assert isinstance(json.loads(served)["options"], dict)
    assert all(map(str.encode, config_document.warnings_of(document)))
