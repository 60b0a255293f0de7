"""`live sql ID "SELECT …"` and `live diff BEFORE AFTER`: what people make of answers, on the terminal."""

import csv
import json
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from campaigns.live.server import ANSWERED, BAD_INPUT, Server, StoppedError
from fleet.spreadsheets import harmless
from fleet.text import shown

ASKED_FOR = 60.0  # seconds: a server that is busy with other analyses is asked again
MOST_COLUMN = 200  # characters of a cell where no terminal has a width
Say = Callable[[str], Any]


def sql(options: dict[str, Any], words: list[str], say: Say) -> int:
    """Run SQL over the answers of a campaign; give the exit status."""
    if len(words) != 2:
        raise StoppedError(BAD_INPUT, 'say which campaign and what: live sql ID "SELECT … FROM answers"')
    path = f"/api/v1/campaigns/{_number(words[0])}/sql/"
    answer = _server(options, say).ask_until(ASKED_FOR, "POST", path, {"sql": words[1]})
    names = [column["name"] for column in answer["columns"]]
    _write(options["format"], names, answer["rows"])
    cut = "; more rows were found than are given" if answer["truncated"] else ""
    say(f"{len(answer['rows'])} rows in {answer['took_ms'] / 1000:.1f} s, as of seq {answer['as_of_seq']}{cut}")
    return ANSWERED


def diff(options: dict[str, Any], words: list[str], say: Say) -> int:
    """Compare two campaigns, the earlier one first; give the exit status."""
    if len(words) != 2:
        raise StoppedError(BAD_INPUT, "say which two campaigns, the earlier one first: live diff BEFORE AFTER")
    before, after = map(_number, words)
    asked = {"with": before, "ignore": options["ignore"], "limit": 1000}
    if options["groups"]:
        asked["groups"] = "true"
    server, offset = _server(options, say), 0
    names: list[str] = []
    lines: list[list[Any]] = []
    while True:
        query = urlencode({**asked, "offset": offset}, doseq=True)
        page = server.ask_until(ASKED_FOR, "GET", f"/api/v1/campaigns/{after}/diff/?{query}")
        names = [*(("change", "hosts") if options["groups"] else ("host", "change", "")), *page["columns"]]
        for item in page["results"]:
            lines += _group(item, page["columns"]) if options["groups"] else _host(item, page["columns"])
        offset += len(page["results"])
        if page["next"] is None:
            break
    _write(options["format"], names, lines)
    hosts = page["hosts"]
    say(f"hosts: {hosts['changed']} changed, {hosts['added']} only in {after}, {hosts['removed']} only in {before}")
    if suggested := [name for name in page["suggested_ignore"] if name not in options["ignore"]]:
        say(f"always different: {', '.join(map(shown, suggested))}; leave out with --ignore")
    return ANSWERED


def _number(word: str) -> int:
    if not (word.isascii() and word.isdecimal()):
        raise StoppedError(BAD_INPUT, f"{word!r} is not the number of a campaign")
    return int(word)


def _server(options: dict[str, Any], say: Say) -> Server:
    return Server(options["url"], options["token"], options["ca"], lambda sentence: say(shown(sentence)))


def _host(item: dict[str, Any], columns: list[str]) -> list[list[Any]]:
    before = [item["host"]["hostname"], item["change"]]
    rows = [("-", row) for row in item["removed"]] + [("+", row) for row in item["added"]]
    return [[*before, sign, *(row.get(name, "") for name in columns)] for sign, row in rows or [("", {})]]


def _group(item: dict[str, Any], columns: list[str]) -> list[list[Any]]:
    return [[item["change"], item["hosts"], *(item["row"].get(name, "") for name in columns)]]


# --- writing ---------------------------------------------------------------------------------------------------


def _write(form: str, names: list[str], rows: list[list[Any]]) -> None:
    if form == "ndjson":
        for row in rows:
            sys.stdout.write(json.dumps(dict(zip(names, row, strict=True))) + "\n")
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(map(harmless, names))
        writer.writerows([harmless(_text(cell)) for cell in row] for row in rows)
    else:
        _draw(names, rows)
    sys.stdout.flush()


def _draw(names: list[str], rows: list[list[Any]]) -> None:
    console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
    table = Table(*(Column(header=_cell(name), overflow="fold") for name in names))
    for row in rows:
        table.add_row(*(_cell(_text(value)) for value in row))
    if not sys.stdout.isatty():
        console.width = max(80, sum(2 + MOST_COLUMN for _ in names))
    console.print(table)


def _text(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)


def _cell(value: Any) -> Text:
    encoding = sys.stdout.encoding or "ascii"
    return Text(shown(value).encode(encoding, "backslashreplace").decode(encoding), overflow="fold")
