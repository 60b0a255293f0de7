"""The pages of rules of approval: which launches wait for a second person, beside the pages of people.

Who changes something has to have shown lately who he is; the rules' own verbs say what else is refused.
"""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from campaigns.console.access import confirmed, needs, user_of
from campaigns.console.choices import Named
from campaigns.console.order import BY_NAME
from campaigns.launching import approval_rules, rule_wishes, windows
from campaigns.launching.models import LONGEST_WAIT, SHORTEST_WAIT, ApprovalRule
from campaigns.people.roles import SEE_RULES
from fleet.counting import plural
from fleet.errors import FleetError

ADD, CHANGE, DELETE = (f"campaigns.{verb}_approvalrule" for verb in ("add", "change", "delete"))
UNITS = ((1, "seconds"), (60, "minutes"), (3_600, "hours"), (86_400, "days"))
EVERYBODY = "everybody"


class RuleForm(forms.Form):
    """What a rule catches, and how long what it caught may wait."""

    hosts_above = forms.IntegerField(
        required=False,
        min_value=0,
        label="Launches over more hosts than",
        help_text="0: every launch waits. Empty: any number of hosts goes.",
    )
    tables = forms.CharField(
        required=False,
        widget=forms.Textarea({"rows": 2, "class": "code", "spellcheck": "false"}),
        label="SQL that reads one of these tables",
        help_text="Names with commas or line breaks between them, as: shadow, certificates.",
    )
    hours = forms.CharField(
        required=False,
        widget=forms.Textarea({"rows": 3, "class": "code", "spellcheck": "false"}),
        label="Launches in these hours",
        help_text="One window a line, as: fri, sat 20:00 to 06:00 Europe/Berlin. A whole day is 00:00 to 24:00.",
    )
    many = forms.IntegerField(min_value=1, initial=1, label="They wait for a yes at most")
    unit = forms.TypedChoiceField(choices=UNITS, coerce=int, initial=86_400, label="Counted in")

    def clean_hours(self) -> list[dict[str, Any]]:
        """Read the windows."""
        try:
            return windows.from_lines(self.cleaned_data["hours"])
        except FleetError as error:
            raise forms.ValidationError(error.sentence) from error

    def clean_tables(self) -> list[str]:
        """Read the names."""
        names = self.cleaned_data["tables"].replace("\n", ",").split(",")
        return [name.strip() for name in names if name.strip()]

    def clean(self) -> dict[str, Any]:
        """Refuse waits that are none."""
        given = self.cleaned_data
        if given.get("many") and given.get("unit"):
            wait = given["many"] * given["unit"]
            if not SHORTEST_WAIT <= wait <= LONGEST_WAIT:
                seconds = f"{wait:,} {plural(wait, 'second is', 'seconds are')}"
                self.add_error("many", f"{seconds} too few or too many: allowed are 1 minute to 30 days")
        return given

    def apply_to(self, rule: ApprovalRule) -> bool:
        """Write what was given into the rule; False = it is none that is kept, which the form says."""
        given = self.cleaned_data
        rule.hosts_above, rule.tables, rule.hours = given["hosts_above"], given["tables"], given["hours"]
        rule.expires_after = given["many"] * given["unit"]
        rule.group = given.get("group", rule.group)
        try:
            rule.clean()
            rule.validate_constraints()
        except ValidationError as error:
            wrong = error.message_dict if hasattr(error, "error_dict") else {"group": error.messages}
            for field, sentences in wrong.items():
                self.add_error(field if field in self.fields else None, sentences)
        return not self.errors


class NewRuleForm(RuleForm):
    """The same with whom it binds, which stays."""

    group = Named(
        Group.objects.order_by(*BY_NAME), required=False, empty_label=EVERYBODY, label="It binds the members of"
    )
    field_order = ("group", "hosts_above", "tables", "hours", "many", "unit")


def _initial(rule: ApprovalRule) -> dict[str, Any]:
    unit = max(seconds for seconds, _ in UNITS if rule.expires_after % seconds == 0)
    return {
        "hosts_above": rule.hosts_above,
        "tables": ", ".join(rule.tables),
        "hours": windows.as_lines(rule.hours),
        "many": rule.expires_after // unit,
        "unit": unit,
    }


# --- pages -----------------------------------------------------------------------------------------------------


@needs(SEE_RULES)
@require_http_methods(["GET", "HEAD", "POST"])
def rules(request: HttpRequest) -> HttpResponse:
    """List them; POST makes one."""
    if request.method == "POST":
        return _make(request)
    return _list(request, NewRuleForm())


