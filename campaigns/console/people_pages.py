"""The pages of people: who has which role, right and team, and the hosts that teams see.

Who changes something has to have shown lately who he is.
"""

from typing import Any

from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.db.models import Count, DateTimeField, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Greatest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agents.models import Label
from campaigns.console.access import confirmed, needs, user_of
from campaigns.console.choices import NamedMany
from campaigns.console.in_place import asks_first
from campaigns.console.lookups import page_of, question_of
from campaigns.console.order import BY_NAME
from campaigns.people import giving, scopes
from campaigns.people.giving import Given
from campaigns.people.roles import APART, CHANGE_PEOPLE, CHANGE_SCOPES, ROLES, SEE_PEOPLE, TABLE
from campaigns.tokens import ApiToken
from fleet import second_factor
from fleet.errors import FleetError

NO_SCOPE = Q(scope=None)


class PersonForm(forms.Form):
    """What a person is to have."""

    roles = forms.MultipleChoiceField(
        required=False,
        choices=[(name, f"{name}: {says}") for name, says in ROLES.items()],
        widget=forms.CheckboxSelectMultiple,
        label="Roles",
    )
    rights = forms.MultipleChoiceField(
        required=False,
        choices=[(right.permissions[0], right.says) for right in APART],
        widget=forms.CheckboxSelectMultiple,
        label="Rights apart from the roles",
    )
    teams = NamedMany(
        Group.objects.exclude(NO_SCOPE).exclude(name__in=ROLES).order_by(*BY_NAME),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="Teams",
        help_text="Whoever is in a team sees the hosts of his teams' labels and no others, whatever his roles.",
    )
    is_active = forms.BooleanField(required=False, label="May sign in")

    def wanted(self) -> Given:
        """Give what was chosen."""
        given = self.cleaned_data
        teams = frozenset(team.pk for team in given["teams"])
        return Given(frozenset(given["roles"]), frozenset(given["rights"]), teams, given["is_active"])


class TeamForm(forms.ModelForm[Group]):
    """A team: its name, and the labels whose hosts its members see."""

    labels = NamedMany(
        Label.objects.order_by(*BY_NAME),
        required=False,
        label="Labels",
        help_text="Its members see hosts that bear one of these. None: they see no host.",
    )

    class Meta:
        model = Group
        fields = ["name"]

    def clean_name(self) -> str:
        """Keep the names of roles for the roles."""
        name: str = self.cleaned_data["name"]
        if name in ROLES:
            raise forms.ValidationError(f"{name} is a role: a team bears another name")
        return name


def people_seen() -> QuerySet[User]:
    """Give people with when each was here last: signed in, looked, or asked by a token."""

    def last(rows: Any, field: str) -> Subquery:
        newest = rows.filter(user=OuterRef("pk")).order_by().values("user").annotate(at=Max(field)).values("at")
        return Subquery(newest, output_field=DateTimeField())

    here = Greatest("last_login", last(UserSession.objects, "last_seen_at"), last(ApiToken.objects, "last_used_at"))
    found = User.objects.annotate(last_here=here).prefetch_related("groups__scope__labels")
    return found.order_by("username")


@needs(SEE_PEOPLE)
@require_GET
def people(request: HttpRequest) -> HttpResponse:
    """Show who has which role and scope, and was here last when."""
    search = request.GET.get("search", "").replace("\0", "").strip()[:150]
    found = people_seen().filter(username__icontains=search) if search else people_seen()
    page = page_of(found, request)
    context = {
        "page": page,
        "lines": [(person, _roles_of(person), _teams_of(person)) for person in page],
        "search": search,
        "question": question_of(request),
        "teams": Group.objects.exclude(NO_SCOPE).annotate(people=Count("user")).prefetch_related("scope__labels"),
        "may_change_teams": _may_change_teams(user_of(request)),
        "table": TABLE,
        "roles": ROLES,
    }
    return render(request, "campaigns/people.html", context)


def _roles_of(person: User) -> list[str]:
    named = [group.name for group in person.groups.all() if group.name in ROLES]
    return ["superuser", *named] if person.is_superuser else named


def _teams_of(person: User) -> list[tuple[Group, list[str]]]:
    """Give the groups that limit a person, with the labels of each; a superuser is not limited."""
    if person.is_superuser:
        return []
    limiting = [group for group in person.groups.all() if hasattr(group, "scope")]
    return [(group, [label.name for label in group.scope.labels.all()]) for group in limiting]


def _may_change_teams(user: User) -> bool:
    return user.has_perm(CHANGE_SCOPES) and not scopes.is_limited(user)


@needs(SEE_PEOPLE)
@require_http_methods(["GET", "HEAD", "POST"])
def person(request: HttpRequest, person_id: int) -> HttpResponse:
    """Show what one person has; POST changes it."""
    shown = get_object_or_404(people_seen(), pk=person_id)
    if request.method == "POST":
        return _give(request, shown)
    return _page_of_person(request, shown, None)


