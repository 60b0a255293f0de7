"""The order of lists by name: as people read them, small letters among capitals, in whatever order bytes have."""

from django.db.models.functions import Lower

BY_NAME = (Lower("name"), "name")
