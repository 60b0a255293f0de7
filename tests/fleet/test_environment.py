"""What a setting cannot be is refused in a sentence that names it; what it can be is taken as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from fleet import settings
from fleet.settings.environment import env


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        ("int", "many", "TRIED 'many' is no whole number"),
        ("int", "", "TRIED '' is no whole number"),
        ("int", "1.5", "TRIED '1.5' is no whole number"),
        ("float", "10s", "TRIED '10s' is no number"),
        ("float", "inf", "TRIED 'inf' is no number"),
        ("bool", "ture", "TRIED 'ture' is neither true nor false"),
        ("json", "{", "TRIED is no JSON"),
        ("place", "udp://127.0.0.1:99999", "TRIED …'udp://127.0.0.1:99999' is no address: Port out of range"),
        ("place", "redis://:s3cret@[::1:6379/0#answers", r"TRIED …'\[::1:6379/0#answers' is no address: Invalid IPv6"),
        ("place", "https://siem:many/", "TRIED …'https://siem:many/' is no address: Port could not be cast"),
    ],
)
def test_a_value_of_another_kind_is_refused_and_named(
    kind: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIED", value)

    with pytest.raises(ImproperlyConfigured, match=sentence):
        getattr(env, kind)("TRIED")


@pytest.mark.parametrize("value", ["", "info", "LOUD"])
def test_a_word_that_is_none_of_a_choice_is_refused_and_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIED", value)

    with pytest.raises(ImproperlyConfigured, match=f"TRIED {value!r} is unknown: DEBUG, INFO are allowed"):
        env.choice("TRIED", ("DEBUG", "INFO"), default="INFO")


def test_every_address_of_the_settings_is_read_as_one() -> None:
    texts = "".join(path.read_text() for path in Path(settings.__file__).parent.glob("*.py"))

    assert re.findall(r"(\w+_(?:SINK|URL|ISSUER)) = env\.str\(", texts) == []


@pytest.mark.parametrize("value", ["helpdesk", "helpdesk=many"])
def test_pairs_that_are_none_are_refused_and_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIED", value)

    with pytest.raises(ImproperlyConfigured, match=f"TRIED {value!r} is no list like name=1;other=2"):
        env.dict("TRIED", cast={"value": int})


@pytest.mark.parametrize("value", ["soc", "=Operator", "soc=", "soc=Operator;x"])
def test_names_that_mean_nothing_are_refused_and_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIED", value)

    with pytest.raises(ImproperlyConfigured, match=f"TRIED {value!r} is no list like name=one;other=two"):
        env.pairs("TRIED")


@pytest.mark.parametrize(
    ("kind", "value", "meant"),
    [
        ("int", "-3", -3),
        ("float", "2.5", 2.5),
        ("bool", "On", True),
        ("bool", "no", False),
        ("bool", "", False),
        ("str", "$ecret", "$ecret"),
        ("list", "$a,b", ["$a", "b"]),
        ("pairs", "", []),
        ("pairs", "soc=Operator; soc = Europe ;", [("soc", "Operator"), ("soc", "Europe")]),
        ("pairs", "CN=soc,OU=x=Operator", [("CN=soc,OU=x", "Operator")]),
        ("json", '{"a": 1}', {"a": 1}),
        ("place", "file:///var/log/a b%20c:d.ndjson", "file:///var/log/a b%20c:d.ndjson"),
        ("place", "unix://:pass@word@/run/redis.sock?db=1#answers", "unix://:pass@word@/run/redis.sock?db=1#answers"),
        ("place", "", ""),
    ],
)
def test_a_value_of_its_kind_is_taken_as_it_stands(
    kind: str, value: str, meant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIED", value)
    monkeypatch.setenv("ecret", "another variable")

    assert getattr(env, kind)("TRIED") == meant
