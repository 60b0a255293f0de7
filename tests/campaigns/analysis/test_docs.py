"""The questions of docs/analysis.md, asked of the demo's hosts and of what they answered."""

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from agents.models import Host
from agents.simulator.simulated_tables import SimulatedHost
from agents.simulator.sql import execute
from campaigns.analysis.asking import ask
from campaigns.models import Campaign
from tests.factories import answer, make_campaign, make_host

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = (Path(__file__).parents[3] / "docs" / "analysis.md").read_text()
QUESTIONS = re.findall(
    r"### (\d+)\. [^\n]*\n.*?```sql\n-- hosts\n(.*?)```\n```sql\n-- answers\n(.*?)```", PAGE, re.DOTALL
)


def launched(sql: str, hosts: dict[Host, SimulatedHost], less: int = 0) -> Campaign:
    campaign = make_campaign(*hosts)
    for host, machine in hosts.items():
        told = execute(machine, sql)
        if told.status == 0:  # others lack a table, and would not be asked
            answer(campaign, host, *told.rows[: len(told.rows) - less])
    return campaign


def test_every_question_of_the_page_runs_and_finds_something(board: None, operator: User) -> None:
    machines = [SimulatedHost(number) for number in range(1, 13)]
    hosts = {make_host(hostname=machine.hostname, platform=machine.platform): machine for machine in machines}
    runs: dict[str, Campaign] = {}

    found = {}
    for number, of_hosts, of_answers in QUESTIONS:
        if of_hosts not in runs:
            runs[of_hosts] = launched(of_hosts, hosts)
        before = launched(of_hosts, hosts, less=1) if "campaign_BEFORE" in of_answers else None
        sql = of_answers.replace("campaign_BEFORE", f"campaign_{before.pk}" if before else "")
        found[number] = ask(runs[of_hosts], sql, operator).rows

    assert list(found) == [str(number) for number in range(1, 11)]
    assert not [number for number, rows in found.items() if not rows]
    assert {row[1] for row in found["1"]} == {"3.0.15"}
    assert len(found["2"]) == 1
