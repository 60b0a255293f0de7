"""What people see when the server refuses or fails: a page that says what to do next; programs get JSON."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import OperationalError, connection
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import reverse
from redis.exceptions import ConnectionError as RedisIsAway

from fleet import refusals
from tests.factories import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]


@pytest.fixture
def boss(client: Client) -> Client:
    """Give a browser in which an administrator is logged in."""
    client.force_login(make_user("boss", admin=True))
    return client


@pytest.mark.parametrize("address", ["/nothing/", "/admin/nothing/", "/labels/9999/", "/queries/9999/", "/hosts/9999/"])
def test_an_address_that_nothing_has_leads_on(boss: Client, address: str) -> None:
    answer = boss.get(address)

    page = answer.content.decode()
    assert answer.status_code == 404
    assert '<nav aria-label="Main">' in page
    assert "tokens.css" in page


def test_a_stranger_at_a_wrong_address_is_shown_the_way_in(client: Client) -> None:
    page = client.get("/nothing/<b>/").content.decode()

    assert "&lt;b&gt;" in page
    assert f'href="{reverse("login")}"' in page
    assert "<nav" not in page


@pytest.mark.parametrize(("host", "words"), [("testserver", "holds a NUL"), ("other.example", "The server refuses")])
def test_what_is_refused_before_it_is_known_who_asks_is_a_page_that_leads_on(
    boss: Client, host: str, words: str
) -> None:
    answer = boss.get("/campaigns/?search=%00", headers={"Host": host})

    page = answer.content.decode()
    assert answer.status_code == 400
    assert words in page
    assert "Nothing was done." in page
    assert f'href="{reverse("home")}"' in page
    assert f'href="{reverse("login")}"' not in page


def test_a_form_of_another_session_is_refused_in_a_page() -> None:
    client = Client(enforce_csrf_checks=True)

    answer = client.post("/login/", {"username": "a", "password": "b"})

    assert answer.status_code == 403
    assert "go back to the form" in answer.content.decode()


def test_who_may_not_is_told_what_to_do(client: Client) -> None:
    user = make_user("staff")
    user.is_staff = True
    user.save()
    client.force_login(user)

    answer = client.get("/admin/agents/host/")

    assert answer.status_code == 403
    assert "An administrator of this server can give it to you" in answer.content.decode()


@pytest.mark.parametrize("address", ["/settings/secrets/", "/ask/example/0/", "/preferences/"])
def test_an_address_for_forms_is_no_empty_page(boss: Client, address: str) -> None:
    answer = boss.get(address)

    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    assert "nothing to look at here" in answer.content.decode()


def test_a_failure_is_told_without_asking_the_database(django_assert_num_queries: Any, rf: RequestFactory) -> None:
    request = rf.get("/ask/")
    request.COOKIES["fleet_theme"] = "dark"

    with django_assert_num_queries(0):
        answer: Any = refusals.server_error(request)

    assert answer.status_code == 500
    assert 'data-theme="dark"' in answer.content.decode()
    assert "Try again in a moment" in answer.content.decode()


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (lambda asked: refusals.bad_request(asked, BadRequest("x is y")), 400),
        (lambda asked: refusals.forbidden(asked, PermissionDenied()), 403),
        (refusals.csrf_failure, 403),
        (lambda asked: refusals.not_found(asked, Exception()), 404),
        (refusals.server_error, 500),
    ],
)
def test_programs_get_json(rf: RequestFactory, refusal: Any, status: int) -> None:
    request: HttpRequest = rf.get("/api/v1/x/")

    answer = refusal(request)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    assert b'"error"' in answer.content


@pytest.mark.parametrize(
    ("refusal", "status", "words"),
    [
        (lambda asked: refusals.bad_request(asked, BadRequest("x is y")), 400, "x is y"),
        (lambda asked: refusals.forbidden(asked, PermissionDenied("no <b>\u202e")), 403, "no <b>⟨U+202E⟩"),
        (refusals.csrf_failure, 403, "Load the page again"),
        (lambda asked: refusals.not_found(asked, Exception()), 404, "nothing is at '/labels/x/'"),
        (refusals.server_error, 500, "its log says why"),
    ],
)
def test_the_script_of_a_page_gets_a_sentence(rf: RequestFactory, refusal: Any, status: int, words: str) -> None:
    request: HttpRequest = rf.post("/labels/x/", headers={"HX-Request": "true"})

    answer = refusal(request)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert words in answer.content.decode()
    assert "<html" not in answer.content.decode()


def test_the_script_of_a_page_is_told_which_permission_is_missing(client: Client) -> None:
    client.force_login(make_user("nobody"))

    answer = client.post("/labels/new/", headers={"HX-Request": "true"})

    assert answer.status_code == 403
    assert answer.content.decode() == "nobody lacks the permission agents.add_label"


@pytest.fixture
def other() -> Iterator[Any]:
    """Give another connection to the database."""
    made = connection.copy()
    with made.cursor() as cursor:
        yield cursor
    made.close()


@pytest.fixture
def impatient(transactional_db: None) -> Iterator[None]:
    """Wait for no lock; the connection outlives the test and is handed on to others."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '20ms'")
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout")


