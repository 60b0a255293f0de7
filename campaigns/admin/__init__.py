"""The back room of campaigns: adding one launches it, its page follows it live, machine-written rows are read-only.

Importing it registers the pages. Never holds a rule that an API or page would need too.
"""

from campaigns.admin import (  # noqa: F401 - they register themselves
    access,
    approvals,
    audit,
    campaigns,
    hooks,
    inner_workings,
    queries,
    schedules,
)
