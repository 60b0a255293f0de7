"""What can be asked of a server, each as steps."""

import uuid
from collections.abc import Sequence
from typing import Any, TypedDict
from urllib.parse import parse_qsl, urlsplit

from fleet_live_queries.errors import BadInputError, ConflictError
from fleet_live_queries.steps import Chunk, Give, Json, Patience, Request, Steps, answered, call

API = "/api/v1"
PLACES = ("cursor", "offset", "up_to", "after", "before")  # in the address of a page: where it lies
PAGE = 1000
SILENT_STATES = ("no_answer", "missed", "held_back", "stopped")
EXPORTS = ("csv", "ndjson", "json", "parquet", "xlsx")
LAUNCH_SECONDS = 30.0
ANALYSIS_SECONDS = 300.0  # the server copies answers for up to 120, twice for a comparison, and then works on them


class Order(TypedDict, total=False):
    """What a launch takes beside its SQL: who is meant, and how."""

    query: int | None  # a saved one, instead of SQL
    all_hosts: bool
    labels: Sequence[str]
    platforms: Sequence[str]
    hosts: Sequence[str | int]
    exclude_labels: Sequence[str]
    online: bool
    sample: Json | None
    timeout: int | None  # seconds
    answer_within: int | None  # seconds
    name: str | None
    reason: str | None
    start_at: str | None
    rollout: Json | None
    include_late_joiners: bool | None
    force: bool | None


NAMING = ("labels", "platforms", "hosts")
OF_TARGET = ("all_hosts", *NAMING, "exclude_labels", "online", "sample")


def body_of(sql: str | None, order: Order) -> Json:
    """Give the body of a launch. Raise BadInputError when nobody is meant."""
    beside = {name: value for name, value in order.items() if name not in OF_TARGET and value is not None}
    return {**({} if sql is None else {"sql": sql}), "target": _target_of(order), **beside}


def _target_of(order: Order) -> Json:
    target: Json = {}
    for name in (*NAMING, "exclude_labels"):
        values: Any = order.get(name)
        if isinstance(values, str):
            raise BadInputError(f"{name} {values!r} is one text, a list of names is meant")
        if values is not None:
            target[name] = [*values]  # an empty one selects nobody; left out, it would narrow nothing
    if order.get("all_hosts"):
        target["all"] = True
    if not any(target.get(name) for name in ("all", *NAMING)):
        raise BadInputError("say who is meant: all hosts, labels, platforms or hosts")
    if order.get("online"):
        target["online"] = True
    if order.get("sample"):
        target["sample"] = order["sample"]
    return target


def launch(body: Json) -> Steps[Json]:
    """Launch, once even where it has to be said twice: the key makes it one campaign."""
    return (yield from _launched("campaigns/", body))


def _launched(path: str, body: Json) -> Steps[Json]:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    campaign: Json = yield from call(Request("POST", f"{API}/{path}", body=body, headers=key), Patience(LAUNCH_SECONDS))
    return campaign


def get(
    path: str, query: Json | None = None, patience: Patience | None = None, seconds: float | None = None
) -> Steps[Any]:
    """Give what is at an address below the API."""
    return (yield from call(Request("GET", f"{API}/{path}", query or {}, seconds=seconds), patience))


def post(path: str, body: Any = None) -> Steps[Any]:
    """Tell something to an address below the API."""
    return (yield from call(Request("POST", f"{API}/{path}", body=body)))


def stop(number: int) -> Steps[Json]:
    """Stop a campaign; that it is stopped already is no conflict."""
    request = Request("POST", f"{API}/campaigns/{number}/stop/", repeats=True)
    try:
        campaign: Json = yield from call(request, Patience(LAUNCH_SECONDS, at_first=True))
    except ConflictError:
        campaign = yield from look_at(number)
        if campaign["status"] != "stopped":
            raise
    return campaign


def look_at(number: int, patience: Patience | None = None) -> Steps[Json]:
    """Give a campaign as it is now."""
    campaign: Json = yield from get(f"campaigns/{number}/", patience=patience)
    return campaign


