"""Every page of the console, walked by its table of addresses: a new page is looked at by itself.

In both themes, on a desk and on a phone: nothing that axe finds, nothing wider than the window, no word in the
browser's console, and on a phone nothing too small for a finger.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.urls import URLPattern, reverse
from django.utils import timezone
from playwright.sync_api import Page

from agents.carving.models import Carve
from agents.models import EnrollSecret, Label, Presence
from campaigns.console import assets
from campaigns.console.campaign_pages import TABS
from campaigns.console.urls import urlpatterns
from campaigns.hooks.models import Hook
from campaigns.launching.models import Approval, ApprovalRule, Quota
from campaigns.models import Campaign, Query
from campaigns.recurring.models import Schedule
from campaigns.tokens import ApiToken
from tests.factories import answer, learn, make_campaign, make_host, make_hosts, make_label, make_person, make_user
from tests.pages import bare_moments

pytestmark = [pytest.mark.lengthy, pytest.mark.browser, pytest.mark.django_db(transaction=True)]

DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
AXE = Path(assets.FRONTEND) / "node_modules" / "axe-core" / "axe.min.js"
SMALLEST = 40  # px of what a finger is meant for
FEWEST_PAGES = 15
EMPTY_OR_WRONG = (
    "/",
    "/hosts/",
    "/labels/",
    "/queries/",
    "/nothing/",
    "/campaigns/9/",
    "/hosts/9/",
    "/settings/secrets/",
)

VIOLATIONS = """([rules, within]) =>
  axe.run(within ? document.querySelector(within) : document,
    {resultTypes: ["violations"], ...(rules && {runOnly: rules})})
  .then(({violations}) => violations.flatMap(({id, nodes}) => nodes.map(({target, failureSummary}) =>
    `${id}: ${target} ${failureSummary.split("\\n")[1]?.trim()}`)))"""

# Links inside a sentence are as small as its words (WCAG 2.5.8 excepts them); a tick is as large as its label.
TOO_SMALL = """(smallest) =>
  [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [role=tab]")]
  .concat(...document.querySelectorAll(".ag-header-cell"))
  .filter((part) => part.checkVisibility({visibilityProperty: true}) && !part.matches(".skip"))
  .filter((part) => !(part.matches("a") && getComputedStyle(part).display === "inline"))
  .map((part) => (part.matches("[type=checkbox], [type=radio]") ? part.closest("label") ?? part : part))
  .map((part) => [part, Math.round(part.getBoundingClientRect().height)])
  .filter(([, height]) => height < smallest)
  .map(([part, height]) => `${part.tagName} ${part.className} "${part.textContent.trim().slice(0, 30)}" ${height}px`)"""

# What is folded is part of the page; a menu lies over it. Those that fill themselves have done so with the next task.
UNFOLD = """(which) => {
  for (const part of document.querySelectorAll(which)) part.open = true;
  return new Promise((filled) => setTimeout(filled, 50));
}"""
DIALOGS = """() => [...document.querySelectorAll("dialog:not([open])")]
  .filter((dialog) => dialog.childElementCount && dialog.querySelector("h2")?.textContent !== "")
  .map((dialog) => `#${dialog.id || (dialog.id = "nameless")}`)"""
# What Tab stops at shows that it has the focus, and nothing lies over it. A key was pressed: the keyboard is in use.
UNSEEN = """() => {
  const outlined = (part) => {
    const {outlineStyle, outlineWidth} = getComputedStyle(part);
    return outlineStyle !== "none" && parseFloat(outlineWidth) > 0;
  };
  return [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
    .filter((part) => part.tabIndex >= 0 && !part.matches(".ag-tab-guard"))
    .filter((part) => part.checkVisibility({visibilityProperty: true}))
    .flatMap((part) => {
      part.focus();
      if (document.activeElement !== part) return [];
      const name = `${part.tagName} ${part.id || part.className} "${part.textContent.trim().slice(0, 30)}"`;
      const around = [part, part.closest(".cm-editor"), part.closest("label"), part.nextElementSibling].filter(Boolean);
      const shown = part.matches(".unseen, [type=checkbox], [type=radio]") ? part.closest("label") ?? part : part;
      const {left, top, width, height} = shown.getBoundingClientRect(); // of a name that is cut its beginning is seen
      const at = document.elementFromPoint(left + Math.min(width / 2, 12), top + Math.min(height / 2, 12));
      return [
        ...(around.some(outlined) ? [] : [`nobody sees that ${name} has the focus`]),
        ...(at && (shown.contains(at) || at.contains(shown)) ? [] : [`${name} has the focus below "${at?.className}"`]),
        ...(part.tabIndex > 0 ? [`${name} is not where it stands`] : []),
      ];
    });
}"""
DRAWN = "() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))"
# What it is made of, but for what is new each time: a dialog of every page is looked at by axe once.
MADE_OF = """(name) => document.querySelector(name).outerHTML.replace(/csrfmiddlewaretoken" value="\\w+"/g, "")
  + [...document.styleSheets].map((sheet) => sheet.href)"""
SHOWN, HIDDEN = "(name) => document.querySelector(name).showModal()", "(name) => document.querySelector(name).close()"

# Size and structure do not depend on the theme, contrast does; what can be seen and scrolled depends on the width.
OF_A_WIDTH = ["color-contrast", "scrollable-region-focusable", "aria-hidden-focus", "label", "link-name"]
BETWEEN = (1200, 1024, 700, 320)  # px: of tablets and half windows, and of one that is enlarged four times
LOOKS = ((DESK, "light", None), (PHONE, "dark", OF_A_WIDTH))
WIDER = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"

ADDRESS = "https://192.0.2.1/"
HOURS = [{"days": ["fri"], "from": "20:00", "to": "06:00", "zone": "Europe/Berlin"}]


def wish_of(user: User) -> dict[str, Any]:
    """Give what somebody wants of a rule."""
    return {"by": user.pk, "name": "root <b>", "at": timezone.now().isoformat(), "to": None}


def things() -> dict[str, Any]:
    """Make one of everything an address may name, with something odd in its texts."""
    user = make_user("boss", admin=True)
    named = f"db-01 <b>\u202egnp{'h' * 237}"  # texts are as long as they may be
    host, *others = [make_host(hostname=named, os_version="v" * 200, physical_memory=2**36), *make_hosts(12)]
    for each in (host, *others[:4]):
        Presence.objects.create(host=each, last_seen=timezone.now())
    learn("linux", "processes", "users")
    label = make_label("l" * 100, host, *others)
    query = Query.objects.create(name="q" * 200, sql="SELECT name FROM users", created_by=user, description="d" * 5_000)
    campaign = make_campaign(host, *others, by=user, name="c" * 200, sql="SELECT pid, name FROM processes")
    Campaign.objects.filter(pk=campaign.pk).update(query=query, reason="r" * 2_000)
    answer(campaign, host, {"pid": "1", "name": "init"}, {"pid": "2", "name": "x" * 300})
    Approval.objects.create(campaign=campaign, why=["any host at all"], digest="d", expires_at=timezone.now())
    secret = EnrollSecret.objects.offer("s" * 100, "a secret for this test")
    token, _ = ApiToken.objects.create(user=user, name="t" * 100)
    Carve.objects.create(host=host, campaign_id=campaign.pk, carve_id="guid", announced_at=timezone.now())
    ids = {"host_id": host, "label_id": label, "query_id": query, "campaign_id": campaign, "secret_id": secret}
    ids |= {"user_id": user, "person_id": user, "team_id": Group.objects.create(name="g" * 150)}
    ids["schedule_id"] = Schedule.objects.create(query=query, owner=user, every=60, target={"all": True}, sql=query.sql)
    ids["hook_id"] = Hook.objects.create(owner=user, name=f"<b>{'n' * 97}", address=ADDRESS, secret="whsec_MDAw")
    ids["rule_id"] = ApprovalRule.objects.create(hosts_above=50, tables=["shadow"], hours=HOURS, wish=wish_of(user))
    ids["quota_id"] = Quota.objects.create(person=user, open_campaigns=5)
    nothing = {"session_id": 0, "pk": 0, "number": 0, "view_id": 0, "delivery_id": 0}
    return {**{name: row.pk for name, row in ids.items()}, **nothing, "token_id": token.pk, "key": "0" * 32}


def addresses(ids: dict[str, Any]) -> Iterator[str]:
    """Give the addresses that answer a GET with a whole page."""
    browser = Client()
    browser.force_login(User.objects.get(username="boss"))
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        named = {name: ids[name] for name in pattern.pattern.converters}
        address = reverse(pattern.name, kwargs=named)
        found = browser.get(address)
        if found.status_code == 200 and b"<!DOCTYPE html>" in found.content:
            assert bare_moments(found) == [], address
            yield address


def faults_of(page: Page, known: set[str] | None = None) -> list[str]:
    """Look at the page that is shown: on a desk in one theme, on a phone in the other.

    What is folded is unfolded, and on the phone every menu and dialog is opened as well. `known` is what dialogs are
    made of that were looked at on a page before: it grows.
    """
    known = set() if known is None else known
    page.evaluate(AXE.read_text())
    page.evaluate(UNFOLD, "details:not(.menu)")
    faults = []
    for size, theme, rules in LOOKS:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.evaluate(DRAWN)
        found = page.evaluate(VIOLATIONS, [rules, None])
        if size is DESK:
            page.keyboard.press("Tab")
            found += page.evaluate(UNSEEN)
        if page.evaluate(WIDER):
            found.append("wider than the window")
        if size is PHONE:
            found += faults_of_what_opens(page, known)
        faults += [f"{urlsplit(page.url).path} {size['width']} {theme} {fault}" for fault in found]
    for width in BETWEEN:
        page.set_viewport_size({"width": width, "height": 900})
        if page.evaluate(WIDER):
            faults.append(f"{urlsplit(page.url).path} {width} wider than the window")
    return faults


def faults_of_what_opens(page: Page, known: set[str]) -> list[str]:
    """Look for what is too small for a finger or leaves the window, menus and dialogs too; menus stay open."""
    page.evaluate(UNFOLD, "details")
    found: list[str] = page.evaluate(TOO_SMALL, SMALLEST)
    if page.evaluate(WIDER):
        found.append("wider than the window with its menus open")
    for name in page.evaluate(DIALOGS):
        made_of = page.evaluate(MADE_OF, name)
        page.evaluate(SHOWN, name)
        faults = page.evaluate(TOO_SMALL, SMALLEST)
        if made_of not in known:
            faults += page.evaluate(VIOLATIONS, [None, name])
        found += [f"{fault} in {name}" for fault in faults if fault not in found]
        page.evaluate(HIDDEN, name)
        known.add(made_of)
    return found


def test_every_page_is_for_everybody(page_of: Callable[..., Page], elsewhere: Callable[..., Any]) -> None:
    ids = elsewhere(things)
    pages = elsewhere(lambda: list(addresses(ids)))
    page = page_of(elsewhere(User.objects.get, username="boss"), at="/")
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{page.url} {message.text}") if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(f"{page.url} {error}"))

    faults: list[str] = []
    known: set[str] = set()
    tabs = [f"/campaigns/{ids['campaign_id']}/?tab={name}" for name, _ in TABS[1:]]
    for address in (*pages, *tabs, "/api/docs/"):
        page.goto(address)
        if address == "/api/docs/":
            page.locator(".opblock-summary-control").first.click()
            page.locator(".code-samples").wait_for()
            page.emulate_media(color_scheme="dark")
            page.evaluate(DRAWN)
            page.keyboard.press("Tab")
            faults += [f"{address} dark {fault}" for fault in page.evaluate(UNSEEN)]
        faults += faults_of(page, known)
    page.goto("/settings/")
    with page.expect_navigation():  # as without scripts, which ask in a dialog
        page.eval_on_selector('form:has(input[name="asks"])', "(form) => form.submit()")
    assert page.title().startswith("Revoke the enroll secret")
    faults += faults_of(page, known)

    assert [*said, *faults] == [], "\n".join([*said, *faults])
    assert len(pages) >= FEWEST_PAGES


@contextmanager
def broken_labels(elsewhere: Callable[..., Any]) -> Iterator[None]:
    """Let the page of labels fail, as it does when a migration is missing."""

    def rename(table: str, to: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table} RENAME TO {to}")

    elsewhere(rename, Label._meta.db_table, "elsewhere")
    try:
        yield
    finally:
        elsewhere(rename, "elsewhere", Label._meta.db_table)


def test_pages_without_a_session_or_rights_and_of_errors_are_for_everybody(
    page_of: Callable[..., Page], elsewhere: Callable[..., Any]
) -> None:
    page = page_of(elsewhere(make_user, "boss", admin=True), at="/")

    faults: list[str] = []
    known: set[str] = set()
    for address in EMPTY_OR_WRONG:
        page.goto(address)
        faults += faults_of(page, known)
    with broken_labels(elsewhere):
        answer = page.goto("/labels/")
        faults += faults_of(page, known)
    page.context.clear_cookies()
    for address in ("/login/", f"/nothing/{'x' * 300}/"):
        page.goto(address)
        faults += faults_of(page, known)
    nobody = page_of(elsewhere(make_person), at="/")
    for address in ("/", "/people/"):
        nobody.goto(address)
        faults += faults_of(nobody, known)

    assert faults == [], "\n".join(faults)
    assert answer is not None
    assert answer.status == 500


def test_the_colours_that_are_chosen_are_those_of_every_page(
    page_of: Callable[..., Page], elsewhere: Callable[..., Any]
) -> None:
    page = page_of(elsewhere(make_user, "boss", admin=True), at="/", color_scheme="dark")
    scheme = "() => getComputedStyle(document.documentElement).colorScheme"
    pages = ["/", "/nothing/", "/campaigns/9/", "/api/docs/", "/admin/", "/admin/nothing/"]

    def choose(words: str) -> None:
        page.goto("/hosts/?search=a%26b")
        page.locator(".who summary").press("Enter")
        with page.expect_navigation():
            page.get_by_role("button", name=words, exact=True).press("Enter")
        assert page.url.endswith("/hosts/?search=a%26b")

    choose("as the system")
    assert page.evaluate(scheme) == "light dark"
    choose("light")
    shown = {address: (page.goto(address), page.evaluate(scheme))[1] for address in pages}
    with broken_labels(elsewhere):
        page.goto("/labels/")
        shown["a failure"] = page.evaluate(scheme)
    page.goto("/")
    page.locator(".who summary").press("Enter")
    page.get_by_role("button", name="Log out").press("Enter")
    page.wait_for_url("**/login/**")
    shown["/login/"] = page.evaluate(scheme)

    assert shown == dict.fromkeys(shown, "light")
