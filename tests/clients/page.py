"""docs/command-line.md as somebody reads it: its options, its lines, and words that try every one of its options."""

import re
from pathlib import Path

from fleet_live_queries import Client, verbs

from tests.end_to_end.conftest import wait_for

PAGE = (Path(__file__).parents[2] / "docs/command-line.md").read_text()
LINES = re.findall(r"^    (?!pip )(\S.*)$", PAGE, re.MULTILINE)  # what is printed there to be typed
SQL = "SELECT version FROM osquery_info"
TRIED = (  # each with the exit status it has; the first one writes what others read
    (("queries", "pull", "{folder}/kept", "--prune"), 0),
    (("stop", "{going}", "--json"), 0),
    ((SQL, "--query", "{query}", "--all"), 2),
    (("--query", "{query}", "--hosts", "@{hosts}", "--label", "answers", "--exclude", "quiet", "--online"), 0),
    ((SQL, "--platforms", "darwin,windows", "--platform", "linux", "--exclude", "quiet", "--then", "auto"), 2),
    ((SQL, "--platforms", "darwin,windows", "--platform", "linux", "--exclude", "quiet", "--timeout", "200"), 0),
    ((SQL, "--labels", "answers", "--canary", "1", "--then", "auto", "--name", "a", "--reason", "b", "--force"), 0),
    ((SQL, "--labels", "answers", "--sample", "100%", "--group-by", "version"), 0),
    ((SQL, "--host", "{one}", "--host", "{silent}", "--until", "50%", "--silent", "{folder}/silent"), 3),
    (("--rerun", "{id}", "--states", "answered", "--until", "online", "--format", "csv"), 0),
    ((SQL, "--host", "{one}", "--json"), 0),
    (("completion", "bash"), 0),
    (("diff", "{id}", "{other}", "--ignore", "version", "--groups", "--format", "csv"), 0),
    (("diff", "{id}", "{other}", "--json"), 0),
    (("export", "{id}", "--format", "xlsx", "--output", "{folder}/rows.xlsx"), 0),
    (
        ("hosts", "--search", "{one}", "--platform", "linux", "--label", "Linux", "--online", "--limit", "1", "--json"),
        0,
    ),
    (("labels", "--search", "Linux", "--json"), 0),
    (("login", "--list"), 0),
    (("ls", "--search", "osquery_info", "--status", "completed", "--limit", "1", "--json"), 0),
    (("queries", "push", "{folder}/kept", "--dry-run"), 0),
    (("queries", "diff", "{folder}/kept"), 0),
    (("queries", "import", "{pack}", "--into", "{folder}/taken", "--replace"), 0),
    (("rows", "{id}", "--follow", "--format", "csv"), 0),
    (("rows", "{id}", "--json"), 0),
    (("schema", "--platform", "linux", "--json"), 0),
    (("schema", "osquery_info"), 0),
    (("show", "{id}", "--json"), 0),
    (("sql", "{id}", "SELECT count(*) FROM answers", "--format", "csv"), 0),
    (("sql", "{id}", "SELECT count(*) FROM answers", "--json"), 0),
)


def staged(client: Client, answering: list[str], silent: list[str], folder: Path) -> dict[str, str]:
    """Make what the names and numbers in TRIED stand for: campaigns, one of which goes on, labels, files."""
    order = {"sql": SQL, "target": {"hosts": [*answering, *silent]}, "timeout": 300}
    first, going = client.launch(order), client.launch(order)
    other = client.ask(SQL, hosts=answering, timeout=300)
    wait_for(lambda: first.refresh()["counts"]["answered"] == len(answering), 90)
    first.stop()
    first.wait()
    for name, state in (("answers", "answered"), ("quiet", "stopped")):
        client.run(verbs.post("labels/", {"name": name, "from": {"campaign": first.id, "states": [state]}}))
    client.run(verbs.post("queries/", {"name": "of the page", "sql": SQL}))
    hosts, pack = folder / "hosts", folder / "pack"
    hosts.write_text("\n".join(answering))
    pack.write_text('{"queries": {"a": {"query": "SELECT 1", "interval": 60}}}')
    numbers = {"id": str(first.id), "other": str(other.wait()["id"]), "going": str(going.id)}
    names = {"one": answering[0], "silent": silent[0], "query": "of the page"}
    return {**numbers, **names, "folder": str(folder), "hosts": str(hosts), "pack": str(pack)}


def section(word: str) -> str:
    """Give the part of the page about a word; about questions where it is none."""
    start = PAGE.index(f"### `live {word}" if word else '## `live "SELECT')
    end = re.compile(r"^##", re.MULTILINE).search(PAGE, start + 3)
    return PAGE[start : end.start() if end else None]


def options(word: str) -> set[str]:
    """Give the options that the page has for a word."""
    return _listed(section(word))


def common_options() -> set[str]:
    """Give the options that the page has for all words."""
    return _listed(PAGE[PAGE.index("## Where the server is") : PAGE.index('## `live "SELECT')])


def _listed(text: str) -> set[str]:
    return {*re.findall(r"^\| `(--[a-z-]+)", text, re.MULTILINE)}
