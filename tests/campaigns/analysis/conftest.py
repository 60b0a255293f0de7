"""A folder of copies for each test, and a campaign that was answered."""

from pathlib import Path
from typing import Any

import pytest

from agents.models import Host
from campaigns.models import Campaign
from tests.factories import answer, make_campaign, make_hosts


@pytest.fixture(autouse=True)
def copies_folder(settings: Any, tmp_path: Path) -> Path:
    """Give the folder that copies lie in, of this test alone."""
    settings.ANALYSIS_DIR = str(tmp_path / "analysis")
    return tmp_path / "analysis"


@pytest.fixture
def hosts(board: None, db: None) -> list[Host]:
    """Give three hosts."""
    return make_hosts(3)


@pytest.fixture
def campaign(hosts: list[Host]) -> Campaign:
    """Give a campaign that two of three hosts answered, with what every type of column holds."""
    campaign = make_campaign(*hosts)
    first = {"pid": "7", "cpu": "0.5", "at": "2026-01-31 08:00:00", "code": "007", "release": "1.10", "size": ""}
    second = {"pid": "1000", "cpu": "12", "at": "2026-02-01T08:00:00.5Z", "code": "8", "release": "1.9", "size": "9"}
    for host in hosts[:2]:
        answer(campaign, host, first, second)
    return campaign
