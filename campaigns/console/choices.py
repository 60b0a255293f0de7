"""Fields to choose rows by the names that people gave them, shown with marks for what cannot be seen."""

from typing import Any

from django import forms

from fleet.text import visible


class Named(forms.ModelChoiceField):  # type: ignore[type-arg]
    """One row."""

    def label_from_instance(self, obj: Any) -> str:
        """Give its name."""
        return visible(str(obj))


class NamedMany(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Some rows, each to be ticked."""

    widget = forms.CheckboxSelectMultiple

    def label_from_instance(self, obj: Any) -> str:
        """Give its name."""
        return visible(str(obj))
