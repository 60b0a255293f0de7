from hashlib import sha256

from django.db import migrations, models


def stamp(apps, schema_editor):
    """Tokens of before stay: they bear the stamp of the password their owner has now."""
    tokens = apps.get_model("campaigns", "ApiToken").objects
    for token in tokens.select_related("user").iterator():
        digest = sha256(token.user.password.encode()).hexdigest()[:32]
        tokens.filter(pk=token.pk).update(password_stamp=digest)


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0011_force")]

    operations = [
        migrations.AddField(
            "apitoken",
            "access",
            models.CharField(
                choices=[("run", "everything its owner may"), ("read", "reading only")], default="run", max_length=8
            ),
        ),
        migrations.AddField(
            "apitoken", "password_stamp", models.CharField(default="", editable=False, max_length=32)
        ),
        migrations.AddField("apitoken", "last_used_at", models.DateTimeField(editable=False, null=True)),
        migrations.AddField("apitoken", "last_used_from", models.GenericIPAddressField(editable=False, null=True)),
        migrations.RunPython(stamp, migrations.RunPython.noop),
    ]
