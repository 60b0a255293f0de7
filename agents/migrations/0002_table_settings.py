"""Give the presence table, rewritten every few seconds, room in its pages."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_initial")]
    operations = [
        migrations.RunSQL("ALTER TABLE agents_presence SET (fillfactor = 50)", migrations.RunSQL.noop),
    ]
