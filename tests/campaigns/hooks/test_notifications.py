"""Notifications of people through Apprise, in a process of its own that reaches no network within."""

import json
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from campaigns.hooks import keeping, notifier, notifying, posting
from campaigns.hooks.models import Delivery, Hook
from fleet.demo.certificates import Certificates
from fleet.errors import BadInputError
from tests.campaigns.hooks.post_office import PostOffice, post_office
from tests.campaigns.hooks.receiver import Receiver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]


@pytest.fixture
def address(there: Receiver, settings: Any) -> str:
    settings.NOTIFICATION_SERVICES = ["json"]
    return f"json://127.0.0.1:{there.server_port}/"


def test_a_person_is_notified_in_words_and_the_service_reaches_no_network_within(
    address: str, owner: User, deliver: Callable[[], None], there: Receiver, settings: Any
) -> None:
    hook = keeping.make(Hook(name="me", kind=Hook.Kind.NOTIFICATION, address=address), owner)
    keeping.test(hook, owner)
    deliver()
    settings.HOOKS_ALLOWED_NETWORKS = []
    refused = keeping.test(hook, owner)
    deliver()

    assert len(there.came) == 1
    told = json.loads(there.came[0][1])
    assert told["message"] == f"{owner.username} tries the hook me"
    assert told["title"] == "Fleet Live Queries: hook.test"
    assert Delivery.objects.exclude(pk=refused.pk).get().state == Delivery.State.DELIVERED
    refused.refresh_from_db()
    assert refused.state == Delivery.State.WAITING
    assert refused.error != ""
    assert hook.address_shown == "json://…"


@pytest.mark.parametrize(
    ("service", "sentence"),
    [
        ("json://[x", "address is none"),
        ("syslog://", "names the service 'syslog', allowed are json"),
        ("json://", "none that Apprise can read"),
    ],
)
def test_a_service_that_is_not_allowed_or_cannot_be_read_is_refused(
    address: str, owner: User, service: str, sentence: str
) -> None:
    with pytest.raises(BadInputError, match=sentence):
        keeping.make(Hook(name="me", kind=Hook.Kind.NOTIFICATION, address=service), owner)


@pytest.fixture
def mails(settings: Any) -> Iterator[PostOffice]:
    settings.HOOKS_ALLOWED_NETWORKS, settings.NOTIFICATION_SERVICES = ["127.0.0.0/8"], ["mailto"]
    with post_office() as made:
        yield made


ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"


def test_of_several_receivers_each_gets_a_message_once(
    mails: PostOffice, owner: User, deliver: Callable[[], None]
) -> None:
    hook = keeping.make(Hook(name="us", kind=Hook.Kind.NOTIFICATION, address=mails.address(ADA, BOB, EVE)), owner)
    mails.answers = {f"RCPT TO:<{BOB}>": "451 4.7.1 Greylisted, come back later"}
    told = keeping.test(hook, owner)

    def tried() -> tuple[str, list[str]]:
        Delivery.objects.update(due_at=timezone.now())
        deliver()
        told.refresh_from_db()
        return told.state, sorted(mails.receivers())

    assert [tried(), tried()] == [("waiting", [ADA, EVE])] * 2
    assert "451, 4.7.1 Greylisted, come back later" in told.error
    mails.answers = {}
    assert tried() == ("delivered", [ADA, BOB, EVE])
    keeping.send_again(told, owner)
    assert tried() == ("delivered", sorted([ADA, BOB, EVE] * 2))


def test_who_was_reached_since_a_page_was_drawn_is_not_told_again_by_it(
    mails: PostOffice, owner: User, deliver: Callable[[], None]
) -> None:
    hook = keeping.make(Hook(name="us", kind=Hook.Kind.NOTIFICATION, address=mails.address(ADA, BOB)), owner)
    mails.answers = {f"RCPT TO:<{BOB}>": "451 4.7.1 Greylisted, come back later"}
    drawn = keeping.test(hook, owner)
    deliver()
    mails.answers = {}

    keeping.send_again(drawn, owner)
    deliver()

    assert mails.receivers() == [ADA, BOB]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"MAIL": "452 4.3.1 Insufficient system storage"}, "4.3.1 Insufficient system storage"),
        ({"MAIL": "553 5.7.1 Sender address rejected"}, "5.7.1 Sender address rejected"),
        ({"RCPT": "550 5.1.1 User unknown"}, "5.1.1 User unknown"),
        ({"DATA": "554 5.7.1 This is spam"}, "5.7.1 This is spam"),
        ({"AUTH": "535 5.7.8 Authentication failed"}, "5.7.8 Authentication failed"),
    ],
)
def test_why_a_mail_was_not_taken_is_said_without_the_password(
    mails: PostOffice, answers: dict[str, str], words: str
) -> None:
    mails.answers = {"AUTH": "235 well", **{verb: f"{text} (pass:word)" for verb, text in answers.items()}}

    outcome = notifying.notify(mails.address(ADA, user="somebody:pass%3Aword@"), "x", "y")

    assert outcome.status is None
    assert words in outcome.error
    assert "(…)" in outcome.error
    assert "b'" not in outcome.error


