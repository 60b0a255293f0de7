"""What `make demo` shows at the terminal: a first campaign as it is answered, its first rows, and where to go on."""

import time
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Any, cast
from urllib.error import HTTPError

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

from fleet.counting import counted
from fleet.demo.demo import Demo
from fleet.demo.supervisor import say
from fleet.text import shown

SQL = "SELECT name, version, platform FROM os_version"
ONLINE = {"all": True, "online": True}
ENROLL_SECONDS = 60.0
ROWS = 10
TROUBLES = (OSError, HTTPException)  # the web process may be one that dies and is started again


def launch_first(demo: Demo, tell: Callable[[str], None] = lambda _: None) -> dict[str, Any] | None:
    """Ask who is online which system they run, as soon as all are; give the campaign, None if there is one already."""
    if demo.get("/api/v1/campaigns/?limit=1")["results"]:
        return None
    _wait_for_hosts(demo, tell)
    body = {"sql": SQL, "target": ONLINE, "timeout": 60, "name": "First campaign: which systems are there?"}
    return cast(dict[str, Any], demo.get("/api/v1/campaigns/", body))


def launch_quietly(demo: Demo) -> None:
    """Launch the first campaign for those who read no terminal."""
    try:
        launch_first(demo)
    except TROUBLES as error:
        say(f"no first campaign: {_why(error)}")


def show(demo: Demo) -> None:
    """Launch the first campaign and follow it for its minute at most, the first time; then say address and login."""
    console, kept = Console(), False
    if demo.options.hosts:
        try:
            kept = not _show_first(demo, console)
        except TROUBLES as error:
            say(f"the first campaign cannot be shown: {_why(error)}")
    for line in _addresses(demo, kept=kept):
        console.print(line, soft_wrap=True, highlight=False)  # a path that is broken into lines cannot be copied


def _addresses(demo: Demo, *, kept: bool) -> Iterator[str]:
    facts = {name: escape(shown(value)) for name, value in demo.facts().items()}
    yield f"\n[bold]Console[/bold]  {facts['console']}   (certificate authority: {facts['ca']})"
    yield f"[bold]Login[/bold]    {facts['username']} / {facts['password']}"
    yield f"[bold]Data[/bold]     {facts['data_dir']}"
    if kept:
        yield f"[bold]Kept[/bold]     earlier campaigns: {facts['console']}/campaigns/ (there they can be run again)"
    yield "Ctrl-C ends everything."


def _show_first(demo: Demo, console: Console) -> bool:
    """Say whether there was a first campaign to launch and show."""
    with console.status("hosts enroll") as status:
        campaign = launch_first(demo, status.update)
    if campaign is None:
        return False
    console.print(f"[bold]{SQL}[/bold] → {counted(campaign['expected'], 'host')}")
    _follow(demo, console, campaign)
    _rows(demo, console, campaign["id"])
    return True


def _why(error: Exception) -> str:
    return error.read().decode(errors="replace")[:500] if isinstance(error, HTTPError) else str(error)


def _wait_for_hosts(demo: Demo, tell: Callable[[str], None]) -> None:
    wanted = demo.options.hosts + 1
    deadline = time.monotonic() + ENROLL_SECONDS
    while time.monotonic() < deadline:
        count = demo.get("/api/v1/campaigns/estimate/", {"target": ONLINE})["targeted"]
        tell(f"hosts enroll: {count} of {wanted}")
        if count >= wanted:
            return
        demo.look_after_all()
        time.sleep(0.3)


def _follow(demo: Demo, console: Console, campaign: dict[str, Any]) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("final", total=campaign["expected"])
        while campaign["ended_at"] is None:
            demo.look_after_all()
            time.sleep(0.3)
            campaign = demo.get(f"/api/v1/campaigns/{campaign['id']}/")
            counts = campaign["counts"]
            open_ = counts["waiting"] + counts["delivered"]
            words = "  ".join(f"{name} {counts[name]}" for name in ("answered", "failed", "delivered", "waiting"))
            progress.update(bar, completed=counts["targeted"] - open_, description=words)
            if counts["targeted"] and counts["answered"] + counts["failed"] >= 0.9 * counts["targeted"]:
                break  # the silent ones are waited for by the campaign, not by the person
    console.print(
        f"{counted(campaign['counts']['answered'], 'host')} answered, the campaign is {shown(campaign['status'])}"
    )


def _rows(demo: Demo, console: Console, campaign: int) -> None:
    items = demo.get(f"/api/v1/campaigns/{campaign}/results/?limit={ROWS}")["results"]
    rows = [(item["host"]["hostname"], row) for item in items for row in item["rows"]][:ROWS]
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    table = Table("host", *(Column(_cell(name)) for name in names))
    for host, row in rows:
        table.add_row(*(_cell(value) for value in (host, *(row.get(name, "") for name in names))))
    console.print(table)


def _cell(value: str) -> Text:
    """Give what a host sent as it is: rich would take brackets for markup, and `:cd:` for an emoji."""
    return Text(shown(value))
