"""Every setting, with its unit, read from the environment once.

Nothing here opens a connection. DATABASE_URL and REDIS_URL are needed by everything that does; `make demo`,
`make test` and `make bench` start real PostgreSQL and Redis from wheels and set both.
A file per subject; all of them together are `settings`.
"""

import django_stubs_ext

from fleet.settings.agents import *
from fleet.settings.analysis import *
from fleet.settings.api import *
from fleet.settings.campaigns import *
from fleet.settings.environment import BASE_DIR as BASE_DIR
from fleet.settings.monitoring import *
from fleet.settings.pages import *
from fleet.settings.people import *
from fleet.settings.servers import *
from fleet.settings.storage import *
from fleet.settings.work import *

# Django's generic classes (ModelForm[Host], …) take their type at run time as well.
django_stubs_ext.monkeypatch()
