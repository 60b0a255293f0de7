"""What a campaign may do, how many there may be, and how long they stay."""

from collections.abc import Iterable
from ipaddress import ip_network

from django.core.exceptions import ImproperlyConfigured

from fleet.settings.environment import env


def networks(listed: Iterable[str], name: str) -> list[str]:
    """Check that each entry is a network. Raise ImproperlyConfigured."""
    for entry in listed:
        try:
            ip_network(entry.strip(), strict=False)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name} has {entry!r}, which is no network like 10.20.0.0/16") from error
    return [entry.strip() for entry in listed]


LIVE_QUERIES_ENABLED = env.bool("LIVE_QUERIES_ENABLED", default=True)
# Tables and functions whose use in a campaign needs the permission campaigns.launch_restricted.
# What loads code into the agent (agents.inventory.sql.CODE_LOADING) needs it whatever this says.
RESTRICTED_TABLES: list[str] = env.list(
    "RESTRICTED_TABLES",
    default=[
        *("carve", "carves", "curl", "curl_certificate", "process_envs", "shadow", "shell_history"),
        *("yara", "yara_events"),
    ],
)
DENYLISTED_BRAKE = env.int("DENYLISTED_BRAKE", default=3)  # hosts that died running the SQL and stop it; 0 = none
# Decides which hosts a person may see; agents and the ground know of no scopes.
SIGHT_OF_HOSTS = "campaigns.people.scopes"
# Says whether an answer of a host that may name carves is still to be stored; agents know of no campaigns.
CARVES_EXPECTED_BY = "campaigns.answers.carves.expects_carves_of"
CAMPAIGN_RETENTION_DAYS = env.int("CAMPAIGN_RETENTION_DAYS", default=180)  # since the end, unless pinned; 0 = for ever

# Quotas; 0 = no limit. Who has the permission campaigns.launch_unlimited is free of those per person but the first, and
# of targets. Rows of groups and people (admin, api/v1/quotas/) override the three that end in PER_PERSON.
LAUNCHES_PER_MINUTE = env.int("LAUNCHES_PER_MINUTE", default=60)  # per person, administrators excepted
OPEN_CAMPAIGNS_PER_PERSON = env.int("OPEN_CAMPAIGNS_PER_PERSON", default=50)
HOSTS_PER_HOUR_PER_PERSON = env.int("HOSTS_PER_HOUR_PER_PERSON", default=0)  # asked within any hour
ROWS_KEPT_PER_PERSON = env.int("ROWS_KEPT_PER_PERSON", default=0)  # in all campaigns of a person that are kept
TARGETS_PER_CAMPAIGN = env.int("TARGETS_PER_CAMPAIGN", default=0)  # hosts
# By group of the admin, the highest of a person's groups: helpdesk=50;responders=20000
TARGETS_PER_CAMPAIGN_BY_GROUP: dict[str, int] = env.dict(
    "TARGETS_PER_CAMPAIGN_BY_GROUP", cast={"value": int}, default={}
)
CAMPAIGN_MAX_ROWS = env.int("CAMPAIGN_MAX_ROWS", default=20_000_000)  # more is cut, and said
CAMPAIGN_MAX_BYTES = env.int("CAMPAIGN_MAX_BYTES", default=10 * 2**30)  # of rows as JSON; more is cut, and said

# Hooks reach public addresses, and those of these networks: 10.20.0.0/16,fd00::/8
HOOKS_ALLOWED_NETWORKS: list[str] = networks(env.list("HOOKS_ALLOWED_NETWORKS", default=[]), "HOOKS_ALLOWED_NETWORKS")
# What people may be notified by, as Apprise calls it; each message goes out of a process of its own.
NOTIFICATION_SERVICES: list[str] = env.list(
    "NOTIFICATION_SERVICES",
    default=["mailto", "mailtos", "slack", "msteams", "workflows", "discord", "gchat", "tgram", "mmosts", "rockets",
             "matrixs", "zulip", "webex", "pover", "ntfys", "pagerduty", "opsgenie"],
)  # fmt: skip
