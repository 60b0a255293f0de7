"""Blocks of carves on a disk that is full in the middle of one."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.utils import timezone

from agents.carving import store
from agents.carving.models import Carve
from tests.factories import make_host

pytestmark = pytest.mark.django_db


@contextmanager
def room_for(most: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


def test_half_a_block_is_not_left_on_a_full_disk(carves_folder: Path) -> None:
    carve = Carve.objects.create(host=make_host(), carve_id="g", announced_at=timezone.now(), block_count=1)

    with room_for(512), pytest.raises(OSError, match="too large"):
        store.write(carve, 0, b"x" * 1024)

    assert [file for file in carves_folder.rglob("*") if file.is_file()] == []
    store.write(carve, 0, b"x" * 1024)
    assert b"".join(store.pieces(carve)) == b"x" * 1024
