import secrets

import django.utils.timezone
from django.db import migrations, models

PLACE = """
SELECT concat_ws('.', (SELECT system_identifier FROM pg_control_system()),
    (SELECT oid FROM pg_database WHERE datname = current_database()), 'agents_installation'::regclass::oid)
"""


def name_it(apps, schema_editor):
    """Name this database. Hosts that enrolled before have keys of the older form, which stay valid for them alone."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(PLACE)
        place = cursor.fetchone()[0]
    highest = apps.get_model("agents", "Host").objects.aggregate(highest=models.Max("pk"))["highest"] or 0
    apps.get_model("agents", "Installation").objects.create(
        pk=1, name=secrets.token_hex(6), place=place, old_keys_up_to=highest
    )


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0007_host_addresses'),
    ]

    operations = [
        migrations.CreateModel(
            name='Installation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=32)),
                ('place', models.CharField(help_text='cluster, database and table, when the board was written last', max_length=100)),
                ('old_keys_up_to', models.PositiveBigIntegerField(default=0, help_text='last host that may have a key of the older form')),
                ('named_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.RunPython(name_it, migrations.RunPython.noop),
    ]
