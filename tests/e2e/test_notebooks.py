"""A user's way to a notebook, in a browser: turned away, logged in, a GPU asked for, a cell run, stopped, come back to.

Needs Chromium (`apt-get install chromium`); pictures of each page are in the test's folder (`--basetemp`).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import arena_user
import pytest
from arena_user import PROGRAMS, Site, User, eventually, install
from playwright.sync_api import Browser, Page, expect

pytestmark = [pytest.mark.e2e, pytest.mark.lab]

LAB = 180_000  # ms until a notebook's page is there
GPUS = "import pynvml as nv; nv.nvmlInit(); print(nv.nvmlDeviceGetCount())"
UUID = "print(nv.nvmlDeviceGetUUID(nv.nvmlDeviceGetHandleByIndex(0)))"
ARENA = "!arena whoami && arena list"


@pytest.fixture(scope="module")
def user(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    with arena_user.user(site, tmp_path_factory.mktemp("home")) as made:
        yield made


@contextmanager
def door(user: User) -> Iterator[str]:
    """The hub's address, by what the user was told to type."""
    words = ["-n", "jupyterhub", "port-forward", "pod/jupyterhub-0", ":8000"]
    command = [str(PROGRAMS / "kubectl"), *words]
    forward = subprocess.Popen(command, env=user.environment, stdout=subprocess.PIPE, text=True)
    try:
        assert forward.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
        assert found, "kubectl port-forward says no port"
        yield f"http://localhost:{found[1]}"
    finally:
        forward.terminate()
        forward.wait()


def password(user: User) -> str:
    found = user.shell("kubectl get secret notebook-login -o go-template='{{.data.password | base64decode}}'")
    assert found.returncode == 0, found.stderr
    return found.stdout


def log_in(page: Page, address: str, name: str, word: str) -> None:
    page.goto(f"{address}/hub/login")
    page.fill("#username_input", name)
    page.fill("#password_input", word)
    page.click("#login_submit")
    page.wait_for_load_state()


def start(page: Page, address: str, profile: str, picture: Path) -> None:
    page.goto(f"{address}/hub/spawn")
    page.locator(f"#profile-item-{profile}").check()
    page.screenshot(path=picture)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(r"/user/.*/lab"), timeout=LAB)
    expect(page.locator(".jp-DirListing-content")).to_be_visible(timeout=LAB)


def stop(page: Page, address: str) -> None:
    page.goto(f"{address}/hub/home")
    page.click("#stop")
    expect(page.locator("#stop")).to_be_hidden(timeout=60_000)


def run(page: Page, code: str) -> str:
    """What a further cell of the open notebook prints."""
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    number = cells.count()
    editor = cells.nth(number - 1).locator(".cm-content")
    editor.click()
    page.keyboard.insert_text(code)
    expect(editor).to_contain_text(code)
    page.keyboard.press("Shift+Enter")
    expect(cells).to_have_count(number + 1)
    output = cells.nth(number - 1).locator(".jp-OutputArea-output").first
    expect(output).to_be_visible(timeout=60_000)
    return output.inner_text()


def save(page: Page, name: str) -> None:
    page.keyboard.press("Control+s")
    page.locator(".jp-Dialog input[type=text]").fill(name)
    page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(page.locator(f".jp-DirListing-item[title*='{name}']")).to_be_visible()
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)


def notebooks(site: Site, user: User) -> str:
    words = ("-l", "component=singleuser-server", "-o", "jsonpath={.items[*].spec.containers[0].resources.limits}")
    return site.kubectl("-n", user.namespace, "get", "pods", *words)


def test_a_day_with_a_notebook(site: Site, user: User, browser: Browser, tmp_path: Path) -> None:
    with door(user) as address:
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.goto(f"{address}/hub/spawn")
        assert "/hub/login" in page.url, "without a login there is no form for notebooks"
        page.screenshot(path=tmp_path / "1-login.png")
        log_in(page, address, user.namespace, "x" * 24)
        expect(page.locator(".login_error")).to_be_visible()
        page.screenshot(path=tmp_path / "2-refused.png")
        log_in(page, address, user.namespace, password(user))
        start(page, address, "gpu", tmp_path / "3-profiles.png")
        page.screenshot(path=tmp_path / "4-lab.png")
        lab = page.url
        assert '"nvidia.com/gpu":"1"' in notebooks(site, user)

        page.locator(".jp-LauncherCard[data-category=Notebook]").first.click(timeout=LAB)
        expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=LAB)
        assert run(page, GPUS).strip() == "1"
        assert re.fullmatch(r"GPU-[-0-9a-f]+", run(page, UUID).strip())
        said = run(page, ARENA)
        page.screenshot(path=tmp_path / "5-cell.png")
        assert "notebook" in said and user.namespace in said, said
        save(page, "day.ipynb")

        stranger = browser.new_context().new_page()
        stranger.goto(lab)
        assert "/hub/login" in stranger.url, "a running notebook is not shown without a login"
        stranger.context.close()

        stop(page, address)
        page.screenshot(path=tmp_path / "6-stopped.png")
        eventually(lambda: notebooks(site, user) == "", "the notebook's pod to go", 60)
        page.context.close()

        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        log_in(page, address, user.namespace, password(user))
        start(page, address, "cpu", tmp_path / "7-again.png")
        # A notebook that was open is open again, and asks for a kernel.
        dialog = page.locator(".jp-Dialog")
        page.add_locator_handler(dialog, lambda: dialog.locator(".jp-mod-accept").click())
        page.locator(".jp-DirListing-item[title*='day.ipynb']").dblclick(timeout=LAB)
        expect(page.locator(".jp-Notebook .jp-OutputArea-output").nth(1)).to_contain_text("GPU-", timeout=LAB)
        page.screenshot(path=tmp_path / "8-kept.png")
        assert "nvidia.com/gpu" not in notebooks(site, user)
        stop(page, address)
        page.context.close()


def test_who_is_revoked_is_out(site: Site, user: User, browser: Browser, tmp_path: Path) -> None:
    """Within a minute, with the pages that are open."""
    old = password(user)
    with door(user) as address:
        page = browser.new_context().new_page()
        log_in(page, address, user.namespace, old)
        assert "/hub/spawn" in page.url
        kubeconfig = str(user.home / ".kube/config")
        install("user", "add", user.namespace, "--name", site.name, "--revoke", "-o", kubeconfig)
        assert password(user) != old
        def out() -> bool:
            page.goto(f"{address}/hub/home")
            return "/hub/login" in page.url

        eventually(out, "the old page to lead to the login", 90)
        page.screenshot(path=tmp_path / "revoked.png")
        log_in(page, address, user.namespace, old)
        expect(page.locator(".login_error")).to_be_visible()