def analyse(path: str, sql: str) -> Steps[Json]:
    """Run SQL over answers; a server that is busy with others' is asked again."""
    request = Request("POST", f"{API}/{path}", body={"sql": sql}, repeats=True, seconds=ANALYSIS_SECONDS)
    answer: Json = yield from call(request, Patience(60.0))
    return answer


def all_of(path: str, query: Json | None = None, most: int | None = None) -> Steps[None]:
    """Give every item of a list, page by page, none twice though it may grow meanwhile."""
    given, asked = 0, {"limit": min(PAGE, most or PAGE), **(query or {})}
    page = yield from _first_page(path, asked, query or {})
    while True:
        for item in page["results"]:
            if most is not None and given >= most:
                return
            yield Give(item)
            given += 1
        if page["next"] is None or not page["results"]:
            return
        asked = _asked_next(asked, page["next"])
        page = yield from get(path, asked)


def _first_page(path: str, asked: Json, without_limit: Json) -> Steps[Json]:
    """Give the first page of a list; one that is not in pages takes no limit, and is one page."""
    try:
        page = yield from get(path, asked)
    except BadInputError as error:
        if "limit" in without_limit or "limit" not in error.fields:
            raise
        page = yield from get(path, without_limit)
    return {"results": page, "next": None} if isinstance(page, list) else page


def _asked_next(asked: Json, address: str) -> Json:
    """Give what the following page is asked with: the same, but for the place that its address names."""
    named = dict(parse_qsl(urlsplit(address).query))
    kept = {name: value for name, value in asked.items() if name not in PLACES}
    return {**kept, **{name: named[name] for name in PLACES if name in named}}


def silent(number: int) -> Steps[None]:
    """Give the hosts of a campaign that said nothing."""
    for state in SILENT_STATES:
        yield from all_of(f"campaigns/{number}/targets/", {"state": state})


def groups(number: int, by: Sequence[str] = ()) -> Steps[None]:
    """Give combinations of values and by how many hosts each is borne, most hosts first."""
    if isinstance(by, str):
        raise BadInputError(f"by {by!r} is one text, a list of columns is meant")
    yield from all_of(f"campaigns/{number}/groups/", {"by": list(by)} if by else {})


def export(number: int, form: str) -> Steps[None]:
    """Give a file of every row, piece by piece."""
    if form not in EXPORTS:
        raise BadInputError(f"format {form!r} is unknown, allowed are {', '.join(EXPORTS)}")
    file = f"{API}/campaigns/{number}/export.{form}"
    yield from answered(Request("GET", file, streams=True, seconds=ANALYSIS_SECONDS))
    while piece := (yield Chunk()):
        yield Give(piece)


def query_named(name: str) -> Steps[Json]:
    """Give the saved query of this name. Raise BadInputError when there is none."""
    asked: Json = {"search": name, "limit": PAGE}
    while True:
        page = yield from get("queries/", asked)
        for query in page["results"]:
            if query["name"] == name:
                found: Json = query
                return found
        if page["next"] is None:
            raise BadInputError(f"unknown query: {name!r}")
        asked = _asked_next(asked, page["next"])


def rerun(number: int, states: Sequence[str]) -> Steps[Json]:
    """Ask the hosts that ended in these states again, as a new campaign; once even where it has to be said twice."""
    if isinstance(states, str):
        raise BadInputError(f"states {states!r} is one text, a list of states is meant")
    return (yield from _launched(f"campaigns/{number}/rerun/", {"states": list(states)}))


def widen(number: int, body: Json) -> Steps[Json]:
    """Let more hosts have it."""
    campaign: Json = yield from post(f"campaigns/{number}/widen/", body)
    return campaign


def results(number: int, after: int = 0) -> Steps[None]:
    """Give the answers that have come after a seq, each host's once."""
    while items := (yield from get(f"campaigns/{number}/results/", {"after": after, "limit": PAGE}))["results"]:
        for item in items:
            yield Give(item)
            after = item["seq"]
