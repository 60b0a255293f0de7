"""Where files lie: carves, and the archive of answers."""

from fleet.settings.environment import BASE_DIR, env

# Carves lie as files of their own in a folder that gateways, workers and consoles share; another storage will do.
CARVES_DIR = env.str("CARVES_DIR", default=str(BASE_DIR / ".carves"))
# The archive of answers, where it is switched on: any Django storage, a folder unless told. For S3: install
# django-storages[s3], ARCHIVE_BACKEND=storages.backends.s3.S3Storage, ARCHIVE_OPTIONS={"bucket_name": "…"}.
ARCHIVE_ANSWERS = env.bool("ARCHIVE_ANSWERS", default=False)
ARCHIVE_BACKEND = env.str("ARCHIVE_BACKEND", default="django.core.files.storage.FileSystemStorage")
ARCHIVE_OPTIONS = env.json(
    "ARCHIVE_OPTIONS",
    default={
        "location": str(BASE_DIR / ".archive"),
        "file_permissions_mode": 0o600,
        "directory_permissions_mode": 0o700,
    },
)
# Of one file: what comes after is in the next. Two are written at once in the messenger's TMPDIR, each a little larger.
ARCHIVE_FILE_BYTES = env.int("ARCHIVE_FILE_BYTES", default=64 * 2**20)
# Where every answer is carried as it is stored: file:///path/of.ndjson, redis://host:port/db#stream of another Redis
# than REDIS_URL's, https://host/path (posts of NDJSON), or nowhere.
ANSWERS_SINK = env.place("ANSWERS_SINK", default="")
ANSWERS_SINK_TOKEN = env.str("ANSWERS_SINK_TOKEN", default="")  # sent over HTTP as a bearer's
STORAGES = {
    "archive": {"BACKEND": ARCHIVE_BACKEND, "OPTIONS": ARCHIVE_OPTIONS},
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "carves": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": CARVES_DIR, "file_permissions_mode": 0o600, "directory_permissions_mode": 0o700},
    },
}