@pytest.mark.usefixtures("impatient")
def test_a_program_hears_when_to_come_again_while_others_hold_what_it_needs(client: Client, other: Any) -> None:
    client.force_login(make_user("boss", admin=True))
    other.execute("BEGIN; LOCK TABLE agents_label IN ACCESS EXCLUSIVE MODE")

    refused = client.get("/api/v1/labels/")
    other.execute("ROLLBACK")

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.json()["error"].startswith("others hold what this needs")
    assert client.get("/api/v1/labels/").status_code == 200


@pytest.mark.usefixtures("impatient")
def test_a_person_is_told_what_is_away_and_tries_again_with_a_click(client: Client, other: Any) -> None:
    client.force_login(make_user("boss", admin=True))
    client.raise_request_exception = False
    client.cookies["fleet_theme"] = "dark"
    other.execute("BEGIN; LOCK TABLE agents_label IN ACCESS EXCLUSIVE MODE")

    looked = client.get("/labels/?page=2&x=<b>")
    sent = client.post("/labels/new/", {"name": "web"})
    other.execute("ROLLBACK")

    assert looked.status_code == sent.status_code == 503
    assert int(looked.headers["Retry-After"]) > 0
    page = looked.content.decode()
    assert "Others hold what this needs, and did not let go in time" in page
    assert 'href="/labels/?page=2&amp;x=%3Cb%3E"' in page
    assert 'data-theme="dark"' in page
    assert "Try again</a>" not in sent.content.decode()
    assert "What you typed is kept in this tab" in sent.content.decode()


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OperationalError("connection refused"), "The database does not answer this now"),
        (RedisIsAway("connection refused"), "Redis does not answer this now"),
        (ValueError("a secret"), "The server failed to answer this"),
    ],
)
def test_an_outage_is_told_by_its_name_and_a_failure_by_none(rf: RequestFactory, error: Exception, words: str) -> None:
    try:
        fail(error)
    except Exception:
        answer: Any = refusals.server_error(rf.get("/"))
        program: Any = refusals.server_error(rf.get("/api/v1/x/"))

    assert answer.status_code == program.status_code == (500 if isinstance(error, ValueError) else 503)
    assert words in answer.content.decode()
    assert str(error) not in f"{answer.content}{program.content}"


@pytest.mark.django_db(transaction=True)
def test_a_program_hears_when_to_come_again_while_the_database_is_away(other: Any) -> None:

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        other.execute("SELECT pg_terminate_backend(%s, 5000)", cursor.fetchone())
        with pytest.raises(OperationalError) as caught:
            cursor.execute("SELECT 1")
    connection.close()

    refused = refusals.error_response(caught.value, {})

    assert refused is not None
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.data["error"].startswith("the database does not answer")
