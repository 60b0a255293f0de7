"""What sessions were begun with, as lists name it."""

import pytest

from campaigns.console.browsers import in_words

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/126 Edg/125.0", "Edge 125 on Windows"),
        (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/126.0.0.0 Safari/537.36", "Chrome 126 on Linux"),
        (f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Chrome/126.0 Mobile", "Chrome 126 on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14.5; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox 128 on macOS"),
        (f"{IPHONE} Version/17.5 Mobile/15E148 Safari/604.1", "Safari 17 on iPhone"),
        ("Mozilla/5.0 Firefox/128.0", "Firefox 128"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("tool of mine, as Chrome/126 on Linux", "tool of mine, as Chrome/126 on Linux"),
        ("Mozilla/5.0 (Nothing)", "Mozilla/5.0 (Nothing)"),
        ("", "unknown"),
    ],
)  # fmt: skip
def test_a_browser_is_named_with_its_system_and_what_nobody_knows_as_it_calls_itself(agent: str, words: str) -> None:
    assert in_words(agent) == words
