"""Each tier holds the secret it needs and no other; none is ever guessable."""

import ast
import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agents.protocol.node_key import NodeKeys

ROOT = Path(__file__).parents[2]
START = """
import asyncio, sys
from fleet import asgi
async def start(app):
    said = []
    told = asyncio.Queue()
    async def send(message):
        said.append(message)
        await told.put({"type": "lifespan.shutdown"})
    await told.put({"type": "lifespan.startup"})
    await app({"type": "lifespan"}, told.get, send)
    print(said[0]["type"], said[0].get("message", ""))
asyncio.run(start(getattr(asgi, sys.argv[1])))
"""


def started(tier: str, **secrets: str) -> str:
    """Give what a tier says when it is started with these secrets alone."""
    return python(["-W", "ignore", "-c", START, tier], **secrets)


def python(arguments: list[str], **secrets: str) -> str:
    unset = {"SECRET_KEY", "NODE_KEY_SECRETS"}
    bare = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, *arguments], env=bare | secrets, cwd=ROOT, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip()


@pytest.mark.parametrize(
    ("tier", "secrets"),
    [
        ("gateway", {"NODE_KEY_SECRETS": "long"}),
        ("console", {"SECRET_KEY": "long"}),
        ("application", {"NODE_KEY_SECRETS": "long", "SECRET_KEY": "long"}),
    ],
)
def test_a_tier_starts_with_its_own_secret_alone(tier: str, secrets: dict[str, str]) -> None:
    assert started(tier, **secrets) == "lifespan.startup.complete"


@pytest.mark.parametrize(
    ("tier", "secrets", "missing"),
    [
        ("gateway", {"SECRET_KEY": "long"}, "NODE_KEY_SECRETS"),
        ("console", {"NODE_KEY_SECRETS": "long"}, "SECRET_KEY"),
        ("application", {}, "NODE_KEY_SECRETS, SECRET_KEY"),
    ],
)
def test_no_tier_starts_without_its_secret(tier: str, secrets: dict[str, str], missing: str) -> None:
    assert started(tier, **secrets) == (
        f"lifespan.startup.failed not set: {missing}. Give it a long random value, or start with `make demo`"
    )


def test_a_secret_that_was_not_given_is_another_each_time() -> None:
    show = ["-c", "from fleet import settings; print(settings.SECRET_KEY, settings.NODE_KEY_SECRETS)"]

    assert python(show) != python(show)


@pytest.mark.parametrize("listed", ["new,", ",old", "new,,old", " , "])
def test_an_empty_node_key_secret_is_refused(listed: str) -> None:
    assert "NODE_KEY_SECRETS has an empty entry" in started("gateway", NODE_KEY_SECRETS=listed)


def test_blanks_around_a_node_key_secret_do_not_count() -> None:
    show = ["-c", "from fleet import settings; print(settings.NODE_KEY_SECRETS)"]

    assert python(show, NODE_KEY_SECRETS="new, old ") == "['new', 'old']"


def shown(names: str, **environment: str) -> str:
    return python(["-c", f"from fleet import settings; print({names})"], **environment)


def test_every_setting_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    (tmp_path / "days").write_text("7")

    said = shown(
        "settings.SECRET_KEY, settings.CAMPAIGN_RETENTION_DAYS",
        SECRET_KEY_FILE=str(tmp_path / "key"),
        CAMPAIGN_RETENTION_DAYS_FILE=str(tmp_path / "days"),
    )

    assert said == "from a file 7"


def test_passwords_may_be_apart_from_their_addresses(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("it's l/ong@\n")
    addresses = {"DATABASE_URL": "postgres://fleet@%2Ftmp%2Fpg/fleet", "REDIS_URL": "redis://redis:6379/2"}
    files = {name: str(tmp_path / "password") for name in ("DATABASE_PASSWORD_FILE", "REDIS_PASSWORD_FILE")}

    said = shown(
        "settings.DATABASES['default']['PASSWORD'], settings.DATABASES['default']['HOST'], settings.REDIS_URL",
        **addresses,
        **files,
    )

    assert said == "it's l/ong@ /tmp/pg redis://:it%27s%20l%2Fong%40@redis:6379/2"


def test_a_password_given_twice_is_refused() -> None:
    said = shown("settings.DATABASE_URL", DATABASE_URL="postgres://me:one@here/fleet", DATABASE_PASSWORD="two")

    assert said.endswith("DATABASE_URL has a password, and DATABASE_PASSWORD is set: one of them has to go")


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "fleet.serve", "gateway"],
        ["manage.py", "collect"],
        ["manage.py", "migrate"],
        ["-m", "celery", "-A", "fleet", "worker"],
        ["-m", "celery", "-A", "fleet", "beat"],
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_a_sentence_by_every_process(command: list[str], tmp_path: Path) -> None:
    said = python(["-W", "ignore", *command], NODE_KEY_SECRETS_FILE=str(tmp_path / "nothing"))

    assert said == f"NODE_KEY_SECRETS_FILE names {tmp_path}/nothing, which cannot be read: No such file or directory"


def test_other_troubles_with_a_file_are_told_as_well(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")

    for place, environment, sentence in (
        (tmp_path, {}, f"SECRET_KEY_FILE names {tmp_path}, which cannot be read: Is a directory"),
        (tmp_path / "picture", {}, f"names {tmp_path}/picture, which cannot be read: it is not text in UTF-8"),
        (
            tmp_path / "picture",
            {"SECRET_KEY": "x"},
            "SECRET_KEY and SECRET_KEY_FILE are both set: one of them has to go",
        ),
    ):
        assert shown("settings.SECRET_KEY", SECRET_KEY_FILE=str(place), **environment).endswith(sentence)


def test_keys_are_never_made_with_an_empty_secret() -> None:
    with pytest.raises(ValueError, match="empty secret"):
        NodeKeys(["new", ""])


def test_the_console_serves_no_agents() -> None:
    """It has no secret to know them by; what it says makes them come again."""
    from fleet.asgi import console

    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/osquery/enroll", "headers": []}
    asyncio.run(console(scope, receive, send))
    assert sent[0]["status"] == 404
    assert not str(sent[1]["body"]).startswith("{")


# Texts that are compared like any other, though their names sound of secrets: they are looked up, or prove nothing.
HARMLESS = {
    "self.password_stamp == stamp_of(self.user.password)": "both are digests out of the database",
    "user.password != before": "both are hashes out of the database",
}
PROVES = re.compile(r"\b(mac|signature|password\w*|secret|offered|token)\b(?!\.)")


def test_what_proves_somebody_is_compared_in_constant_time() -> None:
    found = []

    for file in (file for app in ("fleet", "agents", "campaigns") for file in (ROOT / app).rglob("*.py")):
        text = file.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Compare) and any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
                compared = ast.get_source_segment(text, node) or ""
                if PROVES.search(compared) and compared not in HARMLESS:
                    found.append(f"{file.relative_to(ROOT)}:{node.lineno}: {compared}")

    assert found == []
