"""The picture of the cores: what it makes of figures that are known, and of this server's own."""

import contextlib
import json
import re
import time
import urllib.error
import urllib.request

from selenium.common.exceptions import WebDriverException

from page import ADDRESS

PATH = "/api/cores"
SOCKETS = 20  # opened by the test
RETRY_SECONDS = 10  # the page's
# From here on the page notes when it asks, by its own clock.
NOTE_POLLS = """if (!window.polls) {
  const ask = window.fetch;
  window.polls = [];
  window.fetch = (...given) => { polls.push(performance.now()); return ask(...given); };
}"""
LINE = "return document.querySelector('#cores-list path.in')?.getAttribute('d') ?? ''"


def server_has_figures():
    try:
        with urllib.request.urlopen(f"http://{ADDRESS}{PATH}", timeout=5) as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        return False


class Stub:
    """Answers in place of the server while `answer` is not None: called, it gives a status and a body."""

    def __init__(self, driver):
        # A server without the route would fill the console.
        self.usual = None if server_has_figures() else flowing()
        self.answer = self.usual
        self.requests = 0
        pattern = {"type": "pattern", "pathname": PATH}
        driver.network.add_request_handler("before_request", self._handle, url_patterns=[pattern])

    def _handle(self, request):
        # The driver tells of every request, and holds those of the pattern.
        if not request.url.endswith(PATH):
            return
        self.requests += 1
        # A window that is closed takes its request with it.
        with contextlib.suppress(WebDriverException):
            if self.answer is None:
                request.continue_request()
            else:
                status, body = self.answer()
                request.provide_response(status=status, headers={"Content-Type": "application/json"}, body=body)


def figures(cores=2, received=0, sent=0):
    """An answer of the route."""
    names = ("connections", "messages_published", "messages_dropped", "topics", "subscriptions")
    totals = {"messages_received": received, "messages_sent": sent}
    answer = [{"core": core, **{name: 3 + core for name in names}, **totals} for core in range(cores)]
    return 200, json.dumps({"cores": answer})


def flowing(cores=2):
    """Answers of cores that each receive 50 messages and send 200 in a second."""
    start = time.monotonic()

    def answer():
        seconds = time.monotonic() - start
        return figures(cores, round(50 * seconds), round(200 * seconds))

    return answer


def shown(page, figure):
    """A figure of every core."""
    return page.texts(f"#cores-list [data-figure={figure}]")


def total(page, figure):
    return sum(float(text.replace(",", "")) for text in shown(page, figure) if text != "–")


def shows_what_it_is_told(page):
    page.stub.answer = flowing()
    page.open()
    page.wait("two cores", lambda: page.texts("#cores-list h3") == ["Core 0", "Core 1"])
    assert page.text("cores-total") == "2 cores · 7 connections · 7 messages dropped"
    for figure in ("connections", "topics", "subscriptions"):
        assert shown(page, figure) == ["3", "4"], figure
    # Differences by the second, whatever the browser and this process take to answer.
    page.wait("rates", lambda: 80 < total(page, "received") < 120 and 320 < total(page, "sent") < 480)
    page.wait("a line of three points", lambda: re.fullmatch(r"M[\d. ]+L[\d. ]+L[\d. L]+", page.run(LINE)))


def begins_anew_when_totals_shrink(page):
    page.stub.answer = lambda: figures(cores=3)
    page.wait("three cores", lambda: len(page.texts("#cores-list h3")) == 3)
    page.wait("rates of nothing", lambda: shown(page, "sent") == ["0", "0", "0"])


def many_cores_leave_room_for_the_rest(page):
    page.stub.answer = flowing(64)
    page.wait("64 cores", lambda: len(page.texts("#cores-list h3")) == 64)
    assert page.element("cores-list").size["height"] < 500
    assert page.element("cores-list").get_attribute("tabindex") == "0"
    page.take_screenshot("cores-64")
    page.stub.answer = flowing()


def does_not_ask_while_nobody_looks(page):
    hide = """Object.defineProperty(document, 'hidden', { value: %s, configurable: true });
              document.dispatchEvent(new Event('visibilitychange'))"""
    page.run(NOTE_POLLS)
    # A poll that is due in this time is made in it, however busy the browser is.
    count = "const before = polls.length; return new Promise((done) => setTimeout(() => done(polls.length - before), 2500))"
    asked = page.run(f"{hide % 'true'}; {count}")
    assert asked == 0, f"{asked} requests while hidden"
    before = page.stub.requests
    page.run(hide % "false")
    page.wait("a poll", lambda: page.stub.requests > before)


def says_that_nothing_is_available_and_tries_again_later(page):
    page.run(NOTE_POLLS)
    page.stub.answer = lambda: (404, "")
    page.wait("a fault", lambda: page.text("cores-fault").startswith("The figures of the cores are not available"))
    assert not page.element("cores-list").is_displayed()
    page.take_screenshot("cores-not-available")
    page.stub.answer = flowing()
    page.wait("another try", lambda: page.element("cores-list").is_displayed())
    longest = page.run("return Math.max(...polls.slice(1).map((asked, before) => asked - polls[before]))")
    assert longest >= RETRY_SECONDS * 1000, f"the longest time without a request was {longest} ms"
    # The browser logs the 404, and nothing else is there.
    (entry,) = page.driver.get_log("browser")
    assert PATH in entry["message"] and "404" in entry["message"], entry


def shows_this_server(page):
    if not server_has_figures():
        print(f"NOT TESTED: the figures of this server, which does not answer {PATH}", flush=True)
        return
    page.stub.answer = page.stub.usual
    page.open()
    page.run(
        """window.extra = Array.from({ length: arguments[1] }, () => new WebSocket(arguments[0]));""",
        f"ws://{ADDRESS}/topics/cores",
        SOCKETS,
    )
    page.wait("the cores", lambda: len(page.texts("#cores-list h3")) == 2)
    page.wait("the sockets", lambda: total(page, "connections") >= SOCKETS)
    page.wait("the subscriptions", lambda: total(page, "subscriptions") >= SOCKETS and total(page, "topics") >= 1)
    page.wait("a quiet moment", lambda: total(page, "sent") == 0 and "–" not in shown(page, "sent"))
    page.run("setInterval(() => extra[0].send('tick'), 100)")
    # Each is heard by all.
    page.wait("rates", lambda: total(page, "received") > 0 and total(page, "sent") > total(page, "received"))
