"""Passkeys: what a browser sends of one is right, or refused in a sentence, whatever it is."""

import json
import re
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import User
from django.test import Client

from tests.factories import make_user
from tests.fleet.passkey import Passkey
from tests.fleet.signing_in import PASSWORD, is_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]
ADD, STEP, AGAIN = "/account/passkeys/add/", "/login/second-factor/", "/confirm/"
UNFIT = "This passkey was not accepted: it is none of your account, or does not answer what this page asked."
ERROR = re.compile(r'<p class="error" role="alert">([^<]*)</p>')


@pytest.fixture(autouse=True)
def _over_tls(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = False


def asked(client: Client, page: str) -> dict[str, Any]:
    """Open a page and give what it asks the browser for."""
    found = re.search(r'<script id="js_data"[^>]*>(.*?)</script>', client.get(page, secure=True).content.decode())
    assert found is not None
    options: dict[str, Any] = next(iter(json.loads(found[1]).values()))
    return options


def sent(client: Client, page: str, credential: str, **more: str) -> tuple[int, list[str]]:
    """Send what a browser would, and give the status and what the page says is wrong."""
    client.raise_request_exception = False
    answer = client.post(page, {"credential": credential, **more}, secure=True)
    return answer.status_code, ERROR.findall(answer.content.decode())


def by_password(name: str = "kim") -> Client:
    client = Client()
    client.post("/login/", {"username": name, "password": PASSWORD}, secure=True)
    return client


def add(client: Client, passkey: Passkey, name: str = "laptop") -> None:
    assert sent(client, ADD, passkey.made(asked(client, ADD)), name=name) == (302, [])


@pytest.fixture
def passkey(kim: User) -> Passkey:
    """Give kim's."""
    made = Passkey()
    add(by_password(), made)
    return made


def test_each_of_two_passkeys_lets_in_until_it_is_removed(kim: User, passkey: Passkey) -> None:
    other = Passkey()
    client = by_password()
    assert sent(client, STEP, passkey.signed(asked(client, STEP))) == (302, [])
    add(client, other, "security key")

    second = by_password()
    assert sent(second, STEP, other.signed(asked(second, STEP))) == (302, [])
    first = Authenticator.objects.filter(type="webauthn").earliest("pk")
    second.post(f"/account/passkeys/{first.pk}/remove/", secure=True)
    third = by_password()
    removed = sent(third, STEP, passkey.signed(asked(third, STEP)))

    assert is_in(second)
    assert removed == (200, [f"{UNFIT} Try once more."])
    assert not is_in(third)


def test_who_has_passkeys_alone_is_not_asked_for_a_code_of_an_app(kim: User, passkey: Passkey) -> None:
    inside, at_the_step = by_password(), by_password()
    assert sent(inside, STEP, passkey.signed(asked(inside, STEP)))[0] == 302
    for with_app in (False, True):
        if with_app:
            TOTP.activate(kim, "A" * 32)
        step, again = (
            page.get(at, secure=True).content.decode() for page, at in ((at_the_step, STEP), (inside, AGAIN))
        )
        assert ["Code of the app" in step, "Code of the app" in again] == [with_app, with_app]
        assert "Recovery code" in step or with_app
        assert (step.index('id="use-passkey"') < step.index('id="id_code"')) is not with_app


@pytest.mark.parametrize("wrong", ["origin", "name", "asked before", "another person's", "never made"])
def test_a_passkey_that_does_not_answer_what_was_asked_lets_nobody_in(kim: User, passkey: Passkey, wrong: str) -> None:
    client = by_password()
    shown, options = passkey, asked(client, STEP)
    if wrong == "origin":
        shown.origin = "https://testserver.example.com"
    elif wrong == "name":
        shown.rp = "example.com"
    elif wrong == "asked before":
        asked(client, STEP)
    else:
        shown = Passkey()
    if wrong == "another person's":
        lee = make_user("lee")
        lee.set_password(PASSWORD)
        lee.save()
        add(by_password("lee"), shown)

    assert sent(client, STEP, shown.signed(options)) == (200, [f"{UNFIT} Try once more."])
    assert not is_in(client)


def shapes() -> list[str]:
    """Give what no browser sends: of other types, cut off, of other kinds, not text, too deep."""
    b64 = "eHg"
    seen = {"type": "webauthn.create", "challenge": b64, "origin": "https://testserver"}
    broken = ["null", "[]", "{}", '"x"', "1", "x", "", '{"id":1}', '{"id":"\\u0000\\ud800"}', '{"a":' + "[" * 50_000]
    whole = {"id": b64, "rawId": b64, "type": "public-key"}
    for told in ("x", "xx", "oA", b64, "gYGBgQ", "gY" * 5000):
        for client in ({}, [], 1, seen, {**seen, "origin": []}, {**seen, "challenge": 1}):
            json_of = Passkey()._sent(clientDataJSON=json.dumps(client).encode())
            inner = {**json.loads(json_of)["response"], "attestationObject": told, "authenticatorData": told}
            broken.append(json.dumps({**whole, "response": {**inner, "signature": told}}))
    return [*broken, json.dumps(whole), *(json.dumps({**whole, "response": odd}) for odd in ([], {}, 1, None))]


@pytest.mark.parametrize("page", [ADD, STEP, AGAIN])
def test_what_no_browser_sends_is_refused_in_a_sentence(kim: User, passkey: Passkey, page: str, settings: Any) -> None:
    settings.WRONG_PASSWORDS_OF_NAME_AT_ADDRESS = settings.WRONG_PASSWORDS_OF_ADDRESS = 10_000
    client = by_password()
    if page != STEP:
        assert sent(client, STEP, passkey.signed(asked(client, STEP))) == (302, [])
    asked(client, page)

    answers = {shape[:200]: sent(client, page, shape) for shape in shapes()}

    fitting = ((200, 400), "This passkey was not accepted: ")
    odd = {
        shape: answer
        for shape, answer in answers.items()
        if answer[0] not in fitting[0] or len(answer[1]) != 1 or not answer[1][0].startswith(fitting[1])
    }
    assert odd == {}


def test_what_is_kept_of_a_passkey_is_text_and_its_name_short(kim: User) -> None:
    client = by_password()

    def answer(name: str, **more: str) -> tuple[int, list[str]]:
        made = json.loads(Passkey().made(asked(client, ADD)))
        return sent(client, ADD, json.dumps({**made, **more}), name=name)

    with_nul, long, nul = answer("laptop", more="\0"), answer("x" * 101), answer("a\0b")

    assert with_nul == (200, ["This passkey was not accepted: what the browser sent is no answer of a passkey."])
    assert long == (200, ["Ensure this value has at most 100 characters (it has 101)."])
    assert nul == (200, ["Null characters are not allowed."])
    assert not Authenticator.objects.filter(type="webauthn").exists()
