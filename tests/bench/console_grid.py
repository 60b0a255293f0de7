"""The grid over all rows of a campaign, in the browser of `tests.bench.console`: first rows, jumps, heap, sort."""

import statistics
import time

from playwright.sync_api import CDPSession, Page

from campaigns.models import Campaign

ROUNDS, JUMPS = 3, 20
ROW = ".rows-grid .ag-row [col-id^='column:'] .ag-cell-value:not(:empty)"
HEADING = ".rows-grid .ag-header-cell[col-id^='column:'] .ag-header-cell-label"
JUMP = """(part) => {
  const body = document.querySelector(".rows-grid .ag-grid-viewport");
  body.scrollTop = (body.scrollHeight - body.clientHeight) * part;
}"""
# Until what stands in the window is there: no row still waits to be fetched.
SETTLED = """() => new Promise((done) => {
  const look = () => {
    const body = document.querySelector(".rows-grid .ag-grid-viewport").getBoundingClientRect();
    const rows = [...document.querySelectorAll(".rows-grid .ag-row[row-index]")].filter((row) => {
      const {top, bottom} = row.getBoundingClientRect();
      return top >= body.top && bottom <= body.bottom;
    });
    if (rows.length > 3 && rows.every((row) => row.textContent.trim())) done();
    else requestAnimationFrame(look);
  };
  look();
})"""
# Until two frames are drawn, so that the grid has seen where it was scrolled to.
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))"


def report(page: Page, campaigns: dict[str, Campaign]) -> None:
    """Print what the grid takes over each of the campaigns."""
    print("\n| grid over | first rows | a jump, median / slowest | sorted | elements | heap at first / after jumps |")
    print("|---|---|---|---|---|---|")
    for name, campaign in campaigns.items():
        print(f"| {name} | {' | '.join(_measure(page, campaign))} |", flush=True)


def _measure(page: Page, campaign: Campaign) -> tuple[str, ...]:
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    first = statistics.median(_first_rows(page, campaign) for _ in range(ROUNDS))
    elements = page.evaluate("document.querySelectorAll('*').length")
    at_first = _heap(session)
    jumps = [_jump(page, (number * 7 % JUMPS) / JUMPS) for number in range(1, JUMPS)]
    after = _heap(session)
    return (
        f"{first:.0f} ms",
        f"{statistics.median(jumps):.0f} / {max(jumps):.0f} ms",
        f"{_sort(page):.0f} ms",
        f"{elements:,}",
        f"{at_first:.1f} / {after:.1f} MiB",
    )


def _first_rows(page: Page, campaign: Campaign) -> float:
    begun = time.perf_counter()
    page.goto(f"/campaigns/{campaign.pk}/", wait_until="commit")
    page.wait_for_selector(ROW, timeout=120_000)
    return (time.perf_counter() - begun) * 1000


def _jump(page: Page, part: float) -> float:
    begun = time.perf_counter()
    page.evaluate(JUMP, part)
    page.evaluate(FRAMES)
    page.evaluate(SETTLED)
    return (time.perf_counter() - begun) * 1000


def _sort(page: Page) -> float:
    """Turn the order round by the first column of the SQL."""
    page.evaluate(JUMP, 0)
    page.evaluate(SETTLED)
    begun = time.perf_counter()
    with page.expect_response(lambda answer: "/rows/?" in answer.url and "order=" in answer.url, timeout=120_000):
        page.locator(HEADING).first.click()
    page.evaluate(SETTLED)
    return (time.perf_counter() - begun) * 1000


def _heap(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    metrics = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["JSHeapUsedSize"]) / 2**20
