"""What people see of carves: the API, the bytes for those who may, the console and the admin."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, Permission, User
from django.http import Http404
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from agents.carving import carves, store
from agents.carving.models import Carve, CarveBlock
from agents.models import Label, LabelMembership
from campaigns.answers import retention
from campaigns.answers.carves import expects_carves_of
from campaigns.api import downloads
from campaigns.models import Campaign, Target
from campaigns.people.scopes import Scope
from campaigns.states import State
from tests.factories import end, make_campaign, make_host
from tests.on_the_loop import LoopClient

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board", "carves_folder")]
Api = Callable[[User | None], APIClient]

CONTENT = [b"one ", b"two ", b"three"]
SQL = "SELECT * FROM Carves WHERE carve = 1 AND path = '/etc/hosts'"


def make_empty(campaign: Campaign) -> Carve:
    """Give a carve of a path that was not there: a tar of nothing, of which all is here."""
    carve = make_carve(campaign, block_count=1, block_size=1024, carve_size=1024, received_blocks=1)
    store.write(carve, 0, bytes(1024))
    carves.check()
    return Carve.objects.get(pk=carve.pk)


def make_carve(campaign: Campaign | None = None, received: int = 3, **changes: Any) -> Carve:
    """Give a carve of which so many of three blocks are here."""
    size, now = sum(map(len, CONTENT)), timezone.now()
    facts = {"block_count": 3, "block_size": 5, "carve_size": size, "session_id": "s", "begun_at": now, **changes}
    carve = Carve.objects.create(
        host=make_host(),
        carve_id="guid-1",
        campaign_id=campaign.pk if campaign else None,
        path="/etc/hosts",
        completed_at=now if received == 3 else None,
        **{"received_blocks": received, "received_bytes": sum(map(len, CONTENT[:received])), **facts},
    )
    for number, block in enumerate(CONTENT[:received]):
        store.write(carve, number, block)
        CarveBlock.objects.create(carve=carve, number=number, size=len(block))
    return carve


@pytest.fixture
def downloader(observer: User) -> User:
    """Give a person who may look and download."""
    observer.user_permissions.add(Permission.objects.get(codename="download_carve"))
    return User.objects.get(pk=observer.pk)


def test_a_campaign_lists_its_carves_alone(api: Api, observer: User) -> None:
    campaign = make_campaign(make_host(), sql=SQL)
    carve = make_carve(campaign, received=1)
    carves.check()

    answer = api(observer).get(f"/api/v1/campaigns/{campaign.pk}/carves/").json()

    assert answer["count"] == 1
    found = answer["results"][0]
    assert (found["id"], found["host"]["hostname"], found["path"]) == (carve.pk, carve.host.hostname, "/etc/hosts")
    assert (found["state"], found["received_blocks"], found["missing_blocks"]) == ("uploading", 1, [1, 2])
    assert (found["integrity"], found["download"]) == (None, None)
    other = make_campaign(make_host())
    assert api(observer).get(f"/api/v1/campaigns/{other.pk}/carves/").json()["results"] == []


def test_a_complete_carve_shows_its_digest_and_where_it_is(api: Api, observer: User) -> None:
    campaign = make_campaign(make_host(), sql=SQL)
    carve = make_carve(campaign)
    carves.check()

    found = api(observer).get(f"/api/v1/campaigns/{campaign.pk}/carves/").json()["results"][0]

    assert found["sha256"] == hashlib.sha256(b"".join(CONTENT)).hexdigest()
    assert found["integrity"] == "unknown"
    assert found["download"] == f"http://testserver/api/v1/carves/{carve.pk}/file"


def test_strangers_see_no_carves(api: Api, stranger: User) -> None:
    campaign = make_campaign(make_host(), sql=SQL)

    assert api(stranger).get(f"/api/v1/campaigns/{campaign.pk}/carves/").status_code == 403
    assert api(None).get(f"/api/v1/campaigns/{campaign.pk}/carves/").status_code == 401


def test_who_may_gets_the_bytes(api: Api, downloader: User) -> None:
    carve = make_carve()

    answer = api(downloader).get(f"/api/v1/carves/{carve.pk}/file")

    assert b"".join(answer.streaming_content) == b"".join(CONTENT)
    assert answer["Content-Length"] == str(len(b"".join(CONTENT)))
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == 'attachment; filename="carve-guid-1.tar"'


@pytest.mark.django_db(transaction=True)
async def test_over_asgi_the_bytes_are_the_same(downloader: User) -> None:
    carve = await sync_to_async(make_carve)()
    client = LoopClient()
    await client.aforce_login(downloader)

    answer: Any = await client.get(f"/api/v1/carves/{carve.pk}/file")

    assert b"".join([piece async for piece in answer.streaming_content]) == b"".join(CONTENT)


def test_a_packed_archive_is_called_what_it_is(api: Api, downloader: User) -> None:
    carve = make_carve(received_bytes=10 + len(b"".join(CONTENT[1:])))
    store.write(carve, 0, b"\x28\xb5\x2f\xfdpacked")

    answer = api(downloader).get(f"/api/v1/carves/{carve.pk}/file")

    assert answer["Content-Disposition"].endswith('.tar.zst"')
    answer.close()


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("harm", ["gone", "gone later", "short", "other"])
def test_what_is_not_whole_any_more_is_said_and_not_handed_out(
    api: Api, downloader: User, carves_folder: Path, harm: str, method: str
) -> None:
    carve = make_carve()
    carves.check()
    block = carves_folder / str(carve.pk) / ("0" if harm == "gone" else "2")
    if harm.startswith("gone"):
        block.unlink()
    else:
        block.write_bytes(b"thr" if harm == "short" else b"THREE")

    answer = getattr(api(downloader), method)(f"/api/v1/carves/{carve.pk}/file")

    if (harm, method) == ("other", "head"):  # HEAD reads nothing
        assert answer.status_code == 200
    elif harm == "other":  # of which some was on its way: it breaks off, and no file looks whole
        with pytest.raises(OSError, match="others than those that came"):
            list(answer.streaming_content)
    else:
        assert answer.status_code == 409
        assert method == "head" or "is not whole any more" in answer.json()["error"]


def test_what_was_changed_in_its_only_piece_is_said_before_the_first_byte(
    api: Api, downloader: User, carves_folder: Path
) -> None:
    carve = make_carve(block_count=1, received_bytes=len(CONTENT[0]))
    carves.check()
    (carves_folder / str(carve.pk) / "0").write_bytes(b"ONE ")

    answer = api(downloader).get(f"/api/v1/carves/{carve.pk}/file")

    assert answer.status_code == 409


def test_who_may_only_look_gets_no_bytes(api: Api, operator: User, observer: User, stranger: User) -> None:
    carve = make_carve()

    for person in (operator, observer, stranger):
        assert api(person).get(f"/api/v1/carves/{carve.pk}/file").status_code == 403
    assert api(None).get(f"/api/v1/carves/{carve.pk}/file").status_code == 401


def test_the_bytes_end_when_who_takes_them_sees_the_host_no_more(
    api: Api, downloader: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "RIGHTS_SECONDS", 0.0)
    carve, team = make_carve(), Group.objects.create(name="team")
    label = Label.objects.create(name="theirs")
    Scope.objects.create(group=team).labels.add(label)
    downloader.groups.add(team)
    seen = LabelMembership.objects.create(label=label, host=carve.host)
    pieces = iter(api(downloader).get(f"/api/v1/carves/{carve.pk}/file").streaming_content)
    assert next(pieces)

    seen.delete()

    with pytest.raises(Http404):
        next(pieces)


def test_a_carve_with_blocks_missing_is_not_handed_out(api: Api, downloader: User) -> None:
    carve = make_carve(received=2)

    answer = api(downloader).get(f"/api/v1/carves/{carve.pk}/file")

    assert answer.status_code == 409
    assert answer.json()["error"] == f"carve {carve.pk} is uploading: 1 of 3 blocks is missing"
    assert api(downloader).get("/api/v1/carves/999999/file").status_code == 404


def test_the_console_links_to_carves_for_who_may(client: Client, operator: User) -> None:
    campaign = make_campaign(make_host(), sql=SQL)
    address = f"/campaigns/{campaign.pk}/"
    client.force_login(operator)
    assert 'id="carves"' not in client.get(address).content.decode()
    carve = make_carve(campaign)

    page = client.get(address).content.decode()
    assert "Carves (1)" in page
    assert f"/api/v1/carves/{carve.pk}/file" not in page

    operator.user_permissions.add(Permission.objects.get(codename="download_carve"))
    assert f"/api/v1/carves/{carve.pk}/file" in client.get(address).content.decode()


def test_a_carve_of_a_missing_file_says_so_and_hands_nothing_out(api: Api, downloader: User) -> None:
    carve = make_empty(make_campaign(make_host(), sql=SQL))

    found = api(downloader).get(f"/api/v1/campaigns/{carve.campaign_id}/carves/").json()["results"][0]

    assert (found["state"], found["trouble"]) == ("empty", "empty archive: no such file")
    assert found["download"] is None
    refused = api(downloader).get(f"/api/v1/carves/{carve.pk}/file")
    assert refused.status_code == 409
    assert "empty archive: no such file '/etc/hosts' on" in refused.json()["error"]


def test_page_and_admin_show_that_a_file_was_missing(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root"))
    carve = make_empty(make_campaign(make_host(), sql=SQL))

    for address in (f"/campaigns/{carve.campaign_id}/", "/admin/agents/carve/", f"/hosts/{carve.host_id}/"):
        page = client.get(address).content.decode()
        assert "empty archive: no such file" in page, address
        assert f"/api/v1/carves/{carve.pk}/file" not in page, address
        assert "complete" not in page[page.index("empty archive") - 200 :][:400], address


def test_the_admin_lists_carves_and_deletes_them_with_their_files(client: Client, carves_folder: Path) -> None:
    client.force_login(User.objects.create_superuser("root"))
    carve = make_carve(received=2)

    page = client.get("/admin/agents/carve/").content.decode()
    assert "uploading, 2 of 3 blocks" in page
    one = client.get(f"/admin/agents/carve/{carve.pk}/change/").content.decode()
    assert "guid-1" in one
    assert "session" not in one.lower().replace("sessionid", "")

    chosen = {"action": "purge_carves", "_selected_action": [carve.pk]}
    assert client.post("/admin/agents/carve/", chosen).status_code == 302
    assert not Carve.objects.exists()
    assert list(carves_folder.rglob("*")) == []


@pytest.mark.parametrize(
    ("state", "sql", "expected"),
    [
        (State.WAITING, SQL, True),
        (State.DELIVERED, SQL, True),
        (State.NO_ANSWER, SQL, True),
        (State.ANSWERED, SQL, False),
        (State.FAILED, SQL, False),
        (State.WAITING, "SELECT 1", False),
    ],
)
def test_carves_are_expected_while_an_answer_may_still_name_them(state: State, sql: str, expected: bool) -> None:
    host = make_host()
    make_campaign(host, sql=sql)
    Target.objects.update(state=state)

    assert expects_carves_of(host.pk) is expected
    assert not expects_carves_of(make_host().pk)


def test_no_carve_is_expected_once_late_answers_are_dropped(settings: Any) -> None:
    host = make_host()
    make_campaign(host, sql=SQL)
    Target.objects.update(state=State.MISSED)
    Campaign.objects.update(status="expired", ended_at=timezone.now())
    assert expects_carves_of(host.pk)

    settings.LATE_ANSWER_SECONDS = -1

    assert not expects_carves_of(host.pk)


def test_carves_go_with_their_campaign_and_unnamed_ones_by_age(carves_folder: Path, settings: Any) -> None:
    settings.CAMPAIGN_RETENTION_DAYS = 100
    old, kept = (end(make_campaign(make_host(), sql=SQL), timedelta(days=days)) for days in (101, 99))
    long_ago = timezone.now() - timedelta(days=101)
    make_carve(old, session_id="old")
    make_carve(None, session_id="unnamed", begun_at=long_ago)
    stays = [make_carve(kept, session_id="kept"), make_carve(None, session_id="new")]

    retention.purge()

    assert list(Carve.objects.order_by("pk")) == stays
    assert sum(1 for path in carves_folder.rglob("*") if path.is_file()) == 2 * len(CONTENT)
