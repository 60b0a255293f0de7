"""What was asked before, to be asked again: one's own questions, and the saved queries with those one pinned."""

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef, Q, QuerySet

from campaigns.console.order import BY_NAME
from campaigns.launching import rights
from campaigns.models import Campaign, PinnedQuery, Query
from campaigns.people.roles import SEE_QUERIES

LOOKED_THROUGH = 400  # newest campaigns of one person
QUESTIONS_SHOWN, QUERIES_SHOWN = 20, 40


def questions(user: User, words: str = "") -> list[Campaign]:
    """Give one's newest campaigns, of each SQL the last one, that have the words in their SQL or name."""
    mine = Campaign.objects.filter(created_by=user).only("pk", "sql", "name", "created_at").order_by("-pk")
    if words:
        mine = mine.filter(Q(sql__icontains=words) | Q(name__icontains=words))
    of_sql: dict[str, Campaign] = {}
    for campaign in mine[:LOOKED_THROUGH].iterator(chunk_size=QUESTIONS_SHOWN * 2):
        of_sql.setdefault(campaign.sql.strip(), campaign)
        if len(of_sql) == QUESTIONS_SHOWN:
            break
    return list(of_sql.values())


def saved_queries(user: User, words: str = "") -> QuerySet[Query]:
    """Give the saved queries that this person may look at, and run, pinned ones first."""
    if not user.has_perm(SEE_QUERIES):
        return Query.objects.none()
    pinned = PinnedQuery.objects.filter(user=user, query=OuterRef("pk"))
    found = Query.objects.annotate(is_pinned=Exists(pinned)).order_by("-is_pinned", *BY_NAME)
    if rights.may_only_launch_flagged(user):
        found = found.filter(observer_can_run=True)
    if words:
        found = found.filter(Q(name__icontains=words) | Q(sql__icontains=words) | Q(description__icontains=words))
    return found
