"""The archive in a storage that speaks S3, by django-storages: written, tried again, read back by others."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import duckdb
import httpx
import pyarrow as arrow
import pytest
from django.core.files.storage import storages
from prometheus_client import CollectorRegistry, generate_latest
from pyarrow import dataset, fs

from campaigns.answers import archive
from campaigns.models import Campaign, Query
from campaigns.operating.figures import House
from campaigns.operating.processes import processes
from tests.factories import answer, end, make_campaign, make_hosts

boto3 = pytest.importorskip("boto3", reason="boto3 is not here: pip install -r requirements-extra.txt")
server = pytest.importorskip("moto.server", reason="moto is not here: pip install -r requirements-dev.txt")
pytest.importorskip("storages", reason="django-storages is not here: pip install -r requirements-extra.txt")
pytestmark = pytest.mark.django_db(transaction=True)
KEYS = {"access_key": "archivist", "secret_key": "of-the-test"}


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a server that speaks S3 and has no bucket yet; give its address."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield f"{host}:{port}"
    httpx.post(f"http://{host}:{port}/moto-api/reset")  # what it keeps is the process', not the server's
    started.stop()


def bucket_of(settings: Any, address: str) -> Any:
    """Set the archive as its two variables do; give the bucket it is to lie in."""
    told = f'{{"bucket_name": "answers", "endpoint_url": "http://{address}", "region_name": "us-east-1"}}'
    options = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {**json.loads(told), **KEYS}}
    settings.ARCHIVE_ANSWERS, settings.STORAGES = True, {**settings.STORAGES, "archive": options}
    return storages["archive"].bucket  # type: ignore[attr-defined]  # of S3Storage


def answered(query: Query, runs: int) -> list[Campaign]:
    """Give runs of a query that ended, each with other columns and with what files trip over."""
    found, hosts = [], make_hosts(3)
    for run in range(runs):
        campaign = make_campaign(*hosts)
        Campaign.objects.filter(pk=campaign.pk).update(query=query)
        for host in hosts:
            answer(
                campaign, host, {"n": f"00{run}", f"of {run}": "ünï\n\"'"}, {"n": "-1.5", "host": "mine", "text": ""}
            )
        found.append(end(Campaign.objects.get(pk=campaign.pk)))
    return found


def rows_of(campaigns: list[Campaign]) -> list[str]:
    names = ("n", "of 0", "of 1", "row.host", "text")
    return sorted(
        str((campaign.pk, result.seq, result.host_id, result.hostname, *(cell(row, name) for name in names)))
        for campaign in campaigns
        for result in campaign.results.order_by("seq")
        for row in result.rows
    )


def cell(row: dict[str, str], name: str) -> str | None:
    return row.get(name.removeprefix("row."))


def read_back(address: str) -> list[str]:
    """Read the dataset as whoever has nothing but the bucket: by Arrow's own S3, asked by DuckDB."""
    found = fs.S3FileSystem(**KEYS, endpoint_override=address, scheme="http", region="us-east-1")
    files = [part.path for part in found.get_file_info(fs.FileSelector("answers", recursive=True)) if part.is_file]
    parts = [dataset.dataset(path, filesystem=found).to_table() for path in files]
    answers = arrow.concat_tables(parts, promote_options="default")
    columns = 'campaign, seq, host_id, host, n, "of 0", "of 1", "row.host", text'
    return sorted(map(str, duckdb.from_arrow(answers).select(columns).fetchall()))


def test_the_archive_in_s3_has_every_row_and_is_tried_again_until_it_is_there(
    board: None, settings: Any, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "AGAIN", archive.timedelta(0))
    query = Query.objects.create(name="kept", sql="SELECT 1")
    first, second = answered(query, 2)

    bucket_of(settings, "127.0.0.1:9")  # where nobody listens
    archive.archive()
    told_away = Campaign.objects.get(pk=first.pk).warnings
    bucket = bucket_of(settings, address)
    archive.archive()
    told = [Campaign.objects.get(pk=campaign.pk).warnings for campaign in (first, second)]
    bucket.create()
    for _ in range(2):
        archive.archive()
    day = f"query={query.pk}/day={first.ended_at:%Y-%m-%d}"
    names = sorted(found.key for found in bucket.objects.all())

    assert "Could not connect" in told_away[0]
    assert [len(warnings) for warnings in told] == [1, 1]  # one of a run, who was never tried first
    assert "Could not connect" in told[0][0]
    assert "NoSuchBucket" in told[1][0]
    assert Campaign.objects.exclude(warnings=[]).count() == 0
    assert names == sorted(f"{day}/campaign-{campaign.pk}-1.parquet" for campaign in (first, second))
    assert read_back(address) == rows_of([first, second])


@pytest.fixture
def writer(address: str, settings: Any) -> Iterator[dict[str, str]]:
    """Give the keys of somebody who may put objects there and do nothing else; from then on the server looks."""
    bucket_of(settings, address).create()
    told = {"endpoint_url": f"http://{address}", "region_name": "us-east-1", "aws_access_key_id": "root"}
    people = boto3.client("iam", **told, aws_secret_access_key="root")
    people.create_user(UserName="writer")
    may = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
    people.put_user_policy(UserName="writer", PolicyName="writes", PolicyDocument=policy)
    key = people.create_access_key(UserName="writer")["AccessKey"]
    httpx.post(f"http://{address}/moto-api/reset-auth", content=b"0")
    yield {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}
    httpx.post(f"http://{address}/moto-api/reset-auth", content=b"inf")


class _Amazon(BaseHTTPRequestHandler):
    """Answers who may put objects alone as Amazon does, and moto does not: he is not told what is there."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(403)

    do_DELETE = do_HEAD

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_who_may_not_look_writes_all_the_same(board: None, settings: Any) -> None:
    (campaign,) = answered(Query.objects.create(name="kept", sql="SELECT 1"), 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Amazon) as there:
        thread = threading.Thread(target=there.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        bucket_of(settings, f"127.0.0.1:{there.server_port}")
        archive.archive()
        there.shutdown()
        thread.join()

    assert Campaign.objects.get(pk=campaign.pk).warnings == []


def test_who_may_only_write_writes_and_who_may_not_is_told_by_all(
    board: None, settings: Any, address: str, writer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "AGAIN", archive.timedelta(0))
    (campaign,) = answered(Query.objects.create(name="kept", sql="SELECT 1"), 1)

    def told(**keys: str) -> tuple[list[str], str, list[str]]:
        bucket_of(settings, address)
        options = {**settings.STORAGES["archive"]["OPTIONS"], **keys}
        archived = {**settings.STORAGES["archive"], "OPTIONS": options}
        settings.STORAGES = {**settings.STORAGES, "archive": archived}
        archive.archive()
        registry = CollectorRegistry()
        registry.register(House())
        figure = "fleet_archive_failing_campaigns "
        line = next(one for one in generate_latest(registry).decode().splitlines() if one.startswith(figure))
        found = [one.sentence for one in processes() if "archive" in one.sentence]
        return Campaign.objects.get(pk=campaign.pk).warnings, line.removeprefix(figure), found

    wrong = told(**{**writer, "secret_key": "wrong"})
    stranger = told(access_key="nobody")
    right = told(**writer)

    assert "SignatureDoesNotMatch" in wrong[0][0]
    assert "InvalidAccessKeyId" in stranger[0][0]
    assert (wrong[1], right[1]) == ("1.0", "0.0")
    assert wrong[2][0].startswith("the answers of 1 ended campaign are not in the archive; its answers could not be")
    assert (right[0], right[2]) == ([], [])
