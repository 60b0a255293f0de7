"""Give the tables that are updated all the time room in their pages, and the stream its cursor."""

from django.db import migrations

ROOM = """
ALTER TABLE campaigns_target SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE campaigns_campaign SET (fillfactor = 50);
"""
CURSOR = "INSERT INTO campaigns_streamcursor (stream, entry, moved_at) VALUES ('results', '0-0', now())"


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0001_initial")]
    operations = [
        migrations.RunSQL(ROOM, migrations.RunSQL.noop),
        migrations.RunSQL(CURSOR, "DELETE FROM campaigns_streamcursor"),
    ]
