"""Asks pages of the dashboard as a browser would, with a login and without. The standard library is all it needs.

    TOKEN=... CA=PEM web_pages.py --within SECONDS BASE PATH=WORD...

Reports of each path the status without a login and with one, and whether WORD is there; what is not there yet is asked
for again until SECONDS are over. Without CA the certificate is not checked: it is then one of the site's own.
"""

from __future__ import annotations

import argparse
import os
import ssl
import time
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from urllib.parse import urlencode

from gpu_view import report  # type: ignore[import-not-found]  # mounted beside this file

_TIMEOUT = 20  # seconds for one page


class Browser:
    def __init__(self, base: str, ca: str) -> None:
        context = ssl.create_default_context(cadata=ca or None)
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        if not ca:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._base, self.cookies = base, CookieJar()
        handlers = (urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(self.cookies))
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)

    def ask(self, path: str, **form: str) -> tuple[int, str]:
        """(HTTP status, text)"""
        data = urlencode(form).encode() if form else None
        request = urllib.request.Request(f"{self._base}{path}", data, {"Accept": "text/html"})
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                return answer.status, answer.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode("utf-8", "replace")


def look(browser: Browser, path: str, word: str, within: float) -> tuple[int, bool, float]:
    """(status, whether the word is there, seconds)"""
    began = time.monotonic()
    while True:
        status, text = browser.ask(path)
        seconds = time.monotonic() - began
        if word in text or status != 200 or seconds > within:
            return status, word in text, seconds
        time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--within", type=float, default=0.0)
    parser.add_argument("base")
    parser.add_argument("pages", nargs="+")
    given = parser.parse_args()
    ca = os.environ.get("CA", "")
    stranger, person = Browser(given.base, ca), Browser(given.base, ca)
    status, _ = person.ask("/login", token=os.environ["TOKEN"])
    kept = [cookie.secure and cookie.has_nonstandard_attr("HttpOnly") for cookie in person.cookies]
    report("login", status=status, cookie=kept == [True], checked=bool(ca))
    for page in given.pages:
        path, _, word = page.rpartition("=")
        refused, text = stranger.ask(path)
        status, there, seconds = look(person, path, word, given.within)
        report("page", path=path, stranger=refused, leaked=word in text, status=status, there=there, seconds=seconds)


if __name__ == "__main__":
    main()
