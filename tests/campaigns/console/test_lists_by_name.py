"""Lists by name stand as people read them: small letters among capitals."""

from html import unescape

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from campaigns.models import Query
from campaigns.people.scopes import Scope
from tests.factories import make_host, make_label, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]

NAMES = ["apples of ours", "Berries of ours", "cherries of ours", "Dates of ours"]
LABELS = ["/labels/", "/hosts/", "/hosts/{host}/", "/ask/", "/tokens/", "/settings/", "/find/?q=of+ours"]
LABELS += ["/queries/{query}/schedules/new/", "/people/teams/new/"]
QUERIES = ["/queries/", "/", "/ask/"]
GROUPS = ["/people/rules/", "/people/quotas/", "/people/{other}/"]


@pytest.mark.parametrize(
    ("kind", "address"),
    [("label", at) for at in LABELS] + [("query", at) for at in QUERIES] + [("group", at) for at in GROUPS],
)
def test_names_are_in_the_order_in_which_people_read(kind: str, address: str) -> None:
    boss, host = make_user("boss", admin=True), make_host()
    query = Query.objects.create(name="a query", sql="SELECT 1", created_by=boss)
    for name in reversed(NAMES):
        if kind == "label":
            make_label(name, host)
        elif kind == "query":
            Query.objects.create(name=name, sql="SELECT 1", created_by=boss)
        else:
            Scope.objects.create(group=Group.objects.create(name=name))
    browser = Client()
    browser.force_login(boss)

    page = browser.get(address.format(host=host.pk, query=query.pk, other=make_user("ana").pk))

    assert page.status_code == 200
    told = unescape(page.content.decode())
    assert sorted(NAMES, key=told.index) == NAMES
