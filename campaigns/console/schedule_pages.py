"""The pages of recurring questions: when a saved query runs by itself, over whom, and what changed from run to run."""

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from campaigns.answers.audit import note_read
from campaigns.console.access import needs_one_of, needs_to_launch, number_of, user_of
from campaigns.console.lookups import page_of, question_of
from campaigns.console.schedule_form import ScheduleForm
from campaigns.models import Query
from campaigns.people.roles import LAUNCH, LAUNCH_FLAGGED, SEE_QUERIES, may_launch_something
from campaigns.recurring import keeping, running, showing
from campaigns.recurring.models import Schedule
from fleet.errors import FleetError

SEE_ALL = "campaigns.view_schedule"


# --- pages -----------------------------------------------------------------------------------------------------


@needs_one_of(SEE_ALL, LAUNCH, LAUNCH_FLAGGED)
@require_http_methods(["GET", "HEAD"])
def schedules(request: HttpRequest) -> HttpResponse:
    """List them, the next one to run before the others."""
    found = Schedule.objects.shown_to(user_of(request)).select_related("owner", "query")
    context = {"page": page_of(found.order_by("next_at", "pk"), request), "question": question_of(request)}
    return render(request, "campaigns/schedules.html", context)


@needs_to_launch()
@require_http_methods(["GET", "HEAD", "POST"])
def new_schedule(request: HttpRequest, query_id: int) -> HttpResponse:
    """Let a query run by itself."""
    user = user_of(request)
    if not user.has_perm(SEE_QUERIES):
        return render(request, "campaigns/denied.html", {"permission": SEE_QUERIES}, status=403)
    query = get_object_or_404(Query, pk=query_id)
    form = ScheduleForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            made = keeping.make(Schedule(query=query, **form.values()), user)
        except FleetError as error:
            _add_error(form, error)
        else:
            messages.success(request, f"The query {query.name} runs by itself now.")
            return redirect("schedule", made.pk)
    context = {"query": query, "form": form}
    return render(request, "campaigns/new_schedule.html", context, status=422 if form.is_bound else 200)


def _add_error(form: ScheduleForm, error: FleetError) -> None:
    places = {"every": "many", "target": "whom"}
    place = places.get(error.field, error.field)
    form.add_error(place if place in form.fields else None, error.sentence)


@needs_to_launch()
@require_POST
def times_of_schedule(request: HttpRequest) -> HttpResponse:
    """Say back, while it is filled in, when a schedule would run; `schedule` is the one that is being changed."""
    number = request.POST.get("schedule", "")
    shown = _found(request, number_of(number)) if number else None
    form = ScheduleForm(request.POST, shown=shown)
    return render(request, "campaigns/_schedule_times.html", {"form": form})


@needs_one_of(SEE_ALL, LAUNCH, LAUNCH_FLAGGED)
@require_http_methods(["GET", "HEAD", "POST"])
def schedule(request: HttpRequest, schedule_id: int) -> HttpResponse:
    """Show one with its runs; POST changes it."""
    shown, user = _found(request, schedule_id), user_of(request)
    if request.method != "POST":
        return _show(request, shown, ScheduleForm(shown=shown))
    if shown.owner_id != user.pk:
        said = f"schedule {shown.pk} runs with the rights of {shown.owner.get_username()}, who alone changes it"
        return render(request, "campaigns/denied.html", {"objection": said}, status=403)
    form = ScheduleForm(request.POST, shown=shown)
    if form.is_valid():
        try:
            keeping.change(shown, form.values(), user)
        except FleetError as error:
            _add_error(form, error)
        else:
            messages.success(request, "The schedule is kept.")
            return redirect("schedule", shown.pk)
    return _show(request, _found(request, schedule_id), form, status=422)


def _show(request: HttpRequest, shown: Schedule, form: ScheduleForm, status: int = 200) -> HttpResponse:
    user = user_of(request)
    note_read(f"schedule {shown.pk}", "page", request)  # what changed is told with values that hosts gave
    page = page_of(shown.runs.select_related("campaign"), request)
    page.object_list = showing.seen_by(page, user)
    context = {
        "schedule": shown,
        "form": form,
        "page": page,
        "question": question_of(request),
        "is_mine": shown.owner_id == user.pk and may_launch_something(user),
        "may_keep": _may_keep(user, shown),
    }
    return render(request, "campaigns/schedule.html", context, status=status)


def _may_keep(user: User, shown: Schedule) -> bool:
    return may_launch_something(user) and bool(Schedule.objects.kept_by(user).filter(pk=shown.pk).exists())


def _found(request: HttpRequest, schedule_id: int) -> Schedule:
    rows = Schedule.objects.shown_to(user_of(request)).select_related("owner", "query")
    found: Schedule | None = rows.filter(pk=schedule_id).first()
    if found is None:
        raise Http404(f"there is no schedule {schedule_id}, or none for you")
    return found


@needs_to_launch()
@require_POST
def control(request: HttpRequest, schedule_id: int) -> HttpResponse:
    """Enable, disable, run or delete one, as `to` says."""
    user, to = user_of(request), request.POST.get("to", "")
    found: Schedule | None = (
        Schedule.objects.kept_by(user).select_related("owner", "query").filter(pk=schedule_id).first()
    )
    if found is None:
        raise Http404(f"there is no schedule {schedule_id}, or none for you to change")
    try:
        if to == "run":
            return redirect("campaign", running.run_now(found, user).pk)
        if to == "delete":
            keeping.drop(found, user)
            messages.success(request, "The schedule is deleted. The campaigns that came of it stay.")
            return redirect("query", found.query_id)
        keeping.enable(found, user) if to == "enable" else keeping.disable(found, user)
        done = "It runs by itself again." if to == "enable" else "It is disabled: it runs when somebody enables it."
        messages.success(request, done)
    except FleetError as error:
        messages.error(request, error.sentence)
    return redirect("schedule", schedule_id)
