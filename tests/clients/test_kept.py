"""Saved queries and labels as files: pulled, pushed, compared, against the API itself; and what others wrote."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from fleet_live_queries.errors import KINDS
from fleet_live_queries.kept.changes import carried_out, differences, left_alone, pulled, pushed
from fleet_live_queries.kept.folder import Folder, slug
from fleet_live_queries.kept.foreign import Reader
from fleet_live_queries.kept.kinds import QUERY
from fleet_live_queries.kept.remote import Remote
from fleet_live_queries.kept.yaml_files import FileError, documents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from agents.models import Label
from campaigns.models import Query
from campaigns.recurring.models import Schedule
from tests.factories import make_host, make_label, make_user

SQL = "SELECT pid,\n       port\nFROM listening_ports\nWHERE port < 1024"


@pytest.fixture
def api(db: None) -> Any:
    client = APIClient()
    client.force_authenticate(make_user("boss", admin=True))

    def ask(method: str, path: str, body: Any = None) -> Any:
        told = {"format": "json"} if body is not None else {}
        answer = getattr(client, method.lower())(f"/api/v1/{path}", body, **told)
        if answer.status_code >= 400:
            raise KINDS[answer.status_code](answer.json()["error"])
        return answer.json() if answer.content else None

    def items(path: str, **query: Any) -> Iterator[Any]:
        yield from ask("GET", f"{path}?{urlencode({'limit': 1000, **query}).lower()}")["results"]

    return SimpleNamespace(order=ask, items=items)


@pytest.fixture
def kept(api: Any) -> None:
    """Keep two queries, a label by SQL and one by hand."""
    api.order("POST", "queries/", {"name": "Who listens?", "sql": SQL, "description": "ports\nbelow 1024"})
    api.order("POST", "queries/", {"name": "Züge: 100%", "sql": "SELECT 1", "observer_can_run": True})
    api.order("POST", "labels/", {"name": "web", "queries": {"linux": "SELECT 1", "darwin": "SELECT 2"}})
    make_label("by hand")


def pull(api: Any, path: Path, **how: bool) -> dict[str, int]:
    steps, same = pulled(Folder(path), Remote(api), prune=how.get("prune", False))
    outcome = carried_out(steps, same, lambda _: None, dry_run=how.get("dry_run", False))
    return {**outcome.done, "same": outcome.same, "refused": outcome.refused}


def push(api: Any, path: Path, **how: bool) -> dict[str, int]:
    steps, same = pushed(Folder(path), Remote(api), prune=how.get("prune", False))
    outcome = carried_out(steps, same, lambda _: None, dry_run=how.get("dry_run", False))
    return {**outcome.done, "same": outcome.same, "refused": outcome.refused}


def texts(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in sorted(path.rglob("*")) if file.is_file()}


def counts(**changes: int) -> dict[str, int]:
    return {"create": 0, "change": 0, "delete": 0, "same": 0, "refused": 0, **changes}


# --- there and back --------------------------------------------------------------------------------------------


def test_pulling_twice_and_pushing_what_was_pulled_changes_nothing(api: Any, kept: None, tmp_path: Path) -> None:
    first = pull(api, tmp_path, dry_run=True), texts(tmp_path)
    done, files = pull(api, tmp_path), texts(tmp_path)
    again = pull(api, tmp_path), texts(tmp_path)
    back = push(api, tmp_path, prune=True), list(differences(Folder(tmp_path), Remote(api)))

    assert first == (counts(create=3), {})
    assert done == counts(create=3)
    assert again == (counts(same=3), files)
    assert back == (counts(same=3), [])
    assert list(files) == ["labels/web.yml", "queries/who-listens.yml", "queries/züge-100.yml"]
    assert files["queries/who-listens.yml"] == (
        "name: Who listens?\ndescription: |-\n  ports\n  below 1024\nsql: |-\n  SELECT pid,\n         port\n"
        "  FROM listening_ports\n  WHERE port < 1024\n"
    )
    assert files["labels/web.yml"] == "name: web\nqueries:\n  darwin: SELECT 2\n  linux: SELECT 1\n"


def test_an_empty_server_becomes_as_the_files_are_and_gives_them_back(api: Any, kept: None, tmp_path: Path) -> None:
    pull(api, tmp_path)
    files = texts(tmp_path)
    Query.objects.all().delete()
    Label.objects.filter(name="web").delete()

    wanted = push(api, tmp_path, dry_run=True)
    done, again = push(api, tmp_path), push(api, tmp_path)
    shutil.rmtree(tmp_path)
    pull(api, tmp_path)

    assert (wanted, done, again) == (counts(create=3), counts(create=3), counts(same=3))
    assert texts(tmp_path) == files


def test_hand_written_files_keep_their_comments_and_places(api: Any, db: None, tmp_path: Path) -> None:
    file = tmp_path / "queries" / "team a" / "ports.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# who asked for it: kim\nsql: |\n  SELECT 1\nname: Ports\n")

    done, back = push(api, tmp_path), pull(api, tmp_path)
    Query.objects.update(sql="SELECT 2")
    lines = list(differences(Folder(tmp_path), Remote(api)))
    changed = pull(api, tmp_path)

    assert (done, back, changed) == (counts(create=1), counts(same=1), counts(change=1))
    assert [line for line in lines if line.startswith(("-sql", "+sql"))] == ["-sql: SELECT 2", "+sql: SELECT 1"]
    assert texts(tmp_path) == {"queries/team a/ports.yaml": "name: Ports\nsql: SELECT 2\n"}


def test_nothing_is_deleted_unless_told_and_never_what_no_file_stands_for(api: Any, kept: None, tmp_path: Path) -> None:
    pull(api, tmp_path)
    (tmp_path / "queries" / "who-listens.yml").unlink()
    shutil.rmtree(tmp_path / "labels")

    kept_all, said = push(api, tmp_path), list(left_alone(Folder(tmp_path), Remote(api)))
    wanted = push(api, tmp_path, prune=True, dry_run=True)
    pruned = push(api, tmp_path, prune=True)
    Query.objects.all().delete()
    left, gone = pull(api, tmp_path), pull(api, tmp_path, prune=True)

    assert kept_all == counts(same=1)
    assert said == ["only on the server: query 'Who listens?'", "only on the server: label 'web'"]
    assert wanted == pruned == counts(same=1, delete=1)
    assert Label.objects.filter(name__in=["web", "by hand"]).count() == 2
    assert (left, gone) == (counts(create=1), counts(same=1, delete=1))
    assert list(texts(tmp_path)) == ["labels/web.yml"]


def test_what_the_server_refuses_is_said_and_holds_up_nothing_else(api: Any, db: None, tmp_path: Path) -> None:
    make_label("by hand")
    for folder, name, rest in (
        ("queries", "wrong", "sql: SELECT FROM"),
        ("queries", "right", "sql: SELECT 1"),
        ("labels", "by hand", "queries: {linux: SELECT 1}"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.yml").write_text(f"name: {name}\n{rest}\n")
    said: list[str] = []

    outcome = carried_out(*pushed(Folder(tmp_path), Remote(api), prune=False), said.append, dry_run=False)

    assert (outcome.done["create"], outcome.refused) == (1, 2)
    assert Query.objects.get().name == "right"
    assert any("wrong.yml" in line and "syntax error" in line for line in said)
    assert any("by hand.yml" in line and "already exists" in line for line in said)


# --- names -----------------------------------------------------------------------------------------------------

TRICKY = [
    "../../etc/passwd",
    "..",
    ".hidden",
    "a/b",
    "A/B",
    "a\\b",
    "CON",
    "con.yml",
    "x" * 200,
    "",
    "ß",
    "SS",
    "☃" * 90,
]


def test_names_become_files_of_their_own_within_the_folder(api: Any, db: None, tmp_path: Path) -> None:
    names = [name for name in TRICKY if name]
    for name in names:
        Query.objects.create(name=name, sql=f"SELECT '{len(name)}'")

    pull(api, tmp_path / "kept")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert len({str(path).casefold() for path in files}) == len(names)
    assert {path.parent for path in files} == {tmp_path / "kept" / "queries"}
    assert {documents(path)[0]["name"] for path in files} == set(names)
    assert all(len(path.name.encode()) < 140 and not path.name.startswith(".") for path in files)
    assert pull(api, tmp_path / "kept") == counts(same=len(names))


def test_a_link_that_leads_out_is_neither_read_nor_written(api: Any, kept: None, tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / "queries").symlink_to(outside)

    outcome = pull(api, inside)
    (outside / "x.yml").write_text("name: x\nsql: SELECT 1\n")
    with pytest.raises(FileError, match="leads out of"):
        Folder(inside)

    assert outcome == counts(create=1, refused=2)
    assert os.listdir(outside) == ["x.yml"]


@given(name=st.text(min_size=1, max_size=40))
@settings(max_examples=30, deadline=None)
def test_every_name_gives_a_file_that_is_in_its_folder(name: str) -> None:
    found = slug(name)

    assert found
    assert found not in (".", "..")
    assert not {"/", "\\", "\0", ":", "."} & set(found)


printable = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=60)


@given(name=printable, sql=printable, description=printable, flag=st.booleans())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_what_is_read(name: str, sql: str, description: str, flag: bool, tmp_path: Path) -> None:
    members = {"name": name.strip() or "x", "description": description.strip(), "observer_can_run": flag}
    members["sql"] = sql.strip() or "x"
    file = tmp_path / "one.yml"

    file.write_text(QUERY.written(members), encoding="utf-8", newline="")
    read = QUERY.read(file, documents(file)[0])

    assert read == members
    assert QUERY.written(read) == file.read_bytes().decode()


# --- wrong files -----------------------------------------------------------------------------------------------

WRONG = {
    "name: x\nsql: SELECT 1\ncolour: red\n": "x.yml:3: unknown member 'colour', allowed are name, description",
    "name: x\n": "x.yml:1: sql is missing",
    "sql: SELECT 1\nname: no\n": "x.yml:2: name False is no text: put it in quotes",
    "name: x\nsql: SELECT 1\nobserver_can_run: maybe\n": "x.yml:3: observer_can_run 'maybe' is neither true nor false",
    "name: x\nname: y\nsql: SELECT 1\n": "x.yml:2: name is there twice, in line 1 as well",
    "name: x\nsql: [\n": "x.yml:3: this is no YAML",
    "name: x\n---\nname: y\n": "x.yml: it holds 2 documents",
    "- a\n": "x.yml:1: a query is a mapping with name",
    "": "x.yml: it holds 0 documents",
    "name: &a x\nsql: *a\n": "x.yml:2: the alias [*]a is not taken",
    "name: !!python/object/apply:os.system [x]\nsql: y\n": "x.yml:1: ",
    "name: x\nsql: " + "[" * 60 + "]" * 60 + "\n": "x.yml:2: it is nested deeper",
    "name: ''\nsql: SELECT 1\n": "x.yml:1: name is empty",
    "name: 2026-13-45\nsql: SELECT 1\n": "x.yml:1: ",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_is_named_with_its_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "x.yml").write_text(text)

    with pytest.raises(FileError, match=WRONG[text]):
        Folder(tmp_path)


def test_two_files_of_one_name_and_what_is_no_text_are_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{name}.yml").write_text("name: web\nqueries:\n  linux: SELECT 1\n")
    with pytest.raises(FileError, match=r"b.yml: label 'web' is in .*a.yml as well"):
        Folder(tmp_path)
    (tmp_path / "labels" / "a.yml").write_bytes(b"name: \xff\n")
    with pytest.raises(FileError, match=r"a.yml: it is not UTF-8"):
        Folder(tmp_path)
    (tmp_path / "labels" / "a.yml").write_text("name: web\nqueries:\n  linux: 5\n")
    with pytest.raises(FileError, match=r"a.yml:2: queries of linux 5 is no text"):
        Folder(tmp_path)


# --- what others wrote -----------------------------------------------------------------------------------------

FLEET = """\
apiVersion: v1
kind: query
spec:
  name: ports
  description: who listens
  query: SELECT port FROM listening_ports;
  interval: 3600
  observer_can_run: true
  platform: darwin,linux
