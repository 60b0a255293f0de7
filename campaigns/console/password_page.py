"""One's own password: shown again, where that is asked, and changed. Guesses are counted as at the door."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate, update_session_auth_hash
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import password_validators_help_texts
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from campaigns.console.access import signed_in, user_of
from campaigns.tokens import ApiToken
from fleet import confirming, sessions


def has_password(user: User) -> bool:
    """Say whether there is one that opens something."""
    return bool(settings.LOCAL_PASSWORDS and user.has_usable_password())


def right_password(request: HttpRequest, password: str) -> str:
    """Give it. Raise ValidationError when it is not one's own, or is not looked at after many that were not."""
    if authenticate(request, username=user_of(request).get_username(), password=password) is None:
        raise forms.ValidationError("This is not your password.")
    return password


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]  # it takes none when it runs
    """The password of now, and twice the next."""

    error_messages = {"password_mismatch": "The two passwords are not the same."}
    old_password = forms.CharField(strip=False)

    def __init__(self, request: HttpRequest, data: Any) -> None:
        super().__init__(user_of(request), data)
        self._request = request

    def clean_old_password(self) -> str:
        """Check it as the door does. Raise ValidationError."""
        return right_password(self._request, self.cleaned_data["old_password"])


@sensitive_post_parameters()
@signed_in()
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """Give oneself another password, which ends what the one of before opened: sessions elsewhere, and tokens."""
    user, tokens = user_of(request), ApiToken.objects.of(user_of(request)).count()
    if not has_password(user):
        context: dict[str, Any] = {"takes_passwords": settings.LOCAL_PASSWORDS}
        return render(request, "campaigns/password.html", context, status=403 if request.method == "POST" else 200)
    form = NewPasswordForm(request, request.POST if request.method == "POST" else None)
    if not form.is_valid():
        context = {"form": form, "tokens": tokens, "helps": password_validators_help_texts()}
        return render(request, "campaigns/password.html", context, status=400 if form.is_bound else 200)
    form.save()
    update_session_auth_hash(request, user)
    sessions.end_all(user, but=request.session.session_key)
    confirming.note(request)
    messages.success(request, "You have a new password. What the one of before opened has ended, but not this session.")
    return redirect("account")
