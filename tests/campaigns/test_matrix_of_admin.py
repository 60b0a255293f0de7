"""Who may what: the part of `matrix.csv` that is of the admin."""

import pytest

from tests.campaigns.matrix import World, check_area

pytestmark = [
    *(pytest.mark.lengthy, pytest.mark.django_db),
    pytest.mark.usefixtures("board", "carves_folder", "plain_pages"),
]


def test_each_person_may_what_the_table_says_and_sees_no_byte_of_hosts_outside_of_his_scope(
    world: World,
) -> None:
    check_area(world, "admin")