def _list(request: HttpRequest, form: NewRuleForm, status: int = 200) -> HttpResponse:
    kept = ApprovalRule.objects.select_related("group").order_by("group__name")
    mine = {rule.pk for rule in approval_rules.rules_of(user_of(request))}
    lines = [(rule, rule.in_words(), rule.pk in mine, rule_wishes.wish_of(rule)) for rule in kept]
    return render(request, "campaigns/rules.html", {"lines": lines, "form": form}, status=status)


@needs(ADD)
@confirmed
def _make(request: HttpRequest, /) -> HttpResponse:
    form, rule = NewRuleForm(request.POST), ApprovalRule()
    if not form.is_valid() or not form.apply_to(rule):
        return _list(request, form, status=422)
    approval_rules.keep(rule, user_of(request))
    messages.success(request, f"The {rule} is kept. It holds from the next launch on.")
    return redirect("rules")


@needs(SEE_RULES)
@require_http_methods(["GET", "HEAD", "POST"])
def rule(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Show one; POST changes it."""
    found = get_object_or_404(ApprovalRule.objects.select_related("group"), pk=rule_id)
    if request.method == "POST":
        return _change(request, found)
    return _show(request, found, RuleForm(initial=_initial(found)))


@needs(CHANGE)
@confirmed
def _change(request: HttpRequest, /, found: ApprovalRule) -> HttpResponse:
    form = RuleForm(request.POST)
    if not form.is_valid() or not form.apply_to(found):
        return _show(request, found, form, status=422)
    try:
        kept = approval_rules.keep(found, user_of(request))
    except FleetError as error:
        form.add_error(None, error.sentence)
        return _show(request, found, form, status=error.status)
    _tell(request, kept, f"The {found} is kept. It holds from the next launch on.")
    return redirect("rule", found.pk)


def _show(request: HttpRequest, found: ApprovalRule, form: RuleForm, status: int = 200) -> HttpResponse:
    user, wish = user_of(request), rule_wishes.wish_of(found)
    binds = found in approval_rules.rules_of(user)
    context = {
        "rule": found,
        "says": found.in_words(),
        "form": form if user.has_perm(CHANGE) else None,
        "binds": binds,
        "asks_another": binds and found.group is None and approval_rules.others_who_say_yes(user).exists(),
        "objection": approval_rules.objection_to(found, user, lifts=True),
        "may_delete": user.has_perm(DELETE),
        "wish": wish,
        "wished": _wished(found, wish),
        "may_grant": wish is not None and wish.may_grant(user),
        "is_mine": wish is not None and wish.by == user.pk,
    }
    return render(request, "campaigns/rule.html", context, status=status)


def _wished(found: ApprovalRule, wish: rule_wishes.Wish | None) -> list[str]:
    """Say what the rule would be; [] = gone."""
    if wish is None or wish.to is None:
        return []
    values = {name: value for name, value in wish.to.items() if name != "group"}
    group = wish.to["group"]
    moved = [f"it binds the members of {group} only"] if group is not None else []
    return [*moved, *ApprovalRule(pk=found.pk, **values).in_words()]


def _tell(request: HttpRequest, done: bool, sentence: str) -> None:
    if done:
        messages.success(request, sentence)
    else:
        messages.warning(request, "This binds you as well: it waits for another superuser's yes, below.")


@needs(DELETE)
@require_POST
@confirmed
def delete_rule(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Delete it, or ask another superuser to let it go."""
    found = get_object_or_404(ApprovalRule.objects.select_related("group"), pk=rule_id)
    try:
        gone = approval_rules.drop(found, user_of(request))
    except FleetError as error:
        messages.error(request, error.sentence)
        return redirect("rule", rule_id)
    _tell(request, gone, f"The {found} is deleted. What it caught waits on.")
    return redirect("rules") if gone else redirect("rule", rule_id)


@needs(CHANGE)
@require_POST
@confirmed
def decide(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Say yes or no to what another superuser wants of it, as `say` has it."""
    get_object_or_404(ApprovalRule, pk=rule_id)
    user: User = user_of(request)
    try:
        if request.POST.get("say") == "yes":
            left = rule_wishes.grant(rule_id, user, request.POST.get("at", ""))
        else:
            left = rule_wishes.refuse(rule_id, user)
    except FleetError as error:
        messages.error(request, error.sentence)
        return redirect("rule", rule_id)
    messages.success(request, "It is done, and in the audit." if left else "The rule is gone.")
    return redirect("rules") if left is None else redirect("rule", rule_id)
