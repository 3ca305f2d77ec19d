"""Headless Chromium, and the page in a window of it by what a person sees and does."""

import base64
import contextlib
import os
import sys
import time
from pathlib import Path

# Debian's driver is used as it is: nothing is looked up or downloaded.
os.environ |= {"SE_OFFLINE": "true", "SE_AVOID_STATS": "true", "NO_PROXY": "127.0.0.1,localhost"}

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9000"
REACTOR = sys.argv[3] if len(sys.argv) > 3 else "auto"
SCREENSHOTS = Path(sys.argv[2] if len(sys.argv) > 2 else "target/browser")
WAIT_SECONDS_MAX = 60
WIDTHS = (1280, 700, 360)  # a desktop, a tablet or half a screen, a phone


def chromium(home, logs=("browser",)):
    """Headless Chromium with a directory of its own, whose `.pki/nssdb` names the authorities that it trusts."""
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
    options.set_capability("goog:loggingPrefs", {log: "ALL" for log in logs})
    options.set_capability("webSocketUrl", True)  # BiDi, which can answer in place of the server
    service = Service("/usr/bin/chromedriver", env={**os.environ, "HOME": home})
    driver = webdriver.Chrome(options=options, service=service)
    driver.get_log("browser")  # the driver's part in the browser has told of its own start
    return driver


class Page:
    """The page in one window, by what a person sees and does."""

    def __init__(self, driver):
        self._driver = driver
        self._window = driver.current_window_handle

    @classmethod
    def in_new_window(cls, driver):
        driver.switch_to.new_window("window")
        return cls(driver)

    @property
    def driver(self):
        """The driver, turned to this page's window."""
        self._driver.switch_to.window(self._window)
        return self._driver

    def open(self, address=ADDRESS, scheme="http"):
        self.driver.get(f"{scheme}://{address}/")

    def close(self):
        """The window and what is in it; there must be another."""
        self.driver.close()

    def element(self, name):
        return self.driver.find_element(By.ID, name)

    def text(self, name):
        return self.element(name).text

    def click(self, name):
        self.element(name).click()

    def write(self, name, text):
        field = self.element(name)
        field.clear()
        field.click()
        # The driver's own keys know no character beyond U+FFFF, which emoji are.
        self.driver.execute_cdp_cmd("Input.insertText", {"text": text})

    def press_enter(self, name):
        self.element(name).send_keys(Keys.ENTER)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def texts(self, selector):
        """The text of all elements that a selector finds."""
        script = "return Array.from(document.querySelectorAll(arguments[0]), (found) => found.innerText)"
        return self.run(script, selector)

    def log(self, kind):
        """The log's entries of one kind."""
        return self.texts(f"#log li.{kind}")

    def wait(self, what, condition):
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not condition():
            shown = {name: self.text(name) for name in ("state", "chat-state", "cores-total", "cores-fault")}
            assert time.monotonic() < deadline, f"waited for: {what}; the page shows {shown}"
            time.sleep(0.05)

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
