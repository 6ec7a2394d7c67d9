"""The web pages as people see them: a real browser, a user that `user add` made, a job that writes while it is watched.

Screenshots of every page, light and dark, wide and narrow, are left in build/e2e/dashboard to be looked at.
"""

from __future__ import annotations

import re
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import arena_user
import pytest
from arena_user import BUSYBOX, Site, User, eventually
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.e2e, pytest.mark.lab]

SHOTS = Path(__file__).resolve().parents[2] / "build/e2e/dashboard"
SIZES = {"wide": 1280, "narrow": 390}


@pytest.fixture(scope="module")
def alice(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """With a job that writes a line every second, and one that waits for more GPUs than there are."""
    with arena_user.user(site, tmp_path_factory.mktemp("alice")) as one:
        common = ("submit", "pytorchjob", f"--image={BUSYBOX}", "--image-pull-policy=IfNotPresent")
        counting = "n=0; while true; do echo line $n '<b>'; n=$((n+1)); sleep 1; done"
        one.arena(*common, "--name=counts", counting)
        one.arena(*common, "--name=waits", "--gpus=900", "true")
        eventually(lambda: "line 3" in one.shell("arena logs counts").stdout, "the job to write", 120)
        yield one


def address(user: User) -> tuple[str, str]:
    """(where the pages are, a token)"""
    done = user.shell("arena dashboard --duration 30m")
    assert done.returncode == 0, done.stderr
    found = re.search(r"https://\S+", done.stderr)
    assert found is not None
    return found[0], done.stdout.strip()


def page(browser: Browser, *, width: int = 1280, scheme: str = "light") -> Page:
    # Its certificate is looked at by a test of its own.
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, ignore_https_errors=True
    )
    return context.new_page()


def enter(one: Page, base: str, token: str) -> None:
    one.goto(base)
    one.fill("#token", token)
    one.click("main button")
    expect(one.locator("#jobs")).to_be_visible()


def test_the_certificate_is_for_the_address_that_arena_prints(site: Site, alice: User) -> None:
    base, _ = address(alice)
    ca = site.kubectl("-n", "dashboard", "get", "configmap", "dashboard-ca", "-o", r"jsonpath={.data.ca\.crt}")
    context = ssl.create_default_context(cadata=ca)
    with urllib.request.urlopen(f"{base}healthz", context=context, timeout=20) as answer:
        assert answer.status == 200


def test_without_a_login_nothing_is_shown(browser: Browser, alice: User) -> None:
    base, _ = address(alice)
    one = page(browser)
    for path in ("", f"jobs/{alice.namespace}/counts", f"logs/{alice.namespace}/counts-master-0"):
        answer = one.goto(base + path)
        assert answer is not None and answer.status == 401
        assert "counts-master" not in one.inner_text("body") and one.locator("#token").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_all_pages_can_be_read(browser: Browser, alice: User, size: str, scheme: str) -> None:
    base, token = address(alice)
    one = page(browser, width=SIZES[size], scheme=scheme)
    said: list[str] = []
    SHOTS.mkdir(parents=True, exist_ok=True)

    def shot(name: str) -> None:
        one.screenshot(path=str(SHOTS / f"{name}-{size}-{scheme}.png"), full_page=True)
        assert one.evaluate("document.documentElement.scrollWidth") <= SIZES[size], f"{name} is too wide"

    one.goto(base)
    shot("login")
    enter(one, base, token)
    one.on("console", lambda message: said.append(message.text))
    text = one.inner_text("main")
    assert "counts" in text and "waits" in text
    assert "GPU: no node has 900 free" in text, text
    assert "dashboard" in text and "flannel" in text
    shot("overview")
    for job in ("counts", "waits"):
        # A page whose log is followed is never loaded to its end.
        one.goto(f"{base}jobs/{alice.namespace}/{job}", wait_until="domcontentloaded")
        one.wait_for_timeout(1500)
        shot(job)
    assert said == []  # nothing was refused by the pages' own policy


def test_a_log_grows_while_it_is_read(browser: Browser, alice: User) -> None:
    base, token = address(alice)
    one = page(browser)
    enter(one, base, token)
    one.get_by_role("link", name="counts", exact=True).click()
    log = one.frame_locator("iframe.log").locator("pre")
    expect(log).to_contain_text("line 3 <b>")
    seen = len(log.inner_text().splitlines())
    expect(log).to_contain_text(f"line {seen + 3} ", timeout=20_000)
    scroller = one.frame_locator("iframe.log").locator("div")
    assert scroller.evaluate("div => div.scrollTop") == 0  # at its end: the newest line is in sight


def test_others_are_closed_and_a_login_ends(browser: Browser, site: Site, alice: User) -> None:
    base, token = address(alice)
    one = page(browser)
    enter(one, base, token)
    for path in ("jobs/kube-system/x", "logs/kube-system/x"):
        answer = one.goto(base + path)
        assert answer is not None and answer.status == 403
    one.goto(base)
    one.click("text=Log out")
    answer = one.goto(base)
    assert answer is not None and answer.status == 401
    refused = page(browser)
    refused.goto(base)
    refused.fill("#token", token[:-8] + "AAAAAAAA")
    refused.click("main button")
    expect(refused.get_by_role("alert")).to_contain_text("does not know this token")