@needs(CHANGE_PEOPLE)
@confirmed
def _give(request: HttpRequest, /, shown: User) -> HttpResponse:
    form = PersonForm(request.POST)
    if not form.is_valid():
        return _page_of_person(request, shown, form, 422)
    try:
        giving.give(shown, form.wanted(), user_of(request))
    except FleetError as error:
        form.add_error(None, error.sentence)
        return _page_of_person(request, shown, form, error.status)
    messages.success(request, f"What {shown.get_username()} may is kept. Open pages follow within ten seconds.")
    return redirect("person", shown.pk)


def _page_of_person(request: HttpRequest, shown: User, form: PersonForm | None, status: int = 200) -> HttpResponse:
    user, has = user_of(request), Given.of(shown)
    # Lists: a widget takes anything else for one value, which is none of its choices.
    chosen = {"roles": sorted(has.roles), "rights": sorted(has.rights), "teams": sorted(has.teams)}
    initial = {**chosen, "is_active": has.is_active}
    objection = _objection(user, shown)
    context = {
        "person": shown,
        "form": form or (None if objection else PersonForm(initial=initial)),
        "objection": objection,
        "has_factor": second_factor.is_set_up(shown),
        "follow_claim": _that_follow_a_claim(shown),
        "roles_of": _roles_of(shown),
        "teams_of": _teams_of(shown),
        "rights_of": [right.says for right in APART if right.permissions[0] in has.rights],
        "others": shown.groups.filter(NO_SCOPE).exclude(name__in=ROLES).order_by(*BY_NAME),
    }
    return render(request, "campaigns/person.html", context, status=status)


def _that_follow_a_claim(shown: User) -> list[str]:
    """Name the groups of this person that the OpenID provider gives and takes at every sign-in."""
    if not settings.OIDC_ISSUER or not SocialAccount.objects.filter(user=shown).exists():
        return []
    return sorted({name for _, name in settings.OIDC_GROUPS})


def _objection(user: User, shown: User) -> str:
    """Say why this person changes nothing here; "" = he may."""
    if not user.has_perm(CHANGE_PEOPLE):
        return f"changing what people may needs the permission {CHANGE_PEOPLE}"
    if user.pk == shown.pk:
        return "nobody gives roles, rights and teams to himself: another administrator does"
    try:
        giving.check_may_touch(user, shown)
    except FleetError as error:
        return error.sentence
    return ""


@needs(SEE_PEOPLE, CHANGE_PEOPLE)
@confirmed
@require_POST
@asks_first
def take_second_factors(request: HttpRequest, person_id: int) -> HttpResponse:
    """Let somebody in who lost his telephone."""
    shown = get_object_or_404(User, pk=person_id)
    try:
        taken = giving.take_second_factors(shown, user_of(request))
    except FleetError as error:
        messages.error(request, error.sentence)
    else:
        messages.success(request, giving.said_of_taking(shown, taken))
    return redirect("person", shown.pk)


# --- teams -----------------------------------------------------------------------------------------------------


@needs(SEE_PEOPLE, CHANGE_SCOPES)
@confirmed
@require_http_methods(["GET", "HEAD", "POST"])
def new_team(request: HttpRequest) -> HttpResponse:
    """Make a team."""
    return _team(request, TeamForm(request.POST if request.method == "POST" else None), None)


@needs(SEE_PEOPLE, CHANGE_SCOPES)
@confirmed
@require_http_methods(["GET", "HEAD", "POST"])
def team(request: HttpRequest, team_id: int) -> HttpResponse:
    """Show a team with its members; POST changes its name and labels."""
    shown = _found_team(team_id)
    initial = {"labels": shown.scope.labels.all()}
    return _team(
        request, TeamForm(request.POST if request.method == "POST" else None, instance=shown, initial=initial), shown
    )


def _team(request: HttpRequest, form: TeamForm, shown: Group | None) -> HttpResponse:
    if form.is_bound and form.is_valid():
        try:
            giving.keep_team(form.instance, form.cleaned_data["labels"], user_of(request))
        except FleetError as error:
            form.add_error(None, error.sentence)
        else:
            messages.success(request, f"The team {form.instance.name} is kept. What its members see follows at once.")
            return redirect("team", form.instance.pk)
    members = shown.user_set.order_by("username") if shown else User.objects.none()
    context = {"form": form, "team": shown, "members": members[:500]}
    return render(request, "campaigns/team.html", context, status=422 if form.is_bound else 200)


@needs(SEE_PEOPLE, CHANGE_SCOPES)
@confirmed
@require_POST
@asks_first
def delete_team(request: HttpRequest, team_id: int) -> HttpResponse:
    """Delete a team that nobody is in."""
    shown = _found_team(team_id)
    try:
        giving.drop_team(shown, user_of(request))
    except FleetError as error:
        messages.error(request, error.sentence)
        return redirect("team", team_id)
    messages.success(request, f"The team {shown.name} is deleted.")
    return redirect("people")


def _found_team(team_id: int) -> Group:
    return get_object_or_404(Group.objects.exclude(NO_SCOPE).exclude(name__in=ROLES), pk=team_id)
