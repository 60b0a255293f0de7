"""Count the bytes a campaign keeps, and let some launch beyond the quotas."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0004_rollout")]
    operations = [
        migrations.AddField(
            "campaign",
            "stored_bytes",
            models.PositiveBigIntegerField(default=0, editable=False, help_text="of rows, as JSON"),
        ),
        migrations.AlterModelOptions(
            "campaign",
            {
                "ordering": ["-id"],
                "permissions": [
                    ("launch_restricted", "Can launch SQL that changes hosts or uses restricted tables"),
                    ("switch_live_queries", "Can switch all live queries off and on"),
                    ("launch_unlimited", "Can launch beyond the quotas of open campaigns and of targets"),
                ],
            },
        ),
    ]
