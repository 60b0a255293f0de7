"""Fields to choose rows by the names that people gave them, shown with marks for what cannot be seen."""

from typing import Any

from django import forms

from fleet.text import visible


class Named(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A choice of one row."""

    def label_from_instance(self, obj: Any) -> str:
        """Give the name of a row."""
        return visible(str(obj))


class NamedMany(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """A choice of several rows, each with a box to tick."""

    widget = forms.CheckboxSelectMultiple

    def label_from_instance(self, obj: Any) -> str:
        """Give the name of a row."""
        return visible(str(obj))
