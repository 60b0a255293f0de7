"""SQL that no host can run: programs hear how to force it, people in the words of their page, records not at all."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from agents.models import TableSchema
from campaigns.models import Query
from campaigns.recurring import keeping, running
from campaigns.recurring.models import Schedule
from tests.factories import learn, make_host, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
SQL = "SELECT name FROM sip_config"
REFUSED = "is wrong on every host that is meant: no such table: sip_config"
OF_PROGRAMS = '(with "force": true they are asked all the same)'


def of_programs(address: str, host: int) -> str:
    program = APIClient()
    program.force_authenticate(make_user(admin=True))
    told: str = program.post(address, {"sql": SQL, "target": {"hosts": [host]}}, format="json").json()["error"]
    return told


def of_the_api(browser: Client, host: int) -> str:
    return of_programs("/api/v1/campaigns/", host)


def of_an_estimate(browser: Client, host: int) -> str:
    return of_programs("/api/v1/campaigns/estimate/", host)


def of_the_ask_page(browser: Client, host: int) -> str:
    form = {"sql": SQL, "kind": "all", "timeout": "600", "page": "p1"}
    return browser.post("/ask/", form).content.decode()


def of_the_host_page(browser: Client, host: int) -> str:
    return browser.post(f"/hosts/{host}/ask/", {"sql": SQL}).content.decode()


def of_a_schedule(browser: Client, host: int) -> str:
    TableSchema.objects.all().delete()
    query = Query.objects.create(name="sip", sql=SQL)
    schedule = keeping.make(Schedule(query=query, every=60, target={"hosts": [host]}), make_user(admin=True))
    learn("linux", "processes")
    Schedule.objects.filter(pk=schedule.pk).update(next_at=timezone.now())
    running.step()
    return Schedule.objects.get().last_problem + browser.get(f"/schedules/{schedule.pk}/").content.decode()


@pytest.mark.parametrize(
    ("told", "to_programs"),
    [
        (of_the_api, True),
        (of_an_estimate, True),
        (of_the_ask_page, False),
        (of_the_host_page, False),
        (of_a_schedule, False),
    ],
)
def test_who_is_told(told: Callable[..., str], to_programs: bool, client: Client) -> None:
    learn("linux", "processes")
    host = make_host(osquery_version="5.23.0")
    client.force_login(make_user(admin=True))

    said = told(client, host.pk).replace("&quot;", '"')

    assert REFUSED in said
    assert (OF_PROGRAMS in said) is to_programs
    assert ("tick “Ask all the same”" in said) is (told is of_the_ask_page)
