"""The schema of a new database in one step; one that has any of the replaced steps goes on with those (docs/operations.md)."""

from pathlib import Path

import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.text
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

# Tables that are updated all the time: room in their pages.
ROOM = """
ALTER TABLE campaigns_target SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE campaigns_campaign SET (fillfactor = 50);
"""
CURSOR = "INSERT INTO campaigns_streamcursor (stream, entry, moved_at) VALUES ('results', '0-0', now())"
TRIGGERS = (Path(__file__).parent / "0019_hooks.sql").read_text()
NO_TRIGGERS = """
DROP TRIGGER hooks_hear_of_campaigns ON campaigns_campaign;
DROP TRIGGER hooks_hear_of_new_campaigns ON campaigns_campaign;
DROP FUNCTION campaigns_tell_hooks();
DROP FUNCTION campaigns_note_for_hooks(text, campaigns_campaign);
"""


def make_groups(apps, schema_editor):
    """Make the four groups; one that bore such a name before goes on under another, with what its members may."""
    groups = apps.get_model("auth", "Group").objects
    for role in ("Administrator", "Operator", "Observer", "Auditor"):
        groups.filter(name=role).update(name=f"{role} (before roles)")
        groups.create(name=role)  # what they may is written after the migrations (campaigns.people.roles)


