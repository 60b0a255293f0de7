"""Views that the config gives hosts (`views`, osquery makes them): names behind which SQL reads other tables."""

from django.db import connection

# Nothing else of the document is read, which is asked at each launch and may be long.
SERVED = """
SELECT view.name, view.text #>> '{}' FROM agents_configdocument
CROSS JOIN jsonb_each(CASE jsonb_typeof(document -> 'views') WHEN 'object' THEN document -> 'views' ELSE '{}' END)
AS view (name, text) WHERE id = 1 AND jsonb_typeof(view.text) = 'string'
"""


def served() -> dict[str, str]:
    """Give the SQL of each by its name in small letters, as SQLite tells names apart."""
    with connection.cursor() as cursor:
        cursor.execute(SERVED)
        return {name.lower(): text for name, text in cursor.fetchall()}
