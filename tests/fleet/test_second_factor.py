"""Second factors: set up by oneself, asked for at every door, never guessed, demanded of staff by a setting."""

import base64
import hashlib
import hmac
import re
import struct
import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.test import Client

from fleet.audit.models import AuditEvent
from tests.factories import make_user
from tests.fleet.signing_in import PASSWORD, is_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board", "standing_clock")]
DOORS = ("/login/", "/admin/login/")


@pytest.fixture(autouse=True)
def _few_tries(quick_passwords: None, settings: Any) -> None:
    settings.WRONG_PASSWORDS_OF_NAME_AT_ADDRESS = 3


def code_of(secret: str, step: int = 0) -> str:
    """Compute RFC 6238 anew: what a telephone shows, so many steps of 30 seconds from now."""
    counter = struct.pack(">Q", int(time.time()) // 30 + step)
    digest = hmac.new(base64.b32decode(secret), counter, hashlib.sha1).digest()
    begin = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[begin : begin + 4])[0] & 0x7FFFFFFF) % 10**6:06}"


def password(door: str = "/login/") -> tuple[Client, Any]:
    client = Client()
    return client, client.post(f"{door}?next=/labels/", {"username": "kim", "password": PASSWORD})


def set_up(client: Client) -> tuple[str, list[str]]:
    """Set an app up as a person does; give its secret and the recovery codes."""
    page = client.get("/account/app/").content.decode()
    secret = re.search(r'id="totp-secret">([A-Z2-7]+)', page)
    assert secret is not None
    answer = client.post("/account/app/", {"code": code_of(secret[1], step=-1)})
    assert answer["Location"] == "/account/codes/"
    shown = client.get("/account/codes/").content.decode()
    return secret[1], re.findall(r"^\d{8}$", shown.replace('codes">', 'codes">\n'), re.MULTILINE)


@pytest.mark.parametrize("door", DOORS)
def test_after_the_password_every_door_asks_for_a_code_which_is_good_once(kim: User, door: str) -> None:
    secret, _ = set_up(password()[0])

    client, answer = password(door)
    before = [is_in(client), client.get("/admin/").status_code, client.get("/api/v1/hosts/").status_code]
    code = code_of(secret)
    passed = client.post(answer["Location"], {"code": code})
    cache.clear()  # as another process, which has not seen it
    again, _ = password(door)
    refused = again.post("/login/second-factor/", {"code": code})

    assert answer["Location"] == "/login/second-factor/"
    assert before == [False, 302, 401]
    assert passed["Location"] == "/labels/"
    assert is_in(client)
    assert "used already" in refused.content.decode()
    assert not is_in(again)


def test_who_begins_again_still_comes_where_he_wanted_to(kim: User) -> None:
    set_up(password()[0])
    client, answer = password()

    page = client.get(answer["Location"]).content.decode()
    again = re.search(r'href="(/login/[^"]*)">Begin again', page)

    assert again is not None
    assert 'name="next" value="/labels/"' in client.get(again[1]).content.decode()


def test_a_seed_cannot_be_read_in_the_database(kim: User) -> None:
    secret, codes = set_up(password()[0])

    stored = str(list(Authenticator.objects.values_list("data", flat=True)))

    assert len(codes) == 10
    assert secret not in stored
    assert not any(code in stored for code in codes)


def test_recovery_codes_are_shown_once_and_each_lets_in_once(kim: User) -> None:
    first, _ = password()
    _, codes = set_up(first)

    later = first.get("/account/codes/").content.decode()
    client, _ = password()
    client.post("/login/second-factor/", {"code": codes[0]})
    again, _ = password()
    again.post("/login/second-factor/", {"code": codes[0]})

    assert codes[1] not in later
    assert is_in(client)
    assert not is_in(again)
    assert "9 unused" in client.get("/account/").content.decode()


def test_wrong_codes_lock_also_for_who_has_the_password(kim: User) -> None:
    secret, _ = set_up(password()[0])

    for _ in range(3):
        client, _ = password()  # which is right each time, and does not begin the count of codes anew
        assert client.post("/login/second-factor/", {"code": "000000"}).status_code == 200
    client, _ = password()
    locked = client.post("/login/second-factor/", {"code": code_of(secret)})

    assert (locked.status_code, locked["Retry-After"]) == (429, "900")
    assert "Too many wrong codes: try again in 15 minutes." in locked.content.decode()
    assert not is_in(client)


