from pathlib import Path

from django.db import migrations

CHAIN = (Path(__file__).parent / "0002_chain.sql").read_text()
UNCHAIN = """
DROP TRIGGER audit_refuses_truncate ON audit_auditlink;
DROP TRIGGER audit_refuses_truncate ON audit_auditevent;
DROP TRIGGER audit_refuses_change ON audit_auditlink;
DROP TRIGGER audit_refuses_change ON audit_auditevent;
DROP TRIGGER audit_is_chained ON audit_auditevent;
DROP FUNCTION audit_refuse();
DROP FUNCTION audit_link_line();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0001_lines'),
    ]

    operations = [
        migrations.RunSQL(CHAIN, UNCHAIN),
    ]
