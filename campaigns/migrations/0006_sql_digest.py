"""Find earlier campaigns with the same SQL."""

from django.db import migrations, models
from django.db.models.functions import MD5


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0005_quotas")]
    operations = [migrations.AddIndex("campaign", models.Index(MD5("sql"), name="campaign_sql"))]