def test_staff_sets_one_up_before_anything_else_where_that_is_required(kim: User, settings: Any) -> None:
    settings.REQUIRE_SECOND_FACTOR = True
    client, _ = password()

    refused = {path: client.get(path) for path in ("/", "/admin/", "/tokens/", "/api/v1/hosts/", "/sessions/")}
    banner = client.get("/account/").content.decode()
    set_up(client)

    assert [answer.status_code for answer in refused.values()] == [302, 302, 302, 403, 302]
    assert refused["/admin/"]["Location"] == "/account/?second_factor=needed"
    assert "needs a second factor" in banner
    assert client.get("/admin/").status_code == 200
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("page", ["/account/", "/account/app/", "/account/passkeys/add/", "/confirm/"])
def test_what_a_page_asks_by_itself_does_not_lead_away_from_where_one_sets_up(
    kim: User, settings: Any, page: str
) -> None:
    settings.REQUIRE_SECOND_FACTOR = True
    client, _ = password()
    asked = re.findall(r'hx-get="([^"]+)"', client.get(page).content.decode())

    def of(page: str) -> dict[str, str]:
        return {"HX-Request": "true", "HX-Current-URL": f"http://testserver{page}"}

    statuses = {address: client.get(address, headers=of(page)).status_code for address in asked}
    elsewhere = client.get(asked[0], headers=of("/labels/"))

    assert "/troubles/" in asked
    assert statuses == dict.fromkeys(asked, 204)
    assert elsewhere.headers["HX-Redirect"] == "/account/?second_factor=needed"


def test_an_administrator_takes_the_factor_of_a_lost_telephone_away(kim: User) -> None:
    set_up(password()[0])
    client = Client()
    client.force_login(make_user("boss", admin=True))

    client.post("/admin/auth/user/", {"action": "remove_second_factors", "_selected_action": [kim.pk]})

    assert password()[1]["Location"] == "/labels/"


def test_who_may_change_people_does_so_in_the_console_and_the_lock_goes_along(kim: User, settings: Any) -> None:
    settings.WRONG_PASSWORDS_OF_NAME_AT_ADDRESS = 3
    User.objects.update(is_staff=False, is_superuser=False)
    set_up(password()[0])
    for _ in range(3):
        password()[0].post("/login/second-factor/", {"code": "000000"})
    boss = make_user("boss")
    boss.groups.add(Group.objects.get(name="Administrator"))
    client = Client()
    client.force_login(boss)

    before = client.get(f"/people/{kim.pk}/").content.decode()
    said = client.post(f"/people/{kim.pk}/second-factors/remove/", follow=True).content.decode()
    secret, _ = set_up(password()[0])
    again, _ = password()
    answer = again.post("/login/second-factor/", {"code": code_of(secret)})

    assert "Remove the second factors…" in before
    assert "No second factor is asked of kim any more." in said
    assert "Remove the second factors…" not in said
    assert answer.status_code == 302
    assert AuditEvent.objects.filter(action="second_factor.removed", who="boss", subject=f"person {kim.pk}").exists()


def test_the_second_factor_of_who_has_more_rights_is_left(kim: User) -> None:
    set_up(password()[0])
    boss = make_user("boss")
    boss.groups.add(Group.objects.get(name="Administrator"))
    User.objects.filter(pk=kim.pk).update(is_superuser=True)
    client = Client()
    client.force_login(boss)

    said = client.post(f"/people/{kim.pk}/second-factors/remove/", follow=True).content.decode()

    assert "has rights that you lack" in said
    assert "Remove the second factors…" not in said
    assert Authenticator.objects.filter(type=Authenticator.Type.TOTP).exists()


def test_the_audit_says_which_factor_it_was(kim: User) -> None:
    secret, codes = set_up(password()[0])
    for code in (code_of(secret), codes[0]):
        client, _ = password()
        client.post("/login/second-factor/", {"code": code})

    ways = [line.details["ways"] for line in AuditEvent.objects.filter(action="session.begun").order_by("pk")]

    assert ways == [["password"], ["password", "totp"], ["password", "recovery_codes"]]


def test_one_removes_it_oneself_and_the_recovery_codes_go_along(kim: User) -> None:
    client, _ = password()
    set_up(client)

    client.post("/account/app/remove/")

    assert not Authenticator.objects.exists()
