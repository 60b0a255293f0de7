"""Empty the database between two tests: take out what they added, put back what migrations had written.

Django truncates every table and lets migrations' signals write theirs anew. That makes and removes some five hundred
files per test: most of the time of a short one, and minutes where others write to the same disk.
"""

from django.db import connection

from agents.models import Installation

LARGE = 1 << 20  # bytes of a table from which on it is truncated: to delete row by row would take longer
FUNCTION = """
CREATE SCHEMA pristine;
CREATE FUNCTION pristine.put_back(bytes bigint) RETURNS void LANGUAGE plpgsql
  SET session_replication_role = replica AS $$
DECLARE
  tables CONSTANT text[] := ARRAY(
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
      AND relname <> 'django_migrations' AND pg_relation_size(oid) > 0);
  large CONSTANT text := (
    SELECT string_agg(quote_ident(name), ', ') FROM unnest(tables) AS name
      WHERE pg_relation_size(quote_ident(name)::regclass) > bytes);
  kept CONSTANT text[] := ARRAY(SELECT relname FROM pg_class WHERE relnamespace = 'pristine'::regnamespace);
  name text;
BEGIN
  IF large IS NOT NULL THEN
    EXECUTE 'TRUNCATE ' || large || ' CASCADE';
  END IF;
  FOREACH name IN ARRAY tables LOOP
    EXECUTE format('DELETE FROM public.%I', name);
  END LOOP;
  FOREACH name IN ARRAY kept LOOP
    EXECUTE format('INSERT INTO public.%1$I OVERRIDING SYSTEM VALUE TABLE pristine.%1$I', name);
  END LOOP;
END $$;
"""


def keep_what_migrations_wrote() -> None:
    """Copy the tables of a database in which nothing happened yet."""
    with connection.cursor() as cursor:
        cursor.execute(FUNCTION)
        for table in connection.introspection.django_table_names(only_existing=True, include_views=False):
            if table == Installation._meta.db_table:  # it says where it lies, and is written at its first use
                continue
            cursor.execute(f'SELECT EXISTS (TABLE public."{table}")')
            if cursor.fetchone()[0]:
                cursor.execute(f'CREATE TABLE pristine."{table}" AS TABLE public."{table}"')


def empty_database(_test: object = None) -> None:
    """Make the database what it was when its copy was taken, but for the numbers that are next; the role is root's."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pristine.put_back(%s)", [LARGE])
