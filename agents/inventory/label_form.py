"""The form of a label: its SQL by platform, or hosts by name. The admin and the console share it."""

import re
from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db import transaction

from agents.inventory import host_names, kept_sql, labels
from agents.models import Host, Label, Platform
from fleet import sight
from fleet.errors import BadInputError, FleetError

PLATFORMS_WITH_SQL = (Platform.LINUX, Platform.DARWIN, Platform.WINDOWS, Platform.FREEBSD)
_BETWEEN_HOSTS = re.compile(r"[\n\r\t,;]+")


def _sql_field(platform: Platform) -> forms.CharField:
    return forms.CharField(
        label=f"SQL on {platform.label}",
        required=False,
        widget=forms.Textarea({"rows": 2, "spellcheck": "false", "class": "code"}),
        help_text="A host that answers a row is a member. Asked hourly, and when it changes.",
    )


class LabelForm(forms.ModelForm[Label]):
    """A label, its SQL, and hosts to put into it by name: hundreds are pasted, not picked."""

    sql_linux = _sql_field(Platform.LINUX)
    sql_darwin = _sql_field(Platform.DARWIN)
    sql_windows = _sql_field(Platform.WINDOWS)
    sql_freebsd = _sql_field(Platform.FREEBSD)
    add_hosts = forms.CharField(
        required=False,
        label="Put hosts in",
        widget=forms.Textarea({"rows": 4}),
        help_text="Hostnames, UUIDs, serials or host identifiers, one a line or with commas between. #42 is an id.",
    )

    by: User
    name_warnings: Sequence[str] = ()

    class Meta:
        model = Label
        fields = ["name", "description"]
        widgets = {"description": forms.Textarea({"rows": 2})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with the SQL that is kept."""
        super().__init__(*args, **kwargs)
        for platform, text in self._queries_kept().items():
            self.fields[f"sql_{platform}"].initial = text

    def _queries_kept(self) -> dict[str, str]:
        return {query.platform: query.sql for query in self.instance.queries.all()} if self.instance.pk else {}

    def clean(self) -> dict[str, Any]:
        """Check the SQL as that of a campaign is; hosts are put in by hand or by SQL, not both."""
        cleaned = super().clean() or self.cleaned_data
        cleaned["queries"] = {}
        for platform in PLATFORMS_WITH_SQL:
            if text := cleaned.get(f"sql_{platform}"):
                try:
                    cleaned["queries"][platform] = kept_sql.check_of_label(text, self.by, platform)
                except FleetError as error:
                    self.add_error(f"sql_{platform}", error.sentence)
        if not self.errors and cleaned["queries"] != self._queries_kept():
            try:
                kept_sql.check_author(self.by, "queries")
            except FleetError as error:
                self.add_error(None, error.sentence)
        if cleaned["queries"] and cleaned.get("add_hosts"):
            self.add_error("add_hosts", "hosts enter a label with SQL by their answers")
        if cleaned.get("add_hosts"):
            try:
                labels.check_may_put_in(self.by, "add_hosts")
            except FleetError as error:
                self.add_error("add_hosts", error.sentence)
        return cleaned

    def clean_name(self) -> str:
        """Refuse to change a label that a scope rests on, and the name of one that others' hosts bear, to whom it is
        not for.
        """
        name: str = self.cleaned_data["name"]
        if self.instance.pk:
            try:
                labels.check_may_change(self.by, self.instance)
                labels.check_may_call(self.by, self.instance, name)
            except FleetError as error:
                raise forms.ValidationError(error.sentence) from error
        return name

    def clean_add_hosts(self) -> set[int]:
        """Find the hosts. Refuse names that nobody bears."""
        words = [word.strip() for word in _BETWEEN_HOSTS.split(self.cleaned_data["add_hosts"])]
        ids = [int(word[1:]) for word in words if re.fullmatch(r"#\d{1,18}", word)]
        names = [word for word in words if word and not re.fullmatch(r"#\d{1,18}", word)]
        found = host_names.look_up(ids, names, sight.within(Host.objects.all(), self.by, "pk"))
        try:
            host_names.check_known(found, "add_hosts")
        except BadInputError as error:
            raise forms.ValidationError(error.sentence) from error
        self.name_warnings = found.warnings
        return found.ids

    def keep_members(self) -> None:
        """Put the named hosts in, those that are in it already stay; and let hosts be asked the SQL."""
        labels.set_queries(self.instance, self.cleaned_data["queries"], self.by.get_username())
        labels.put_in(self.instance, self.cleaned_data.get("add_hosts") or ())

    @transaction.atomic
    def keep(self) -> Label:
        """Save the label and its members together. Raise ConflictError for a built-in one."""
        label = self.save()
        self.keep_members()
        return label
