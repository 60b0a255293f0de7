"""Node keys: what a check-in is recognised by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol.node_key import OLD_FORM, Enrolled, NodeKeys, tag_of

HERE = Enrolled("a1", tag_of("web-1"))


def test_a_key_says_who_it_was_made_for() -> None:
    keys = NodeKeys(["new"])

    assert keys.verify(keys.issue(17, 3, HERE)) == (17, 3, 0, HERE)


def test_keys_of_the_older_form_say_that_they_are() -> None:
    keys = NodeKeys(["new"])

    assert keys.verify(keys.issue(17, 3)) == (17, 3, 0, OLD_FORM)


def test_a_key_speaks_for_one_installation_and_one_host() -> None:
    keys = NodeKeys(["new"])
    name, host, epoch, tag, mac = keys.issue(17, 3, HERE).split(".")

    for changed in (("b" + name, host, epoch, tag), (name, host, epoch, "0" * 8), (host, epoch), (name, host, epoch)):
        assert keys.verify(".".join((*changed, mac))) is None
    assert tag_of("web-1") != tag_of("web-2")


def test_keys_of_an_older_secret_are_taken_and_counted_as_such() -> None:
    old = NodeKeys(["old"]).issue(17, 3, HERE)

    assert NodeKeys(["new", "old"]).verify(old) == (17, 3, 1, HERE)
    assert NodeKeys(["new"]).verify(old) is None


@pytest.mark.parametrize("key", ["", None, 17, [], "17.3", "17.3.", "17.3.aaaa", "x" * 1000, "17.3.é", "\ud800"])
def test_what_is_no_key_is_nobody(key: object) -> None:
    assert NodeKeys(["new"]).verify(key) is None


@given(st.text(max_size=60))
def test_no_text_is_a_key_by_chance(text: str) -> None:
    assert NodeKeys(["new"]).verify(text) is None


@given(st.integers(1, 2**40), st.integers(1, 1000), st.integers(0, 60))
def test_a_changed_character_makes_a_key_worthless(host: int, epoch: int, place: int) -> None:
    keys = NodeKeys(["new"])
    key = keys.issue(host, epoch, HERE)
    place %= len(key)
    changed = key[:place] + ("0" if key[place] != "0" else "1") + key[place + 1 :]

    assert keys.verify(changed) is None
