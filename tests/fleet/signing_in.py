"""A password, and whether a browser is signed in."""

from django.test import Client

PASSWORD = "a long one for tests"


def is_in(client: Client) -> bool:
    """Say whether somebody is signed in with this browser, with all that is asked of him."""
    return client.get("/account/").status_code == 200
