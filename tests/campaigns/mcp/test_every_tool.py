"""Every tool, driven by the schema that it publishes: whatever is sent, a result or a sentence, and no failure."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import httpx
import jsonschema_rs
import pytest
import schemathesis
from schemathesis import Case
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.python._constants.orchestrator import make_constants_value_source

from campaigns.models import Campaign
from campaigns.tokens import ApiToken
from tests.campaigns.mcp.world import World
from tests.driving import CONFIG, SAME_AT_EVERY_RUN, fit
from tests.factories import make_campaign

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("board"),
    pytest.mark.processes,
]


EVERY = {
    "estimate": 9,
    "launch": 9,
    "rows": 3,
    "groups": 3,
}  # of their calls one of so many is sent: there are hundreds


class Caller:
    """Calls tools as a program does that has no SDK."""

    def __init__(self, address: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
        self._http, self._address = httpx.Client(headers=headers, timeout=90), address

    def post(self, content: bytes, kind: str = "application/json", **headers: str) -> httpx.Response:
        return self._http.post(self._address, content=content, headers={"Content-Type": kind, **headers})

    def sent(self, method: str, params: dict[str, Any]) -> httpx.Response:
        return self.post(json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode())

    def tools(self) -> dict[str, dict[str, Any]]:
        """Give the schema of each tool's arguments."""
        listed = self.sent("tools/list", {}).json()["result"]["tools"]
        return {tool["name"]: tool["inputSchema"] for tool in listed}

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def caller(world: World, address: str) -> Iterator[Caller]:
    """Give one who may do everything, any number of times."""
    caller = Caller(address, world.token(world.boss))
    yield caller
    caller.close()


