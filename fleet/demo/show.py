"""What `make demo` shows at the terminal: a first campaign as it is answered, its first rows, and where to go on."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from fleet.demo.__main__ import Demo

SQL = "SELECT name, version, platform FROM os_version"
ENROLL_SECONDS = 60.0
ROWS = 10


def launch_first(demo: "Demo", tell: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Ask all hosts which system they run, as soon as they are enrolled; give the campaign."""
    _wait_for_hosts(demo, tell)
    body = {"sql": SQL, "target": {"all": True}, "timeout": 60, "name": "First campaign: which systems are there?"}
    return cast(dict[str, Any], demo.get("/api/v1/campaigns/", body))


def show(demo: "Demo") -> None:
    """Launch the first campaign, follow it for its minute at most, then say address and login."""
    console = Console()
    if demo.options.hosts:
        with console.status("hosts enroll") as status:
            campaign = launch_first(demo, status.update)
        console.print(f"[bold]{SQL}[/bold] → {campaign['expected']} hosts")
        _follow(demo, console, campaign)
        _rows(demo, console, campaign["id"])
    facts = demo.facts()
    console.print(f"\n[bold]Console[/bold]  {facts['console']}   (certificate authority: {facts['ca']})")
    console.print(f"[bold]Login[/bold]    {facts['username']} / {facts['password']}")
    console.print(f"[bold]Data[/bold]     {facts['data_dir']}\nCtrl-C ends everything.")


def _wait_for_hosts(demo: "Demo", tell: Callable[[str], None]) -> None:
    wanted = demo.options.hosts + 1
    deadline = time.monotonic() + ENROLL_SECONDS
    while time.monotonic() < deadline:
        count = demo.get("/api/v1/hosts/?limit=1")["count"]
        tell(f"hosts enroll: {count} of {wanted}")
        if count >= wanted:
            return
        demo.look_after_all()
        time.sleep(0.3)


def _follow(demo: "Demo", console: Console, campaign: dict[str, Any]) -> None:
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
    console.print(f"{campaign['counts']['answered']} hosts answered, the campaign is {campaign['status']}")


def _rows(demo: "Demo", console: Console, campaign: int) -> None:
    items = demo.get(f"/api/v1/campaigns/{campaign}/results/?limit={ROWS}")["results"]
    rows = [(item["host"]["hostname"], row) for item in items for row in item["rows"]][:ROWS]
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    table = Table("host", *names)
    for host, row in rows:
        table.add_row(host, *(row.get(name, "") for name in names))
    console.print(table)
