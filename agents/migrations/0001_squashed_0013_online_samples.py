"""The schema of a new database in one step; one that has any of the replaced steps goes on with those (docs/operations.md)."""

import secrets

import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.db import migrations, models

PLACE = """
SELECT concat_ws('.', (SELECT system_identifier FROM pg_control_system()),
    (SELECT oid FROM pg_database WHERE datname = current_database()), 'agents_installation'::regclass::oid)
"""


def name_it(apps, schema_editor):
    """Name this database, which has no host yet."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(PLACE)
        place = cursor.fetchone()[0]
    apps.get_model("agents", "Installation").objects.create(pk=1, name=secrets.token_hex(6), place=place)


class Migration(migrations.Migration):

    replaces = [
        ('agents', '0001_initial'),
        ('agents', '0002_table_settings'),
        ('agents', '0003_housekeeping'),
        ('agents', '0004_enrollment_and_identity'),
        ('agents', '0005_carves'),
        ('agents', '0006_busy_hosts'),
        ('agents', '0007_host_addresses'),
        ('agents', '0008_installation'),
        ('agents', '0009_kinds_of_osquery'),
        ('agents', '0010_label_sql'),
        ('agents', '0011_contradictions'),
        ('agents', '0012_digests_of_carves'),
        ('agents', '0013_online_samples'),
    ]

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Label',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, unique=True)),
                ('description', models.TextField(blank=True, default='')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('built_in', models.CharField(blank=True, choices=[('linux', 'Linux'), ('darwin', 'macOS'), ('windows', 'Windows'), ('freebsd', 'FreeBSD'), ('other', 'other')], default='', editable=False, max_length=10)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='EnrollSecret',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, unique=True)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('labels', models.ManyToManyField(blank=True, help_text='labels, kept by hand, that its hosts get', to='agents.label')),
                ('quota', models.PositiveIntegerField(blank=True, help_text='most hosts that enroll with it; empty = any', null=True)),
                ('valid_from', models.DateTimeField(blank=True, help_text='empty = at once', null=True)),
                ('valid_until', models.DateTimeField(blank=True, help_text='empty = until it is revoked', null=True)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Host',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('host_identifier', models.CharField(max_length=255, unique=True)),
                ('hostname', models.CharField(db_index=True, max_length=255)),
                ('uuid', models.CharField(blank=True, db_index=True, max_length=64)),
                ('hardware_serial', models.CharField(blank=True, db_index=True, max_length=128)),
                ('platform', models.CharField(choices=[('linux', 'Linux'), ('darwin', 'macOS'), ('windows', 'Windows'), ('freebsd', 'FreeBSD'), ('other', 'other')], db_index=True, default='other', max_length=10)),
                ('os_name', models.CharField(blank=True, max_length=100)),
                ('os_version', models.CharField(blank=True, max_length=200)),
                ('osquery_version', models.CharField(blank=True, max_length=50)),
                ('cpu_brand', models.CharField(blank=True, max_length=200)),
                ('physical_memory', models.BigIntegerField(blank=True, help_text='bytes', null=True)),
                ('address', models.GenericIPAddressField(blank=True, help_text='the peer that enrolled', null=True)),
                ('details', models.JSONField(blank=True, default=dict, help_text='host_details as sent when it enrolled')),
                ('enrolled_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('epoch', models.PositiveIntegerField(default=1)),
                ('epoch_floor', models.PositiveIntegerField(default=0)),
                ('enroll_secret', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to='agents.enrollsecret')),
                ('details_at', models.DateTimeField(blank=True, help_text='when it told these facts last', null=True)),
                ('distributed_interval', models.PositiveIntegerField(blank=True, help_text='seconds between its reads', null=True)),
                ('extensions', models.TextField(blank=True, default='', help_text='name and version of each, sorted, one per line')),
                ('in_doubt_reason', models.TextField(blank=True, default='')),
                ('in_doubt_since', models.DateTimeField(blank=True, help_text='when a second machine was noticed', null=True)),
                ('addresses', models.TextField(blank=True, default='', help_text='of its interfaces, one per line, at most 50')),
                ('registry_digest', models.CharField(blank=True, default='', help_text='of the names of its tables: what differs from its kind shows', max_length=64)),
                ('platform_contradiction', models.CharField(blank=True, default='', help_text='how its platform_type and its os_version contradict each other', max_length=300)),
            ],
            options={
                'ordering': ['hostname', 'id'],
                'indexes': [models.Index(django.db.models.functions.text.Lower('hostname'), name='hosts_by_hostname_in_any_case')],
            },
        ),
        migrations.CreateModel(
            name='Presence',
            fields=[
                ('host', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, primary_key=True, serialize=False, to='agents.host')),
                ('last_seen', models.DateTimeField()),
                ('busy_since', models.DateTimeField(blank=True, help_text='when it was handed SQL; it has not asked since', null=True)),
            ],
            options={
                'verbose_name_plural': 'presence',
            },
        ),
        migrations.CreateModel(
            name='LabelMembership',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('added_at', models.DateTimeField(auto_now_add=True)),
                ('host', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='agents.host')),
                ('label', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='agents.label')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('label', 'host'), name='a_host_is_in_a_label_once')],
            },
        ),
        migrations.CreateModel(
            name='TableSchema',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('platform', models.CharField(choices=[('linux', 'Linux'), ('darwin', 'macOS'), ('windows', 'Windows'), ('freebsd', 'FreeBSD'), ('other', 'other')], max_length=10)),
                ('osquery_version', models.CharField(max_length=50)),
                ('extensions', models.TextField(blank=True, default='')),
                ('tables', models.JSONField(default=dict, help_text='table -> [[column, type, whether it is hidden]]')),
                ('asked_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('learned_at', models.DateTimeField(blank=True, null=True)),
                ('flags', models.JSONField(blank=True, default=list, help_text='names of its flags; none = not told')),
                ('functions', models.JSONField(blank=True, default=list, help_text='[[name, arguments or -1, kind]]; none = not told')),
                ('registry_digest', models.CharField(blank=True, default='', help_text='of the names of the tables', max_length=64)),
            ],
            options={
                'ordering': ['platform', 'osquery_version', 'extensions', 'registry_digest'],
                'constraints': [models.UniqueConstraint(fields=('platform', 'osquery_version', 'extensions', 'registry_digest'), name='a_kind_of_osquery_is_learned_once')],
            },
        ),
        migrations.CreateModel(
            name='HousekeepingQuery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('details', 'facts of the host'), ('label', 'membership in a label'), ('schema', 'tables and columns'), ('functions', 'functions of its SQL'), ('flags', 'names of its flags'), ('carves', 'digests of its carves')], max_length=9)),
                ('sql', models.TextField()),
                ('platform', models.CharField(blank=True, choices=[('linux', 'Linux'), ('darwin', 'macOS'), ('windows', 'Windows'), ('freebsd', 'FreeBSD'), ('other', 'other')], help_text='empty = all', max_length=10)),
                ('changed_at', models.DateTimeField(auto_now=True)),
                ('last_error', models.TextField(blank=True, default='', help_text='the last error a host reported')),
                ('label', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='queries', to='agents.label')),
                ('answered_at', models.DateTimeField(blank=True, help_text='when a host could run it last', null=True)),
                ('denylisted_by', models.JSONField(blank=True, default=list, help_text='ids of hosts that refuse it: it died there')),
                ('failed_at', models.DateTimeField(blank=True, help_text='when a host could not last', null=True)),
                ('stopped_at', models.DateTimeField(blank=True, help_text='when the brake stopped it', null=True)),
                ('stopped_reason', models.TextField(blank=True, default='')),
                ('written_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('written_by', models.CharField(blank=True, default='', help_text="who wrote a label's SQL", max_length=150)),
            ],
            options={
                'verbose_name_plural': 'housekeeping queries',
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('label', 'platform'), name='a_label_has_one_query_per_platform'), models.CheckConstraint(condition=models.Q(models.Q(('kind', 'label'), ('label__isnull', False)), models.Q(models.Q(('kind', 'label'), _negated=True), ('label', None)), _connector='OR'), name='label_queries_have_a_label')],
            },
        ),
        migrations.CreateModel(
            name='ConfigDocument',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('document', models.JSONField(default=dict)),
                ('changed_by', models.CharField(blank=True, default='', editable=False, max_length=150)),
                ('changed_at', models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.CreateModel(
            name='Carve',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('carve_id', models.CharField(help_text="the carve_guid of the host's carves table", max_length=64)),
                ('campaign_id', models.BigIntegerField(blank=True, db_index=True, help_text='whose answer named it', null=True)),
                ('path', models.TextField(blank=True, default='')),
                ('announced_at', models.DateTimeField(blank=True, null=True)),
                ('session_id', models.CharField(editable=False, max_length=64, null=True, unique=True)),
                ('request_id', models.CharField(blank=True, default='', max_length=64)),
                ('block_count', models.PositiveIntegerField(blank=True, null=True)),
                ('block_size', models.PositiveIntegerField(blank=True, help_text='bytes', null=True)),
                ('carve_size', models.PositiveBigIntegerField(blank=True, help_text='bytes', null=True)),
                ('begun_at', models.DateTimeField(blank=True, null=True)),
                ('heard_at', models.DateTimeField(blank=True, help_text='when the last block came', null=True)),
                ('completed_at', models.DateTimeField(blank=True, null=True)),
                ('received_blocks', models.PositiveIntegerField(default=0)),
                ('received_bytes', models.PositiveBigIntegerField(default=0)),
                ('checked_at', models.DateTimeField(blank=True, help_text='when the digest was taken', null=True)),
                ('sha256', models.CharField(blank=True, default='', help_text='of the bytes that are here', max_length=64)),
                ('host_sha256', models.CharField(blank=True, default='', help_text='of the carves table', max_length=64)),
                ('host_status', models.CharField(blank=True, default='', help_text='of the carves table', max_length=40)),
                ('trouble', models.TextField(blank=True, default='')),
                ('host', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='carves', to='agents.host')),
                ('asked_at', models.DateTimeField(blank=True, help_text='when its host was asked for both last', null=True)),
            ],
            options={
                'ordering': ['-id'],
                'permissions': [('download_carve', 'Can download what hosts carved')],
                'indexes': [models.Index(condition=models.Q(('checked_at__isnull', True), ('completed_at__isnull', False)), fields=['completed_at'], name='carve_unchecked')],
                'constraints': [models.UniqueConstraint(fields=('host', 'carve_id'), name='a_host_carves_once')],
            },
        ),
        migrations.CreateModel(
            name='CarveBlock',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('size', models.PositiveIntegerField(help_text='bytes')),
                ('carve', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='blocks', to='agents.carve')),
            ],
            options={
                'ordering': ['carve_id', 'number'],
                'constraints': [models.UniqueConstraint(fields=('carve', 'number'), name='a_block_is_kept_once')],
            },
        ),
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
        migrations.CreateModel(
            name='LabelSqlRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('label', models.CharField(db_index=True, max_length=100)),
                ('platform', models.CharField(choices=[('linux', 'Linux'), ('darwin', 'macOS'), ('windows', 'Windows'), ('freebsd', 'FreeBSD'), ('other', 'other')], max_length=10)),
                ('sql', models.TextField()),
                ('action', models.CharField(choices=[('written', 'written'), ('removed', 'removed'), ('stopped', 'stopped')], max_length=7)),
                ('by', models.CharField(blank=True, help_text='a person, or the brake', max_length=150)),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('reason', models.TextField(blank=True, default='')),
            ],
            options={
                'verbose_name': "audit record of a label's SQL",
                'verbose_name_plural': "audit records of labels' SQL",
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='OnlineSample',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('platform', models.CharField(choices=[('linux', 'Linux'), ('darwin', 'macOS'), ('windows', 'Windows'), ('freebsd', 'FreeBSD'), ('other', 'other')], max_length=10)),
                ('hosts', models.PositiveIntegerField()),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('at', 'platform'), name='online_sampled_once')],
            },
        ),
        migrations.AddField(
            model_name='host',
            name='labels',
            field=models.ManyToManyField(related_name='hosts', through='agents.LabelMembership', to='agents.label'),
        ),
        # Rewritten every few seconds: room in its pages.
        migrations.RunSQL("ALTER TABLE agents_presence SET (fillfactor = 50)", migrations.RunSQL.noop),
        migrations.RunPython(name_it, migrations.RunPython.noop),
    ]
