"""Forms that ask first, whoever has no scripts: found in the templates, so that a new one is tried by itself."""

import re
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import get_resolver, reverse

import campaigns.console
from agents.models import EnrollSecret
from tests.factories import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]

TEMPLATES = Path(campaigns.console.__file__).parent / "templates"
FORM = re.compile(r"<form.*?</form>", re.DOTALL)
ADDRESS = re.compile(r"action=\"{% url '([\w-]+)'")
FIELD = re.compile(r'name="([^"]+)"\s+value="([^"]*)"')


def forms_that_ask() -> Iterator[str]:
    """Give the names of the addresses to which such forms are sent."""
    for template in sorted(TEMPLATES.rglob("*.html")):
        for form in FORM.findall(template.read_text()):
            if 'name="asks"' in form:
                yield ADDRESS.findall(form)[0]


def address_of(name: str) -> str:
    """Give an address of this name, of things that need not be there: nothing is looked up before the question."""
    wanted = get_resolver().reverse_dict.getlist(name)[0][0][0][1]
    return reverse(name, args=[1] * len(wanted))


def sent_on(page: str) -> dict[str, list[str]]:
    """Give what the form of a question sends."""
    sent: dict[str, list[str]] = {}
    for name, value in FIELD.findall(page[page.index('class="stop-form"') :]):
        sent.setdefault(unescape(name), []).append(unescape(value))
    assert len(sent.pop("csrfmiddlewaretoken")) == 1
    return sent


def test_every_form_that_says_what_it_asks_is_answered_with_the_question(as_: Callable[[User], Client]) -> None:
    boss, names = as_(make_user("boss", admin=True)), list(forms_that_ask())
    given: dict[str, Any] = {"asks": 'Away with "a|b"?|It is <gone>.|Do it', "host": ["1", "2"], "q": '"&'}

    answers = {name: boss.post(address_of(name), given) for name in names}
    pages = {name: answer.content.decode() for name, answer in answers.items()}

    assert len(names) >= 7
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(names, 200)
    for name, page in pages.items():
        assert "<h1>Away with &quot;a|b&quot;?</h1>" in page, name
        assert "It is &lt;gone&gt;." in page, name
        assert ">Do it</button>" in page, name
        assert f'action="{address_of(name)}"' in page, name
        assert sent_on(page) == {"host": ["1", "2"], "q": ['"&'], "agreed": ["true"]}, name


def test_a_secret_is_revoked_after_the_question(as_: Callable[[User], Client]) -> None:
    boss = as_(make_user("boss", admin=True))
    secret = EnrollSecret.objects.create(name="<old>", digest="d")
    form = next(form for form in FORM.findall(boss.get("/settings/").content.decode()) if 'name="asks"' in form)
    action, sent = re.findall(r'action="([^"]+)"', form)[0], dict(map(unescape, pair) for pair in FIELD.findall(form))

    question = boss.post(action, sent, headers={"Referer": "http://testserver/settings/?page=2"}).content.decode()
    secret.refresh_from_db()
    assert secret.revoked_at is None
    assert "Revoke the enroll secret &lt;old&gt;?" in question
    assert 'href="/settings/?page=2"' in question
    boss.post(action, sent_on(question))

    secret.refresh_from_db()
    assert secret.revoked_at is not None
