"""Who is in a label: by hand, by SQL that hosts answer, or by platform."""

from collections.abc import Iterable, Mapping, Sequence

from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count, F, Q, QuerySet

from agents.board import operator_verbs
from agents.inventory import label_sql
from agents.inventory.models import LabelSqlRecord
from agents.models import Host, HostQuerySet, HousekeepingQuery, Label, LabelMembership, Platform
from fleet import sight
from fleet.audit import note
from fleet.audit.spans import spans
from fleet.errors import BadInputError, ConflictError, ForbiddenError
from fleet.queue import enqueue
from fleet.text import is_text

Person = User | AnonymousUser
CHANGE, MAKE = "agents.change_label", "agents.add_label"
CHANGE_SCOPES = "campaigns.change_scope"


def check_may_put_in(by: Person, field: str, into: Iterable[Label] = ()) -> None:
    """Raise ForbiddenError unless this person may change labels: putting hosts in is that, by whatever door."""
    if not by.has_perm(CHANGE):
        raise ForbiddenError(f"putting hosts into labels needs the permission {CHANGE}", field)
    for label in into:
        check_may_change(by, label, field)


def check_may_change(by: Person, label: Label, field: str = "") -> None:
    """Raise ForbiddenError when a scope rests on the label, unless this person may change scopes: that would be it."""
    if not changeable_by(by).filter(pk=label.pk).exists():
        raise ForbiddenError(
            f"label {label.name!r} says which hosts a group may see: changing it needs the permission {CHANGE_SCOPES}",
            field,
        )


def changeable_by(by: Person) -> "QuerySet[Label]":
    """Give the labels this person may change as far as scopes rest on them."""
    return Label.objects.all() if by.has_perm(CHANGE_SCOPES) else Label.objects.filter(scopes=None)


def by_hand_for(by: Person) -> "QuerySet[Label]":
    """Give the labels, kept by hand, that this person may let hosts of a secret come into."""
    return changeable_by(by).filter(built_in="", queries=None)


def check_may_delete(by: Person, label: Label) -> None:
    """Raise ForbiddenError when a scope rests on the label, or it has hosts that this person does not see."""
    check_may_change(by, label)
    if _has_others(by, label):
        raise ForbiddenError(f"label {label.name!r} has hosts outside of your scope: who sees all of them deletes it")


def check_may_call(by: Person, label: Label, name: str) -> None:
    """Raise ForbiddenError when it would bear another name, and it has hosts that this person does not see.

    Launches and schedules of others mean it by its name, as what they ask or leave out.
    """
    if name != label.name and _has_others(by, label):
        sentence = f"label {label.name!r} has hosts outside of your scope: who sees all of them gives it another name"
        raise ForbiddenError(sentence, "name")


def _has_others(by: Person, label: Label) -> bool:
    """Say whether it has hosts that this person does not see."""
    members = LabelMembership.objects.filter(label=label)
    return sight.is_limited(by) and members.exclude(pk__in=sight.within(members, by).values("pk")).exists()


def count_for(user: Person) -> Count:
    """Give the count of a label's members that this person sees, to annotate labels with."""
    if not sight.is_limited(user):
        return Count("labelmembership")
    visible = sight.within(LabelMembership.objects.all(), user).values("pk")
    return Count("labelmembership", filter=Q(labelmembership__in=visible))


def set_membership(label: Label, host: Host, *, is_member: bool) -> None:
    """Put a host into a label or take it out; both may be true already."""
    if is_member:
        LabelMembership.objects.get_or_create(label=label, host=host)
    else:
        LabelMembership.objects.filter(label=label, host=host).delete()


def add(label: Label, hosts: HostQuerySet) -> None:
    """Put hosts into a label by hand; some may be in it already. Raise ConflictError when it is not kept by hand."""
    check_by_hand(label)
    put_in(label, hosts.values_list("pk", flat=True))


@transaction.atomic
def put_in(label: Label, host_ids: Iterable[int]) -> None:
    """Put hosts into a label by hand, and note which are new in it."""
    known = set(LabelMembership.objects.filter(label=label).values_list("host_id", flat=True))
    new = sorted(set(host_ids) - known)
    members = [LabelMembership(label=label, host_id=host) for host in new]
    LabelMembership.objects.bulk_create(members, batch_size=10_000, ignore_conflicts=True)
    if new:
        note("label.hosts_added", subject=f"label {label.pk}", name=label.name, hosts=spans(new))


