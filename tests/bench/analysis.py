"""`python -m tests.bench.analysis`: the first and the next question over 1,000,000 rows of 10 columns, and a diff.

The first copies the rows out of PostgreSQL; the next finds the copy. What others do on the machine slows both down: the
CPU-seconds of all processes together are printed beside.
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.bench.clocks import cpu_of
from tests.bench.durable import durable_servers

HOSTS, ROWS = 100_000, 10
CAME = 500  # hosts that answered between two questions
FILL = """
INSERT INTO campaigns_result
    (campaign_id, host_id, hostname, seq, state, rows, row_count, truncated, late, error, received_at)
SELECT %s, id, hostname, row_number() OVER (ORDER BY id), 'answered', (
    SELECT jsonb_agg(jsonb_build_object(
        'pid', (n * 37 + host.id)::text, 'name', 'process-' || n %% 50, 'path', '/usr/lib/x/process-' || n %% 50,
        'uid', (n %% 7)::text, 'started', (1700000000 + host.id * 3 + n)::text, 'cpu', (n * 0.5)::text,
        'version', '3.' || n %% 4 || '.' || (host.id + %s) %% 9, 'state', 'S', 'parent', (n %% 3)::text,
        'at', '2026-01-0' || 1 + n %% 9 || ' 10:00:00')) FROM generate_series(1, %s) AS n
), %s, false, false, '', now() FROM agents_host AS host
"""
COLUMNS = ["pid", "name", "path", "uid", "started", "cpu", "version", "state", "parent", "at"]
QUESTIONS = {
    "hosts by version": "SELECT version, count(DISTINCT host) AS hosts FROM answers GROUP BY 1 ORDER BY 2",
    "means and extremes": "SELECT name, avg(cpu), max(pid), min(started) FROM answers GROUP BY 1 ORDER BY 2",
    "by platform": "SELECT platform, count(*) FROM answers GROUP BY 1",
}


def timed(name: str, aim: str, asked: Callable[[], Any]) -> None:
    """Print how long it took by the wall, and of the CPU where children did the work."""
    began, before = time.perf_counter(), _spent()
    asked()
    print(f"{name}: {time.perf_counter() - began:.2f} s, {_spent() - before:.2f} CPU-seconds (aim {aim})", flush=True)


def _spent() -> float:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system + cpu_of(backend)


def fill(difference: int) -> Any:
    """Make a campaign that ended, with all its rows."""
    from django.contrib.auth.models import User
    from django.db import connection

    from campaigns.models import Campaign
    from campaigns.states import Status

    by = User.objects.get(username="bench")
    campaign = Campaign.objects.create(
        sql="SELECT 1", target={}, timeout=60, created_by=by, status=Status.COMPLETED, columns=COLUMNS, last_seq=HOSTS
    )
    with connection.cursor() as cursor:
        cursor.execute(FILL, [campaign.pk, difference, ROWS, ROWS])
        cursor.execute(
            "INSERT INTO campaigns_target (campaign_id, host_id, hostname, state, late, deliveries, error, row_count)"
            " SELECT %s, id, hostname, 'answered', false, 1, '', 10 FROM agents_host",
            [campaign.pk],
        )
        cursor.execute("ANALYZE campaigns_result, campaigns_target")
    return campaign


def followed(campaign: Any, by: Any) -> None:
    """Ask again and again while the last hosts answer: what came since is added to the copy that is there."""
    from campaigns.analysis.asking import ask
    from campaigns.states import Status

    campaign.status, campaign.last_seq = Status.RUNNING, HOSTS - 5 * CAME
    timed("as the last hosts answer, asked first", "6 s", partial(ask, campaign, next(iter(QUESTIONS.values())), by))
    for _ in range(5):
        campaign.last_seq += CAME
        for name, sql in {**QUESTIONS, "targets": "SELECT state, count(*) FROM targets GROUP BY 1"}.items():
            timed(f"up to seq {campaign.last_seq}, {name}", "1 s", partial(ask, campaign, sql, by))
    campaign.status = Status.COMPLETED


def main() -> None:
    """Run all."""
    with tempfile.TemporaryDirectory() as folder, durable_servers(HOSTS):
        from django.conf import settings
        from django.db import connection

        from campaigns.analysis import diff
        from campaigns.analysis.asking import ask

        settings.ANALYSIS_DIR, settings.ANALYSIS_SECONDS = folder, 120.0
        there, here = fill(0), fill(1)
        by = here.created_by
        for place, (name, sql) in enumerate(QUESTIONS.items()):
            timed(f"{name}{'' if place else ', asked first'}", "0.5 s" if place else "6 s", partial(ask, here, sql, by))
        timed("hosts by version again", "0.5 s", lambda: ask(here, next(iter(QUESTIONS.values())), by))
        followed(here, by)
        compared = diff.compared(here, there.pk, ["pid"], by, lambda campaign, _: campaign)
        timed("a page of the diff, first", "-", lambda: compared.page(100, 0, by_groups=False))
        timed("the next page of the diff", "-", lambda: compared.page(100, 100, by_groups=False))
        connection.close()


if __name__ == "__main__":
    main()