---
apiVersion: v1
kind: label
spec:
  name: x
"""
GITOPS = """\
name: Workstations
queries:
  - name: users
    query: |
      SELECT *
      FROM users
    logging: snapshot
  - path: ../lib/more.yml
policies:
  - name: p
"""
LISTED = "- name: a\n  query: SELECT 1\n- name: b\n  query: SELECT 2\n  labels_include_any: [x]\n"
PACK = """\
// osquery's own comments
{
  # and these
  "platform": "linux", /* for
  servers */ "discovery": ["SELECT 1"],
  "queries": {
    "urls": {
      "query": "SELECT 'https://example.org' AS url, \\
        1 AS one;",
      "interval": 60, "snapshot": true, "version": "2.0", "description": "with // in it"
    },
    "plain": {"query": "SELECT 2", "interval": "5", "blacklist": false}
  }
}
"""
CONFIG = '{"options": {}, "schedule": {"s": {"query": "SELECT 3"}}, "packs": {"p": {"queries": {"q": {"query": "SELECT 4"}}}, "r": "/etc/r.conf"}}'  # noqa: E501
OTHERS = {
    "fleet.yml": (
        FLEET,
        {"ports": "SELECT port FROM listening_ports;"},
        [
            "fleet.yml:7: query 'ports': interval 3600",
            "fleet.yml:9: query 'ports': platform",
            "fleet.yml:12: kind 'label'",
        ],
    ),
    "gitops.yml": (
        GITOPS,
        {"users": "SELECT *\nFROM users"},
        ["gitops.yml:1: name", "gitops.yml:7: query 'users': logging", "gitops.yml:8: path", "gitops.yml:9: policies"],
    ),
    "list.yml": (LISTED, {"a": "SELECT 1", "b": "SELECT 2"}, ["list.yml:5: query 'b': labels_include_any"]),
    "pack.conf": (
        PACK,
        {"pack/pack/urls": "SELECT 'https://example.org' AS url,         1 AS one;", "pack/pack/plain": "SELECT 2"},
        [
            "pack.conf:4: platform",
            "pack.conf:5: discovery",
            "pack.conf:7: query 'pack/pack/urls': interval 60",
            "pack.conf:7: query 'pack/pack/urls': snapshot true",
            "pack.conf:7: query 'pack/pack/urls': version",
            "pack.conf:12: query 'pack/pack/plain': interval \"5\"",
            "pack.conf:12: query 'pack/pack/plain': blacklist false is not taken: what a host denylists",
        ],
    ),
    "config.json": (
        CONFIG,
        {"s": "SELECT 3", "pack/p/q": "SELECT 4"},
        ["config.json:1: options", "config.json:1: pack 'r'"],
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_others_wrote_is_read_and_what_is_not_taken_is_said(name: str, tmp_path: Path) -> None:
    text, queries, notes = OTHERS[name]
    (tmp_path / name).write_text(text)
    reader = Reader()

    reader.read(tmp_path / name)

    assert {query: taken.members["sql"] for query, taken in reader.taken.items()} == queries
    said = sorted(note.removeprefix(f"{tmp_path}/") for note in reader.notes)
    assert len(said) == len(notes), said
    assert all(any(line.startswith(note) for line in said) for note in notes), said
    assert all("is not taken: " in line for line in said)


def test_packs_that_have_a_name_in_common_are_taken_together_and_again_one_by_one(tmp_path: Path) -> None:
    for pack in ("incident", "it"):
        (tmp_path / f"{pack}.conf").write_text(f'{{"queries": {{"crontab": {{"query": "SELECT {len(pack)}"}}}}}}')
    (tmp_path / "all.conf").write_text(
        '{"schedule": {"crontab": {"query": "SELECT 1"}},'
        ' "packs": {"rit": {"queries": {"crontab": {"query": "SELECT 3"}}}}}'
    )
    both, again = Reader(), Reader()

    for name in ("incident", "it", "all"):
        both.read(tmp_path / f"{name}.conf")
    again.read(tmp_path / "it.conf")

    assert {name: taken.members["sql"] for name, taken in both.taken.items()} == {
        "pack/incident/crontab": "SELECT 8",
        "pack/it/crontab": "SELECT 2",
        "crontab": "SELECT 1",
        "pack/rit/crontab": "SELECT 3",
    }
    assert again.taken.keys() < both.taken.keys()


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("x.conf", '{\n  "queries": {\n    "a": {"query": }\n}}', "x.conf:3: this is no JSON"),
        ("x.conf", '{"queries": {"a": {"interval": 5}}}', "x.conf:1: query 'pack/x/a' has no query"),
        ("x.conf", '{"queries": {"a": {"query": 5}}}', "x.conf:1: sql 5 is no text"),
        ("x.conf", '{"queries": {"a": "SELECT 1"}}', "x.conf:1: query 'pack/x/a' is no mapping"),
        ("x.conf", "[1]", "x.conf: it is no pack"),
        ("x.yml", "kind: query\nspec: 5\n", "x.yml:1: this query has no spec"),
        ("x.yml", "- 5\n", "x.yml: '5' is no query"),
        ("x.yml", "{}\n", "x.yml: there is no query in it"),
        (
            "x.yml",
            "- name: a\n  query: SELECT 1\n- name: a\n  query: SELECT 2\n",
            "x.yml:3: query 'a' is another one in",
        ),
    ],
)
def test_a_wrong_file_of_others_is_named_with_its_line(name: str, text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(FileError) as refused:
        Reader().read(tmp_path / name)

    assert str(refused.value).removeprefix(f"{tmp_path}/").startswith(sentence)


# --- schedules -------------------------------------------------------------------------------------------------


@pytest.fixture
def scheduled(api: Any, kept: None, board: None) -> int:
    """Let a query run by itself, twice; and once by somebody else, which is not ours. Give the query."""
    make_host()
    query = Query.objects.get(name="Who listens?")
    for order in ({"every": 90}, {"crontab": "0 8 * * 1-5", "zone": "Europe/Berlin", "timeout": 60, "enabled": False}):
        api.order("POST", "schedules/", {"query": query.pk, "target": {"all": True}, **order})
    other = make_user("other", admin=True)
    Schedule.objects.create(query=query, owner=other, every=5, target={"all": True}, sql=query.sql)
    return query.pk


def own(query: int) -> list[tuple[int | None, str, bool]]:
    found = Schedule.objects.filter(query=query, owner__username="boss").order_by("every", "crontab")
    return [(one.every, one.crontab, one.enabled) for one in found]


def test_ones_own_schedules_are_pulled_and_pushed_with_their_query(api: Any, scheduled: int, tmp_path: Path) -> None:
    done, again, back = pull(api, tmp_path), pull(api, tmp_path), push(api, tmp_path, prune=True)
    file = tmp_path / "schedules" / "who-listens.yml"
    text, none = file.read_text(), list(differences(Folder(tmp_path), Remote(api)))
    file.write_text(text.replace("every: 90", "every: 120"))
    lines = list(differences(Folder(tmp_path), Remote(api)))
    wanted, changed = push(api, tmp_path, dry_run=True), push(api, tmp_path)
    after = own(scheduled)
    file.unlink()
    kept_without, pruned = push(api, tmp_path), push(api, tmp_path, prune=True)

    assert (done, again, back) == (counts(create=4), counts(same=4), counts(same=4))
    assert text == (
        "query: Who listens?\nschedules:\n  - every: 90\n    target:\n      all: true\n  - crontab: 0 8 * * 1-5\n"
        "    zone: Europe/Berlin\n    target:\n      all: true\n    timeout: 60\n    enabled: false\n"
    )
    assert (wanted, changed) == (counts(change=1, same=3), counts(change=1, same=3))
    assert (none, {line for line in lines[2:] if line[0] in "+-"}) == ([], {"-  - every: 90", "+  - every: 120"})
    assert sorted(after, key=str) == [(120, "", True), (None, "0 8 * * 1-5", False)]
    assert (kept_without, pruned) == (counts(same=3), counts(delete=1, same=3))
    assert own(scheduled) == []
    assert Schedule.objects.count() == 1


def test_schedules_that_are_alike_are_each_one(api: Any, scheduled: int, tmp_path: Path) -> None:
    api.order("POST", "schedules/", {"query": scheduled, "target": {"all": True}, "every": 90})
    done, back = pull(api, tmp_path), push(api, tmp_path)
    file = tmp_path / "schedules" / "who-listens.yml"
    twice, one = file.read_text(), "  - every: 90\n    target:\n      all: true\n"
    before = own(scheduled)
    file.write_text(twice.replace(one, "", 1))
    push(api, tmp_path)
    after = own(scheduled)
    file.write_text(twice)
    push(api, tmp_path)

    assert (done, back, twice.count(one)) == (counts(create=4), counts(same=4), 2)
    assert [every for every, *_ in before] == [90, 90, None]
    assert after == before[1:]
    assert own(scheduled) == before


@pytest.mark.parametrize(
    ("schedules", "sentence"),
    [
        ("[]", "is no list of schedules"),
        ("\n- every: 5", "has no target"),
        ("\n- target: {all: true}", "needs either every (minutes) or a crontab"),
        ("\n- {target: {all: true}, every: 5, evry: 6}", "unknown member 'evry'"),
    ],
)
def test_a_schedule_that_is_none_is_refused_by_file(tmp_path: Path, schedules: str, sentence: str) -> None:
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "x.yml").write_text(f"query: x\nschedules: {schedules}\n")

    with pytest.raises(FileError, match=re.escape(sentence)) as refused:
        Folder(tmp_path)

    assert "x.yml" in str(refused.value)
