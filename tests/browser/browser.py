#!/usr/bin/env python3
"""Headless Chromium tries the page of a running ringsock as a person would.

    tests/browser/browser.py 127.0.0.1:9000 [directory for screenshots]
"""

import base64
import contextlib
import os
import re
import sys
from pathlib import Path

# Debian's driver is used as it is: nothing is looked up or downloaded.
os.environ |= {"SE_OFFLINE": "true", "SE_AVOID_STATS": "true", "NO_PROXY": "127.0.0.1,localhost"}

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9000"
SCREENSHOTS = Path(sys.argv[2] if len(sys.argv) > 2 else "target/browser")
WAIT_SECONDS_MAX = 20
WIDTHS = (1280, 700, 360)  # a desktop, a tablet or half a screen, a phone
MILLISECONDS = re.compile(r"(< )?[\d,.]+ ms")


def chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (
        "--headless",
        "--no-sandbox",  # the tests may run as root
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--no-proxy-server",
        # Without these the browser looks for its maker's hosts.
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",  # or a screenshot is cut on the right by as much as one is wide
        "--window-size=1280,900",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))


class Page:
    """The page by what a person sees and does."""

    def __init__(self, driver):
        self.driver = driver

    def element(self, name):
        return self.driver.find_element(By.ID, name)

    def text(self, name):
        return self.element(name).text

    def click(self, name):
        self.element(name).click()

    def write(self, name, text):
        field = self.element(name)
        field.clear()
        field.send_keys(text)

    def log(self, kind):
        """The log's entries of one kind, as text."""
        return [entry.text for entry in self.driver.find_elements(By.CSS_SELECTOR, f"#log li.{kind}")]

    def wait(self, what, condition):
        def holds(_driver):
            return condition()

        WebDriverWait(self.driver, WAIT_SECONDS_MAX, 0.05).until(holds, f"waited for: {what}; log: {self.text('log')}")

    def wait_for_state(self, state):
        self.wait(f"state {state}", lambda: self.text("state") == state)

    def take_screenshot(self, name):
        """The whole page, what has to be scrolled to included."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    @contextlib.contextmanager
    def seen(self, scheme, width):
        """The page in a colour scheme and a width, in pixels."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def connects(page):
    page.driver.get(f"http://{ADDRESS}/")
    assert page.driver.title == "ringsock"
    assert page.element("url").get_attribute("value") == f"ws://{ADDRESS}/echo"
    assert page.text("state") == "Not connected"
    page.click("connect")
    page.wait_for_state("Connected")


def sends_text(page):
    page.write("message", "Grüße from the browser")
    page.click("send")
    page.wait("the echo of a text", lambda: len(page.log("received")) == 1)
    (sent,), (received,) = page.log("sent"), page.log("received")
    assert "Grüße from the browser" in sent and "24 B" in sent, sent
    assert "Grüße from the browser" in received and MILLISECONDS.search(received), received
    page.wait("a round-trip time", lambda: MILLISECONDS.fullmatch(page.text("rtt")))


def sends_binary(page):
    page.write("message", "bytes")
    page.click("binary")
    page.click("send")
    page.wait("the echo of a binary message", lambda: len(page.log("received")) == 2)
    received = page.log("received")[1]
    assert "62 79 74 65 73" in received and MILLISECONDS.search(received), received
    page.click("binary")


def runs_a_burst(page):
    page.write("burst-count", "100")
    page.click("burst")
    page.wait("100 round trips", lambda: page.text("burst-result").startswith("100 round trips, median"))
    assert "99 % within" in page.text("burst-result")
    assert (page.text("sent-count"), page.text("received-count")) == ("102", "102")


def fits_light_dark_and_narrow_screens(page):
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            with page.seen(scheme, width):
                page.take_screenshot(f"{scheme}-{width}")
                root = page.driver.find_element(By.TAG_NAME, "html")
                assert root.get_property("scrollWidth") <= width, f"{width} px wide, it has to be scrolled sideways"


def disconnects(page):
    page.click("disconnect")
    page.wait_for_state("Not connected")
    assert page.text("closed") == "Closed with 1000 (normal closure)", page.text("closed")


def shows_the_code_of_a_message_above_the_limit(page):
    page.click("connect")
    page.wait_for_state("Connected")
    page.driver.execute_script("document.getElementById('message').value = 'x'.repeat(65537)")
    page.click("send")
    page.wait_for_state("Not connected")
    assert page.text("closed").startswith("Closed with 1009 (message too big)"), page.text("closed")
    page.take_screenshot("message-too-big")


def closes_with_a_code_and_a_reason(page):
    page.click("connect")
    page.wait_for_state("Connected")
    page.driver.find_element(By.CSS_SELECTOR, "details summary").click()
    page.write("close-code", "4001")
    page.write("close-reason", "tried out")
    page.click("disconnect")
    page.wait_for_state("Not connected")
    assert page.text("closed") == "Closed with 4001 (application code) “tried out”", page.text("closed")


def has_a_clean_console(page):
    entries = page.driver.get_log("browser")
    assert entries == [], entries


def main():
    driver = chromium()
    try:
        page = Page(driver)
        for test in (
            connects,
            sends_text,
            sends_binary,
            runs_a_burst,
            fits_light_dark_and_narrow_screens,
            disconnects,
            has_a_clean_console,
            shows_the_code_of_a_message_above_the_limit,
            closes_with_a_code_and_a_reason,
            has_a_clean_console,
        ):
            try:
                test(page)
            except BaseException:
                print(f"FAILED {test.__name__}", flush=True)
                page.take_screenshot("failed")
                raise
            print(f"ok {test.__name__}", flush=True)
    finally:
        driver.quit()
    print(f"screenshots: {SCREENSHOTS}")


if __name__ == "__main__":
    main()