@transaction.atomic
def remove(label: Label, host_ids: Iterable[int]) -> None:
    """Take hosts out of a label, and note which."""
    members = LabelMembership.objects.filter(label=label, host_id__in=list(host_ids))
    gone = sorted(members.values_list("host_id", flat=True))
    members.delete()
    if gone:
        note("label.hosts_removed", subject=f"label {label.pk}", name=label.name, hosts=spans(gone))


def named(name: str, by: User, field: str) -> tuple[Label, bool]:
    """Give the label of this name to put hosts in by hand, and whether it was made for it.

    Raise BadInputError for no name, ForbiddenError for who may not, ConflictError when it is not kept by hand.
    """
    check_may_put_in(by, field)
    if not is_text(name):
        raise BadInputError(f"{name!r} is no name of a label: it holds a NUL or half a character", field)
    known = Label.objects.filter(name=name).first()
    if known is not None:
        check_by_hand(known)
        return known, False
    if not by.has_perm(MAKE):
        raise ForbiddenError(f"there is no label {name!r}, and making it needs the permission {MAKE}", field)
    made = Label(name=name)
    try:
        made.full_clean()
    except ValidationError as error:
        raise BadInputError(f"{name!r} is no name of a label: {' '.join(error.messages)}", field) from error
    made.save()
    return made, True


def put_into(pairs: Iterable[tuple[Label, Host]]) -> None:
    """Put hosts into labels; some may be in them already."""
    members = [LabelMembership(label=label, host=host) for label, host in pairs]
    LabelMembership.objects.bulk_create(members, ignore_conflicts=True)


def follow_platforms(hosts: Sequence[Host]) -> None:
    """Put hosts into the built-in labels of their platforms, and out of the others."""
    built_in = LabelMembership.objects.filter(host__in=hosts).exclude(label__built_in="")
    built_in.exclude(label__built_in=F("host__platform")).delete()
    labels = {label.built_in: label for label in Label.objects.exclude(built_in="")}
    put_into((labels[host.platform], host) for host in hosts if host.platform in labels)


def check_by_hand(label: Label) -> None:
    """Raise ConflictError when hosts cannot be put into a label by hand."""
    if label.built_in:
        raise ConflictError(f"label {label.name!r} is built in: its hosts are those of its platform", "hosts")
    if label.queries.exists():
        raise ConflictError(f"label {label.name!r} has SQL: hosts enter and leave it by their answers", "hosts")


def set_queries(label: Label, new_queries: Mapping[str, str], by: str = "") -> None:
    """Give a label its SQL by platform; hosts of new SQL are asked at once. Hosts of other platforms leave it.

    New SQL is a new question, with an id of its own on the board: what hosts still answer to the old one is dropped,
    and who was a member stays one until it answers the new one.

    Raise ConflictError for a built-in label, BadInputError for an unknown platform.
    """
    if label.built_in:
        raise ConflictError(f"label {label.name!r} is built in and has no SQL", "queries")
    for platform in new_queries:
        if platform not in Platform.values:
            allowed = ", ".join(Platform.values)
            raise BadInputError(f"platform {platform!r} is unknown, allowed are {allowed}", "queries")
    with transaction.atomic():
        Label.objects.select_for_update().get(pk=label.pk)
        known = {(query.platform, query.sql): query for query in label.queries.all()}
        for query in (known[one] for one in known.keys() - new_queries.items()):
            _drop(query, by)
        if new_queries:
            LabelMembership.objects.filter(label=label).exclude(host__platform__in=new_queries).delete()
        for platform, sql in sorted(new_queries.items() - known.keys()):
            query = label.queries.create(platform=platform, kind=HousekeepingQuery.Kind.LABEL, sql=sql, written_by=by)
            label_sql.record(query, LabelSqlRecord.Action.WRITTEN, by)
            enqueue("agents.ask_everybody", query.pk)


def forget(label: Label, by: str = "") -> None:
    """Delete a label, its SQL first. Raise ConflictError for a built-in one."""
    if label.built_in:
        raise ConflictError(f"label {label.name!r} is built in and stays")
    with transaction.atomic():
        for query in label.queries.all():
            _drop(query, by)
        label.delete()


def _drop(query: HousekeepingQuery, by: str) -> None:
    board_id = query.board_id
    label_sql.record(query, LabelSqlRecord.Action.REMOVED, by)
    query.delete()
    transaction.on_commit(lambda: operator_verbs.withdraw(board_id))
