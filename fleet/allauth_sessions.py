"""django-allauth's rows of sessions, without what it does by itself at each sign-in.

It would look at every session of the person, by three queries each; `fleet.sessions` looks at all of them by two.
"""

from allauth.account.signals import user_logged_in
from allauth.usersessions.apps import UserSessionsConfig


class SessionsConfig(UserSessionsConfig):  # type: ignore[misc]  # allauth has no types
    """The app of the rows."""

    def ready(self) -> None:
        """Leave out what `fleet.accounts` does in its place."""
        from allauth.usersessions.signals import on_user_logged_in

        super().ready()
        user_logged_in.disconnect(on_user_logged_in)