def document_of(tools: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Give the tools as an API of one address each."""
    paths = {
        f"/{name}": {
            "post": {
                "operationId": name,
                "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
                "responses": {"200": {"description": "a result"}},
            }
        }
        for name, schema in tools.items()
    }
    return {"openapi": "3.1.0", "info": {"title": "tools", "version": "1"}, "paths": paths}


def known(world: World, going: Campaign) -> dict[str, Any]:
    """Give such as there are of what no schema knows, by the names of members; see `tests.driving.fit`."""
    return {
        "by": "pid",
        "campaign": world.over.pk,
        "contains": "pid:1",
        "host": world.hosts[0].pk,
        "order": "-host",
        "groups.order": "-hosts",
        "query": None,
        "rollout": {"canary": {"count": 1}},
        "sql": "SELECT 1",
        "start_at": None,
        "stop.campaign": going.pk,
        "target": {"all": True},
        "up_to": world.over.last_seq,
        "wait": 0,
        "where": "pid:1",
    }


class Drive:
    """The calls of one tool, and how they were answered."""

    def __init__(self, tool: str, schema: dict[str, Any], caller: Caller, such: dict[str, Any]) -> None:
        self.tool, self.caller, self.such = tool, caller, such
        self.taken = jsonschema_rs.validator_for(schema)
        self.answered: Counter[str] = Counter()

    def ask(self, case: Case) -> None:
        """Send arguments as they were generated, and made to fit; what is no object is none."""
        if not isinstance(case.body, dict) or crc32(repr(case.body).encode()) % EVERY.get(self.tool, 1):
            return
        self.send(case)
        if fit(case, self.such):
            self.send(case)

    def send(self, case: Case) -> None:
        """Send arguments and look at the answer."""
        answer = self.caller.sent("tools/call", {"name": self.tool, "arguments": case.body})
        said = answer.json()
        what = f"{self.tool} {json.dumps(case.body)[:500]}"

        if answer.status_code == 400:  # no JSON of ours: it reaches no tool
            sentence = said["error"]["message"]
            assert "64 bits" in sentence or "half a character" in sentence, what
        else:
            assert (answer.status_code, said["id"]) == (200, 7), what
            content = said["result"]["content"][0]["text"]
            sentence = content if said["result"]["isError"] else ""
        self.answered["refused" if sentence else "done"] += 1
        if sentence:
            assert " " in sentence, what
            assert "failed to answer" not in sentence, what
        else:
            assert json.loads(content) == said["result"]["structuredContent"], what
            assert self.taken.is_valid(case.body), f"{what} was taken, and its schema says that it is not"


@SAME_AT_EVERY_RUN
def generated(case: Case, drive: Drive) -> None:
    drive.ask(case)


def test_no_call_of_a_tool_is_too_much(world: World, caller: Caller) -> None:
    tools = caller.tools()
    document = schemathesis.openapi.from_dict(document_of(tools), config=CONFIG)
    feedback = FeedbackSources(constants_value_source=make_constants_value_source(document))
    ApiToken.objects.update(is_throttled=False)

    for name, schema in tools.items():
        operation = document.find_operation_by_label(f"POST /{name}")
        test = build_operation_test(
            config=document.config, operation=operation, test_func=generated, given_kwargs={}, feedback=feedback
        )
        drive = Drive(name, schema, caller, known(world, make_campaign(*world.hosts, by=world.boss)))
        test(drive=drive)

        assert drive.answered["done"], f"{name} did nothing: {drive.answered}"
        assert drive.answered["refused"], f"{name} refused nothing: {drive.answered}"


# what is sent instead of a call -> what the sentence says
BODY = {
    b"": "not JSON",
    b"null": "the body is null",
    b"[]": "the body is []",
    b'{"jsonrpc": "2.0", "id": NaN}': "not JSON",
    b'{"id": 1e400}': "out of range",
    b'{"id": "\\ud800"}': "\\ud800 is half a character",
    b"\xff": "not JSON",
    b'{"id": 1, "id": 2}': 'the member "id" twice',
    b'{"a":' * 1000 + b"1" + b"}" * 1000: "deeper than 32",
    b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}': 'jsonrpc "1.0" is not',
    b'{"jsonrpc": "2.0", "id": null, "method": "ping"}': "id null is neither",
    b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}': "id 1.5 is neither",
    b'{"jsonrpc": "2.0", "id": 1, "method": 5}': "method 5 is not",
    b'{"jsonrpc": "2.0", "id": 1}': "method is missing",
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": [3]}': "params [3] is not",
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": 5}}': "params.cursor 5",
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}}': "params.name is missing",
    b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "sql", "arguments": 3}}': "arguments 3",
    b'{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}': "params.capabilities is missing",
}


def test_what_is_no_call_is_refused_in_a_sentence(caller: Caller) -> None:
    refused = {said: caller.post(body) for body, said in BODY.items()}
    kinds = [caller.post(b"{}", kind=kind) for kind in ("text/plain", "", "application/x-www-form-urlencoded")]
    unanswerable = caller.post(b"{}", Accept="text/html")

    assert {answer.status_code for answer in refused.values()} == {400}
    assert [said for said, answer in refused.items() if said not in answer.json()["error"]["message"]] == []
    assert [answer.status_code for answer in (*kinds, unanswerable)] == [415, 415, 415, 406]
    assert ["Content-Type '" in answer.json()["error"]["message"] for answer in kinds] == [True, True, True]
    assert "'text/html'" in unanswerable.json()["error"]["message"]
    assert refused["params.cursor 5"].json()["id"] == 1


def test_a_megabyte_is_refused_in_a_short_sentence(world: World, caller: Caller) -> None:
    over = {"campaign": world.over.pk}
    large = {
        "where": ("rows", {**over, "where": [f"pid:{n}" for n in range(50_000)]}),
        "contains": ("rows", {**over, "contains": ["pid:1"] * 50_000}),
        "host": ("rows", {**over, "host": list(range(100_000))}),
        "order": ("rows", {**over, "order": "-" * 500_000}),
        "by": ("groups", {**over, "by": ["pid"] * 50_000}),
        "unknown member": ("rows", {f"member{n}": n for n in range(30_000)}),
        "unknown label": ("estimate", {"target": {"labels": [f"label {n}" for n in range(20_000)]}}),
        "there is no tool": ("x" * 900_000, {}),
    }

    told = {
        part: caller.sent("tools/call", {"name": name, "arguments": asked}).json()["result"]
        for part, (name, asked) in large.items()
    }
    sentences = {part: result["content"][0]["text"] for part, result in told.items() if result["isError"]}

    assert set(sentences) == set(large)
    assert [part for part, sentence in sentences.items() if part not in sentence or len(sentence) > 2_000] == []
