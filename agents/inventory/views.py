"""Views that the config gives hosts (`views`, osquery makes them): names behind which SQL reads other tables."""

from agents.models import ConfigDocument


def served() -> dict[str, str]:
    """Give the SQL of each by its name in small letters, as SQLite tells names apart."""
    kept = ConfigDocument.objects.filter(pk=1).values_list("document", flat=True).first()
    found = kept.get("views") if isinstance(kept, dict) else None
    listed = found.items() if isinstance(found, dict) else ()
    return {name.lower(): text for name, text in listed if isinstance(text, str)}
