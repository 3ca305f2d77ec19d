"""The page over TLS, whose certificate an authority of the tests signed, and tokens as a page experiences them."""

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import server  # noqa: E402
from judges import authority  # noqa: E402
from page import REACTOR, Page, chromium  # noqa: E402

_directory = tempfile.TemporaryDirectory()
HOME = _directory.name
CA, TLS = authority.write(HOME)

SETTINGS = """
[[listen]]
address = "127.0.0.1:0"

[tokens]
from = ["cookie"]
refuse = "{refuse}"

[[issuer]]
name = "shop"
key = "0123456789abcdef0123456789abcdef"
roles = ["user"]

[[role]]
name = "user"
grants = ["subscribe,publish:news"]
"""

# Opens a WebSocket with a cookie, says hello, and returns everything that happened.
TRY = """const [path, cookie] = arguments;
    document.cookie = cookie;
    return new Promise((resolve) => {
        const events = [];
        const socket = new WebSocket(`wss://${location.host}${path}`);
        socket.onopen = () => { events.push('open'); socket.send('hello'); };
        socket.onmessage = ({ data }) => { events.push(data); socket.close(1000); };
        socket.onclose = ({ code }) => resolve([...events, code]);
    });"""
NO_COOKIE = "token=; Secure; Max-Age=0"


def trust_the_authority():
    """Makes the browsers with this home trust the authority."""
    database = Path(HOME) / ".pki/nssdb"
    database.mkdir(parents=True)
    for command in (["-N", "--empty-password"], ["-A", "-t", "C,,", "-n", "ringsock tests", "-i", CA]):
        subprocess.run(["certutil", "-d", f"sql:{database}", *command], check=True)


trust_the_authority()


@contextlib.contextmanager
def serving(*flags):
    with server.running([*TLS, "--reactor", REACTOR, "--cores", "1", *flags]) as started:
        yield started.address


@contextlib.contextmanager
def with_tokens(page, refuse):
    """The page of a server that wants tokens, and a valid token of it."""
    settings = Path(HOME) / f"{refuse}.toml"
    settings.write_text(SETTINGS.format(refuse=refuse))
    make = [server.BINARY, "token", "make", "--config", settings, "--sub", "ann"]
    token = subprocess.run(make, check=True, capture_output=True, text=True).stdout.strip()
    with serving("--config", str(settings)) as address:
        page.open(address, "https")
        yield token
        page.run("document.cookie = arguments[0]", NO_COOKIE)
        # Whatever the browser has logged of the handshakes that were refused.
        page.driver.get_log("browser")
        page.driver.get("about:blank")


def altered(token):
    """The token with another signature."""
    return token[:-2] + ("AA" if token[-2:] != "AA" else "BB")


def the_page_speaks_wss(page):
    with serving() as address:
        page.open(address, "https")
        assert page.element("url").get_attribute("value") == f"wss://{address}/echo"
        page.click("connect")
        page.wait_for_state("Connected")
        page.write("message", "Grüße over TLS")
        page.click("send")
        page.wait("the echo of a text", lambda: any("Grüße over TLS" in entry for entry in page.log("received")))
        page.write("burst-count", "100")
        page.click("burst")
        page.wait("100 round trips", lambda: page.text("burst-result").startswith("100 round trips, median"))
        page.take_screenshot("secure")
        page.click("disconnect")
        page.wait_for_state("Not connected")
        assert page.text("closed") == "Closed with 1000 (normal closure)", page.text("closed")
        page.driver.get("about:blank")


def the_key_exchange_is_the_one_of_today(_page):
    driver = chromium(HOME, logs=("browser", "performance"))
    try:
        with serving() as address:
            Page(driver).open(address, "https")
            events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
            answers = [event["params"]["response"] for event in events if event["method"] == "Network.responseReceived"]
            found = {answer["url"]: answer["securityDetails"] for answer in answers if "securityDetails" in answer}
            security = found[f"https://{address}/"]
            assert (security["protocol"], security["keyExchangeGroup"]) == ("TLS 1.3", "X25519MLKEM768"), security
    finally:
        driver.quit()


def a_cookie_carries_a_token(page):
    with with_tokens(page, "status") as token:
        assert page.run(TRY, "/topics/news", f"token={token}; Secure") == ["open", "hello", 1000]
        # It is still there.
        assert page.run(TRY, "/topics/news", "other=1; Secure") == ["open", "hello", 1000]


def a_refused_token_is_1006_to_a_page(page):
    with with_tokens(page, "status") as token:
        for cookie in (NO_COOKIE, f"token={altered(token)}; Secure", "token=a.b.c; Secure"):
            assert page.run(TRY, "/topics/news", cookie) == [1006], cookie
        assert page.run(TRY, "/topics/other", f"token={token}; Secure") == [1006]


def a_refused_token_is_a_close_code_if_the_server_says_so(page):
    with with_tokens(page, "close") as token:
        for cookie in (NO_COOKIE, f"token={altered(token)}; Secure", "token=a.b.c; Secure"):
            assert page.run(TRY, "/topics/news", cookie) == ["open", 3000], cookie
        assert page.run(TRY, "/topics/other", f"token={token}; Secure") == ["open", 3003]
        assert page.run(TRY, "/topics/news", f"token={token}; Secure") == ["open", "hello", 1000]