class Migration(migrations.Migration):

    replaces = [
        ('campaigns', '0001_initial'),
        ('campaigns', '0002_table_settings'),
        ('campaigns', '0003_sql_checks'),
        ('campaigns', '0004_rollout'),
        ('campaigns', '0005_quotas'),
        ('campaigns', '0006_sql_digest'),
        ('campaigns', '0007_audit'),
        ('campaigns', '0008_goes_alone'),
        ('campaigns', '0009_release_pace'),
        ('campaigns', '0010_frozen_ranges'),
        ('campaigns', '0011_force'),
        ('campaigns', '0012_token_access'),
        ('campaigns', '0013_pinned_query'),
        ('campaigns', '0014_roles_and_scopes'),
        ('campaigns', '0015_approvals'),
        ('campaigns', '0016_narrowed_tokens'),
        ('campaigns', '0017_quotas_of_groups'),
        ('campaigns', '0018_query_views_and_archive'),
        ('campaigns', '0019_hooks'),
        ('campaigns', '0020_tools_of_tokens'),
        ('campaigns', '0021_schedules'),
        ('campaigns', '0022_answers_carried'),
        ('campaigns', '0023_wishes_of_rules'),
        ('campaigns', '0024_tools_of_tokens_by_default'),
    ]

    initial = True

    dependencies = [
        ('agents', '0012_digests_of_carves'),  # the last that one of the replaced steps needs, not the squash of them
        ('auth', '0012_alter_user_first_name_max_length'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='StreamCursor',
            fields=[
                ('stream', models.CharField(max_length=50, primary_key=True, serialize=False)),
                ('entry', models.CharField(default='0-0', max_length=40)),
                ('moved_at', models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.CreateModel(
            name='ApiToken',
            fields=[
                ('token_key', models.CharField(db_index=True, max_length=25)),
                ('created', models.DateTimeField(auto_now_add=True)),
                ('expiry', models.DateTimeField(blank=True, null=True)),
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('digest', models.CharField(editable=False, max_length=128, unique=True)),
                ('name', models.CharField(blank=True, default='', max_length=100)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='auth_token_set', to=settings.AUTH_USER_MODEL)),
                ('access', models.CharField(choices=[('run', 'everything its owner may'), ('read', 'reading only')], default='run', max_length=8)),
                ('password_stamp', models.CharField(default='', editable=False, max_length=32)),
                ('last_used_at', models.DateTimeField(editable=False, null=True)),
                ('last_used_from', models.GenericIPAddressField(editable=False, null=True)),
                ('is_scoped', models.BooleanField(default=False, editable=False)),
                ('is_throttled', models.BooleanField(default=True, editable=False)),
                ('labels', models.ManyToManyField(blank=True, related_name='tokens', to='agents.label')),
                ('role', models.CharField(blank=True, choices=[('Administrator', 'Administrator'), ('Operator', 'Operator'), ('Observer', 'Observer'), ('Auditor', 'Auditor')], default='', help_text="empty = its owner's", max_length=32)),
                ('tools_may_launch', models.BooleanField(db_default=False, default=False, help_text='whether a language model that works with it, at /mcp, may launch')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='DeadLetter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stream', models.CharField(max_length=50)),
                ('entry', models.CharField(max_length=40)),
                ('campaign_id', models.BigIntegerField(null=True)),
                ('host_id', models.BigIntegerField(null=True)),
                ('reason', models.TextField()),
                ('fields', models.BinaryField(help_text="the entry's fields as JSON, bytes as Latin-1")),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(fields=('stream', 'entry'), name='an_entry_dies_once')],
            },
        ),
        migrations.CreateModel(
            name='Query',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200, unique=True)),
                ('sql', models.TextField()),
                ('description', models.TextField(blank=True, default='')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('created_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('observer_can_run', models.BooleanField(default=False, help_text='who may only look may run it, as it stands')),
            ],
            options={
                'verbose_name_plural': 'queries',
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Schedule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('every', models.PositiveIntegerField(blank=True, help_text='minutes', null=True)),
                ('crontab', models.CharField(blank=True, default='', max_length=200)),
                ('zone', models.CharField(default='UTC', max_length=64)),
                ('target', models.JSONField(help_text='the selection of each run')),
                ('timeout', models.PositiveIntegerField(default=600, help_text='seconds')),
                ('answer_within', models.PositiveIntegerField(blank=True, help_text='seconds', null=True)),
                ('rollout', models.JSONField(blank=True, null=True)),
                ('runs_kept', models.PositiveIntegerField(default=30, help_text='ended runs, pinned ones not counted')),
                ('enabled', models.BooleanField(default=True)),
                ('sql', models.TextField(editable=False, help_text="the query's, as its owner enabled it")),
                ('next_at', models.DateTimeField(editable=False, null=True)),
                ('stopped_reason', models.TextField(blank=True, default='', editable=False, help_text='why the machine disabled it')),
                ('last_problem', models.TextField(blank=True, default='', editable=False, help_text='why its last time brought no run')),
                ('last_problem_at', models.DateTimeField(editable=False, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('owner', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='schedules', to=settings.AUTH_USER_MODEL)),
                ('query', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='schedules', to='campaigns.query')),
            ],
            options={
                'ordering': ['id'],
                'indexes': [models.Index(condition=models.Q(('enabled', True)), fields=['next_at'], name='schedules_due')],
            },
        ),
        migrations.CreateModel(
            name='Campaign',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(blank=True, max_length=200)),
                ('sql', models.TextField()),
                ('target', models.JSONField(help_text='the selection, as given')),
                ('timeout', models.PositiveIntegerField(help_text='seconds')),
                ('answer_within', models.PositiveIntegerField(blank=True, help_text='seconds', null=True)),
                ('reason', models.TextField(blank=True, default='')),
                ('rollout', models.JSONField(blank=True, null=True)),
                ('include_late_joiners', models.BooleanField(default=False)),
                ('pinned', models.BooleanField(default=False)),
                ('warnings', models.JSONField(blank=True, default=list)),
                ('status', models.CharField(choices=[('scheduled', 'scheduled'), ('targeting', 'targeting'), ('running', 'running'), ('paused', 'paused'), ('completed', 'completed'), ('expired', 'expired'), ('stopped', 'stopped')], default='targeting', max_length=10)),
                ('ended_reason', models.TextField(blank=True, default='')),
                ('ended_by', models.CharField(blank=True, default='', max_length=150)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('start_at', models.DateTimeField(blank=True, null=True)),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('ends_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('closed_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('closed_entry', models.CharField(blank=True, default='', editable=False, max_length=40)),
                ('columns', models.JSONField(blank=True, default=list)),
                ('expected', models.PositiveIntegerField(default=0)),
                ('last_seq', models.PositiveBigIntegerField(default=0)),
                ('count_targeted', models.PositiveIntegerField(default=0)),
                ('count_waiting', models.PositiveIntegerField(default=0)),
                ('count_delivered', models.PositiveIntegerField(default=0)),
                ('count_answered', models.PositiveIntegerField(default=0)),
                ('count_failed', models.PositiveIntegerField(default=0)),
                ('count_denylisted', models.PositiveIntegerField(default=0)),
                ('count_unsupported', models.PositiveIntegerField(default=0)),
                ('count_no_answer', models.PositiveIntegerField(default=0)),
                ('count_missed', models.PositiveIntegerField(default=0)),
                ('count_held_back', models.PositiveIntegerField(default=0)),
                ('count_stopped', models.PositiveIntegerField(default=0)),
                ('count_rows', models.PositiveBigIntegerField(default=0)),
                ('count_online', models.PositiveIntegerField(default=0)),
                ('created_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('parent', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='reruns', to='campaigns.campaign')),
                ('query', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to='campaigns.query')),
                ('unsupported', models.JSONField(blank=True, default=list, editable=False, help_text="[platform, osquery version, extensions, SQLite's sentence, digest of its tables]")),
                ('left', models.DurationField(blank=True, editable=False, null=True)),
                ('paused_by', models.CharField(blank=True, default='', editable=False, max_length=150)),
                ('paused_reason', models.TextField(blank=True, default='', editable=False)),
                ('release_goal', models.PositiveIntegerField(editable=False, null=True)),
                ('release_step', models.PositiveIntegerField(default=0, editable=False)),
                ('released', models.IntegerField(default=2147483647, editable=False)),
                ('released_count', models.PositiveIntegerField(default=0, editable=False)),
                ('stored_bytes', models.PositiveBigIntegerField(default=0, editable=False, help_text='of rows, as JSON')),
                ('goes_alone', models.BooleanField(default=False, editable=False, help_text='not handed out beside other SQL: it was slow or denylisted before')),
                ('released_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('is_forced', models.BooleanField(default=False, editable=False, help_text='sent also to hosts whose learned tables speak against it')),
                ('scope', models.JSONField(blank=True, default=list, editable=False, help_text='limits of who launched it, then; empty = every host')),
                ('waits_for', models.CharField(blank=True, choices=[('approval', "a second person's approval")], default='', editable=False, help_text='what keeps a scheduled campaign from beginning beside its time', max_length=10)),
                ('schedule', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='campaigns.schedule')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['status'], name='campaign_status'), models.Index(django.db.models.functions.text.MD5('sql'), name='campaign_sql')],
                'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['scheduled', 'targeting', 'running', 'paused', 'completed', 'expired', 'stopped'])), name='status_is_known'), models.CheckConstraint(condition=models.Q(('count_targeted', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('count_waiting'), '+', models.F('count_delivered')), '+', models.F('count_answered')), '+', models.F('count_failed')), '+', models.F('count_denylisted')), '+', models.F('count_unsupported')), '+', models.F('count_no_answer')), '+', models.F('count_missed')), '+', models.F('count_held_back')), '+', models.F('count_stopped')))), name='states_add_up_to_targeted'), models.CheckConstraint(condition=models.Q(('waits_for', ''), ('status', 'scheduled'), _connector='OR'), name='only_what_is_scheduled_waits')],
                'permissions': [('launch_restricted', 'Can launch SQL that changes hosts or uses restricted tables'), ('switch_live_queries', 'Can switch all live queries off and on'), ('launch_unlimited', 'Can launch beyond the quotas of open campaigns and of targets'), ('launch_carve', 'Can launch SQL that carves files'), ('launch_flagged', 'Can launch saved queries that are flagged for observers'), ('approve_campaign', 'Can approve what others want to launch')],
            },
        ),
        migrations.CreateModel(
            name='Result',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('hostname', models.CharField(max_length=255)),
                ('seq', models.PositiveBigIntegerField()),
                ('state', models.CharField(choices=[('waiting', 'waiting'), ('delivered', 'delivered'), ('answered', 'answered'), ('failed', 'failed'), ('denylisted', 'denylisted'), ('unsupported', 'unsupported'), ('no_answer', 'no answer'), ('missed', 'missed'), ('held_back', 'held back'), ('stopped', 'stopped')], max_length=11)),
                ('rows', models.JSONField(default=list)),
                ('row_count', models.PositiveIntegerField(default=0)),
                ('truncated', models.BooleanField(default=False)),
                ('late', models.BooleanField(default=False)),
                ('error', models.TextField(blank=True, default='')),
                ('received_at', models.DateTimeField()),
                ('campaign', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='results', to='campaigns.campaign')),
                ('host', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, to='agents.host')),
            ],
            options={
                'ordering': ['campaign_id', 'seq'],
                'constraints': [models.UniqueConstraint(fields=('campaign', 'host'), name='a_host_answers_once'), models.UniqueConstraint(fields=('campaign', 'seq'), name='seq_is_used_once'), models.CheckConstraint(condition=models.Q(('state__in', ['answered', 'failed', 'denylisted'])), name='result_state_is_an_answer')],
            },
        ),
        migrations.CreateModel(
            name='Target',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('hostname', models.CharField(max_length=255)),
                ('state', models.CharField(choices=[('waiting', 'waiting'), ('delivered', 'delivered'), ('answered', 'answered'), ('failed', 'failed'), ('denylisted', 'denylisted'), ('unsupported', 'unsupported'), ('no_answer', 'no answer'), ('missed', 'missed'), ('held_back', 'held back'), ('stopped', 'stopped')], default='waiting', max_length=11)),
                ('late', models.BooleanField(default=False)),
                ('deliveries', models.PositiveSmallIntegerField(default=0)),
                ('delivered_at', models.DateTimeField(blank=True, null=True)),
                ('answered_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True, default='')),
                ('row_count', models.PositiveIntegerField(default=0)),
                ('wall_ms', models.BigIntegerField(blank=True, null=True)),
                ('user_ms', models.BigIntegerField(blank=True, null=True)),
                ('system_ms', models.BigIntegerField(blank=True, null=True)),
                ('memory_bytes', models.BigIntegerField(blank=True, null=True)),
                ('campaign', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='targets', to='campaigns.campaign')),
                ('host', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, to='agents.host')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('campaign', 'host'), name='a_host_is_targeted_once'), models.CheckConstraint(condition=models.Q(('state__in', ['waiting', 'delivered', 'answered', 'failed', 'denylisted', 'unsupported', 'no_answer', 'missed', 'held_back', 'stopped'])), name='state_is_known')],
            },
        ),
        migrations.CreateModel(
            name='TargetRange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(help_text='host id >> 16')),
                ('sent_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('done_at', models.DateTimeField(blank=True, null=True)),
                ('campaign', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='ranges', to='campaigns.campaign')),
                ('hosts', models.BinaryField(null=True)),
            ],
            options={
                'ordering': ['campaign_id', 'number'],
                'constraints': [models.UniqueConstraint(fields=('campaign', 'number'), name='a_range_is_written_once')],
            },
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=255)),
                ('body_digest', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('campaign', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='campaigns.campaign')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'key'), name='a_key_launches_once')],
            },
        ),
        migrations.CreateModel(
            name='LiveQueries',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('enabled', models.BooleanField(default=True)),
                ('reason', models.TextField(blank=True, default='')),
                ('changed_by', models.CharField(blank=True, default='', editable=False, max_length=150)),
                ('changed_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'verbose_name': 'kill switch',
                'verbose_name_plural': 'kill switch',
            },
        ),
        migrations.CreateModel(
            name='AuditRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('campaign_id', models.BigIntegerField(unique=True)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('sql', models.TextField()),
                ('target', models.JSONField(help_text='the selection, as given')),
                ('reason', models.TextField(blank=True, default='')),
                ('launched_by', models.CharField(blank=True, max_length=150)),
                ('launched_at', models.DateTimeField()),
                ('stage', models.CharField(choices=[('open', 'launched'), ('ended', 'ended, late answers may come'), ('final', 'ended'), ('deleting', 'deleted, its rows are being deleted'), ('deleted', 'deleted with its rows')], db_index=True, default='open', max_length=8)),
                ('status', models.CharField(choices=[('scheduled', 'scheduled'), ('targeting', 'targeting'), ('running', 'running'), ('paused', 'paused'), ('completed', 'completed'), ('expired', 'expired'), ('stopped', 'stopped')], max_length=10)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('ended_by', models.CharField(blank=True, default='', max_length=150)),
                ('ended_reason', models.TextField(blank=True, default='')),
                ('counts', models.JSONField(default=dict)),
                ('hosts', models.JSONField(default=dict, help_text='ids of hosts by state, as ranges: {"answered": "1-500,502"}')),
                ('deleted_at', models.DateTimeField(blank=True, null=True)),
                ('deleted_by', models.CharField(blank=True, default='', max_length=150)),
                ('approvals', models.JSONField(default=list, help_text='[{"what": "approved", "by", "at", "reason"}], in order')),
            ],
            options={
                'ordering': ['-campaign_id'],
            },
        ),
        migrations.CreateModel(
            name='PinnedQuery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('query', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='campaigns.query')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'query'), name='a_query_is_pinned_once')],
            },
        ),
        migrations.CreateModel(
            name='Scope',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('group', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='scope', to='auth.group')),
                ('labels', models.ManyToManyField(blank=True, help_text='its members see the hosts of these labels; none = no host', related_name='scopes', to='agents.label')),
            ],
            options={
                'ordering': ['group__name'],
            },
        ),
        migrations.CreateModel(
            name='Approval',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('state', models.CharField(choices=[('waiting', 'waiting'), ('approved', 'approved'), ('rejected', 'rejected'), ('withdrawn', 'withdrawn'), ('expired', 'expired'), ('void', 'void'), ('stopped', 'stopped')], default='waiting', editable=False, max_length=9)),
                ('why', models.JSONField(default=list, editable=False, help_text='what of the rules caught it, in sentences')),
                ('digest', models.CharField(editable=False, help_text='of SQL, frozen hosts and limits', max_length=64)),
                ('asked_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('wait', models.PositiveIntegerField(default=86400, editable=False, help_text='seconds, of the rule that caught it')),
                ('expires_at', models.DateTimeField(editable=False, help_text='when it can be approved no more')),
                ('decided_by_name', models.CharField(blank=True, default='', editable=False, max_length=150)),
                ('decided_at', models.DateTimeField(editable=False, null=True)),
                ('good_until', models.DateTimeField(editable=False, help_text='when an approval is good for no start more', null=True)),
                ('reason', models.TextField(blank=True, default='', editable=False)),
                ('campaign', models.OneToOneField(editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='approval', to='campaigns.campaign')),
                ('decided_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='approvals_decided', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-campaign_id'],
                'indexes': [models.Index(condition=models.Q(('state', 'waiting')), fields=['expires_at'], name='approvals_waiting')],
            },
        ),
        migrations.CreateModel(
            name='ApprovalRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('hosts_above', models.PositiveIntegerField(blank=True, help_text='launches over more hosts wait; empty = any number goes', null=True)),
                ('tables', models.JSONField(blank=True, default=list, help_text='SQL that names one waits: ["shadow"]')),
                ('hours', models.JSONField(blank=True, default=list, help_text='launches in these hours wait: [{"days": ["sat"], "from": "00:00", "to": "24:00", "zone": "UTC"}]')),
                ('expires_after', models.PositiveIntegerField(default=86400, help_text='seconds a launch waits for its approval, and an approval for its start', validators=[django.core.validators.MinValueValidator(60), django.core.validators.MaxValueValidator(2592000)])),
                ('changed_by', models.CharField(blank=True, default='', editable=False, max_length=150)),
                ('changed_at', models.DateTimeField(auto_now=True)),
                ('group', models.ForeignKey(blank=True, help_text='empty = everybody', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='approval_rules', to='auth.group')),
                ('wish', models.JSONField(default=None, editable=False, help_text="a change that waits for another superuser's yes", null=True)),
            ],
            options={
                'ordering': ['group__name'],
                'constraints': [models.UniqueConstraint(fields=('group',), name='a_group_has_one_approval_rule', nulls_distinct=False, violation_error_message='there is a rule for this group already: change that one')],
            },
        ),
        migrations.CreateModel(
            name='Quota',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('open_campaigns', models.PositiveIntegerField(blank=True, help_text='campaigns at once', null=True)),
                ('hosts_per_hour', models.PositiveIntegerField(blank=True, help_text='hosts asked within any hour', null=True)),
                ('rows_kept', models.PositiveBigIntegerField(blank=True, help_text='rows in all campaigns of a person that are kept', null=True)),
                ('changed_by', models.CharField(blank=True, default='', editable=False, max_length=150)),
                ('changed_at', models.DateTimeField(auto_now=True)),
                ('group', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='quotas', to='auth.group')),
                ('person', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='quotas', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['group__name', 'person__username'],
                'constraints': [models.UniqueConstraint(fields=('group',), name='a_group_has_one_quota', violation_error_message='there are quotas of this group already: change those'), models.UniqueConstraint(fields=('person',), name='a_person_has_one_quota', violation_error_message='there are quotas of this person already: change those'), models.CheckConstraint(condition=models.Q(models.Q(('group', None), ('person__isnull', False)), models.Q(('group__isnull', False), ('person', None)), _connector='OR'), name='a_quota_is_of_a_group_or_a_person', violation_error_message='give either a group or a person')],
            },
        ),
        migrations.CreateModel(
            name='Archive',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('up_to_seq', models.PositiveBigIntegerField(default=0)),
                ('written_at', models.DateTimeField(null=True)),
                ('due_at', models.DateTimeField(help_text='when it may be tried (again)')),
                ('campaign', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='archive', to='campaigns.campaign')),
            ],
        ),
        migrations.CreateModel(
            name='QueryView',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('sql', models.TextField()),
                ('chart', models.CharField(blank=True, choices=[('bar', 'bars'), ('line', 'line'), ('pie', 'pie'), ('none', 'no chart')], default='', max_length=4)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('query', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='views', to='campaigns.query')),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('query', 'name'), name='a_view_is_named_once')],
            },
        ),
        migrations.CreateModel(
            name='HookEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=32)),
                ('campaign_id', models.BigIntegerField()),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('facts', models.JSONField(default=dict, help_text="the campaign's state then")),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Hook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('kind', models.CharField(choices=[('webhook', 'signed posts to an address'), ('notification', 'messages by a service, as mail, Slack or Teams')], default='webhook', editable=False, max_length=12)),
                ('address', models.CharField(max_length=2000)),
                ('events', models.JSONField(default=list, help_text='what it is told of; [] = of everything')),
                ('only_mine', models.BooleanField(default=False, help_text='of what its owner launched alone')),
                ('secret', models.CharField(blank=True, default='', editable=False, max_length=100)),
                ('previous_secret', models.CharField(blank=True, default='', editable=False, max_length=100)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('rotated_at', models.DateTimeField(editable=False, null=True)),
                ('stopped_at', models.DateTimeField(editable=False, null=True)),
                ('stopped_reason', models.CharField(blank=True, default='', editable=False, max_length=300)),
                ('held_until', models.DateTimeField(editable=False, null=True)),
                ('lease', models.BigIntegerField(default=0, editable=False)),
                ('owner', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='hooks', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('message_id', models.CharField(max_length=64, unique=True)),
                ('kind', models.CharField(max_length=32)),
                ('campaign_id', models.BigIntegerField(null=True)),
                ('body', models.TextField()),
                ('text', models.TextField(blank=True, default='', help_text='the same in words, for people')),
                ('limits', models.JSONField(default=list, help_text='what its owner could see when it was written')),
                ('state', models.CharField(choices=[('waiting', 'waiting'), ('delivered', 'delivered'), ('dead', 'given up')], default='waiting', max_length=9)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('due_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('tried_at', models.DateTimeField(null=True)),
                ('took_ms', models.PositiveIntegerField(null=True)),
                ('status', models.PositiveIntegerField(help_text='of the last answer', null=True)),
                ('answer', models.TextField(blank=True, default='', help_text='how the last answer began')),
                ('error', models.TextField(blank=True, default='', help_text='why there was none, or why it is given up')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('hook', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='campaigns.hook')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'ordering': ['-id'],
                'default_permissions': ('view',),
                'indexes': [models.Index(condition=models.Q(('state', 'waiting')), fields=['due_at'], name='deliveries_due'), models.Index(fields=['created_at'], name='deliveries_by_age')],
            },
        ),
        migrations.CreateModel(
            name='ScheduledRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('compared_at', models.DateTimeField(null=True)),
                ('changes', models.JSONField(default=list, help_text='in sentences')),
                ('problem', models.TextField(blank=True, default='', help_text='why it could not be compared')),
                ('before', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='campaigns.campaign')),
                ('campaign', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='scheduled_run', to='campaigns.campaign')),
                ('schedule', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='runs', to='campaigns.schedule')),
            ],
            options={
                'ordering': ['-campaign_id'],
                'default_permissions': ('view',),
                'indexes': [models.Index(condition=models.Q(('compared_at', None)), fields=['id'], name='runs_not_compared')],
            },
        ),
        migrations.CreateModel(
            name='AnswersCarried',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('sink', models.CharField(max_length=500, unique=True)),
                ('result_id', models.BigIntegerField(default=0)),
                ('moved_at', models.DateTimeField(null=True)),
                ('tried_at', models.DateTimeField(null=True)),
                ('failing_since', models.DateTimeField(null=True)),
                ('last_error', models.CharField(blank=True, default='', max_length=500)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.RunSQL(ROOM, migrations.RunSQL.noop),
        migrations.RunSQL(CURSOR, "DELETE FROM campaigns_streamcursor"),
        migrations.RunPython(make_groups, migrations.RunPython.noop),
        migrations.RunSQL(TRIGGERS, NO_TRIGGERS),
    ]
