"""What a setting cannot be is refused in a sentence that names it; what it can be is taken as it stands."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

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


@pytest.mark.parametrize("value", ["helpdesk", "helpdesk=many"])
def test_pairs_that_are_none_are_refused_and_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIED", value)

    with pytest.raises(ImproperlyConfigured, match=f"TRIED {value!r} is no list like name=1;other=2"):
        env.dict("TRIED", cast={"value": int})


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
        ("json", '{"a": 1}', {"a": 1}),
    ],
)
def test_a_value_of_its_kind_is_taken_as_it_stands(
    kind: str, value: str, meant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIED", value)
    monkeypatch.setenv("ecret", "another variable")

    assert getattr(env, kind)("TRIED") == meant