def test_what_cannot_be_reached_is_said(mails: PostOffice) -> None:
    secure = mails.address(ADA).replace("mailto", "mailtos")

    outcomes = [notifying.notify(address, "x", "y") for address in (secure, "mailto://127.0.0.1:9?from=a@example.com")]

    assert "STARTTLS extension not supported by server" in outcomes[0].error
    assert "Connection refused" in outcomes[1].error


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        ("ada", "address has 'ada' in to, which is no mail address"),
        (f"{ADA},bob", "address has 'bob' in to, which is no mail address"),
        (f"{ADA}&cc=eve", "address has 'eve' in cc, which is no mail address"),
        ("jörg@exämple.de", "address is not taken whole: Dropped invalid To email"),
    ],
)
def test_a_receiver_that_would_be_left_out_is_said_when_the_hook_is_kept(
    mails: PostOffice, owner: User, to: str, sentence: str
) -> None:
    with pytest.raises(BadInputError, match=sentence):
        keeping.make(Hook(name="us", kind=Hook.Kind.NOTIFICATION, address=mails.address(to)), owner)


def test_a_proxy_of_the_environment_is_not_used(address: str, there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    outcome = notifying.notify(address, "x", "y")

    assert (outcome.is_taken, len(there.came)) == (True, 1), outcome


def test_an_authority_of_ones_own_is_trusted_where_the_environment_names_it(
    there: Receiver, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.NOTIFICATION_SERVICES = ["jsons"]
    made = Certificates(tmp_path / "certificates")
    made.make("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server, made.server_key)
    there.socket = context.wrap_socket(there.socket, server_side=True)
    place = f"127.0.0.1:{there.server_port}/"

    def told() -> list[bool]:
        posted = posting.post(f"https://{place}", b"{}", {})
        return [posted.is_taken, notifying.notify(f"jsons://{place}", "x", "y").is_taken]

    before = told()
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(made.ca))

    assert (before, told()) == ([False, False], [True, True])


def test_what_hosts_sent_is_plain_text_that_calls_nobody(
    mails: PostOffice, address: str, there: Receiver, settings: Any
) -> None:
    text = "<b>gained</b> <a href='https://evil.example'> @everyone <!channel> [x](https://evil.example)\nhttps://fleet"
    text += " kim@allianz.example"
    settings.NOTIFICATION_SERVICES = ["mailto", "json"]

    assert notifying.notify(mails.address(ADA), "x", text).is_taken
    assert notifying.notify(address, "x", text).is_taken

    (_, mail), (_, posted) = mails.sent[0], there.came[0]
    assert mail.get_content_type() == "text/plain"
    for told in (mail.get_content(), json.loads(posted)["message"]):
        assert told.replace("\u2060", "").split() == text.split()
        assert not any(call in told for call in ("@everyone", "<!channel", "]("))
        assert "kim@allianz.example" in told, "which is copied as it stands"


def test_what_a_library_prints_is_no_word_on_the_message(
    address: str, there: Receiver, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.NOTIFICATION_SERVICES = ["json"]
    (tmp_path / "sitecustomize.py").write_text("import atexit\natexit.register(lambda: print('Bye!'))\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert notifying.notify(address, "x", "text").is_taken
    assert len(there.came) == 1


@pytest.mark.parametrize(
    ("address", "said", "shown"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdn/#general", "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdn", "/services/…/…/…"),
        ("tgram://123456789:abcdefg_hi/12315544/", "/bot123456789:abcdefg_hi/send", "/bot…:…/send"),
        (
            "mailto://relay-01?smtp=mail.lan&to=ada@example.com",
            "from relay-01 to mail.lan",
            "from relay-01 to mail.lan",
        ),
        ("mmosts://localhost:8065/3ccdd1134747", "localhost:8065/hooks/3ccdd1134747", "localhost:8065/hooks/…"),
        ("mmosts://chat.example.com/3ccdd1134747", "chat.example.com/hooks/3ccdd1134747", "chat.example.com/hooks/…"),
        ("mailto://user:a%40b@mail.example.com?to=ada@example.com", "a@b a%40b ada@example.com", "… … ada@example.com"),
        (
            "json://there.example.com/?+token=s3cr3t-t0k3n",
            "s3cr3t-t0k3n at there.example.com",
            "… at there.example.com",
        ),
    ],
)
def test_what_lets_into_a_service_is_not_said(address: str, said: str, shown: str) -> None:
    assert notifier.without_secrets(address, said) == shown


def test_no_file_of_this_machine_is_read_for_a_message(settings: Any, tmp_path: Path) -> None:
    settings.NOTIFICATION_SERVICES = ["discord"]
    template = tmp_path / "secrets.json"
    template.write_text('{"content": "a secret of this machine"}')

    outcome = notifying.notify(f"discord://123456789012345678/abcdefghijklmnop?template={template}", "x", "y")

    assert outcome.status is None
    assert "could not be read" in outcome.error
    assert not outcome.error[0].isdecimal()  # as lines of a log begin
    assert "WARNING" not in outcome.error


def test_without_the_extra_a_sentence_says_what_to_install(
    address: str, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)

    with pytest.raises(BadInputError, match=r"pip install -r requirements-extra.txt"):
        keeping.make(Hook(name="me", kind=Hook.Kind.NOTIFICATION, address=address), owner)
    assert notifying.notify(address, "x", "y").error == notifying.MISSING
