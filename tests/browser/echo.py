"""The echo of the page: connecting, sending, measuring, closing."""

import re

from page import ADDRESS

MILLISECONDS = re.compile(r"(< )?[\d,.]+ ms")


def connects(page):
    page.open()
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


def a_script_gets_the_subprotocol_it_asks_for(page):
    script = """const [offered] = arguments;
        return new Promise((resolve) => {
            const socket = new WebSocket(document.getElementById('url').value, offered);
            socket.onopen = () => { resolve(socket.protocol); socket.close(); };
            socket.onerror = () => resolve('failed');
        });"""
    for offered, chosen in (("chat", "chat"), (["other", "v2.example", "chat"], "v2.example"), ([], "")):
        assert page.run(script, offered) == chosen, offered


def disconnects(page):
    page.click("disconnect")
    page.wait_for_state("Not connected")
    assert page.text("closed") == "Closed with 1000 (normal closure)", page.text("closed")


def shows_the_code_of_a_message_above_the_limit(page):
    page.click("connect")
    page.wait_for_state("Connected")
    page.run("document.getElementById('message').value = 'x'.repeat(65537)")
    page.click("send")
    page.wait_for_state("Not connected")
    assert page.text("closed").startswith("Closed with 1009 (message too big)"), page.text("closed")
    page.take_screenshot("message-too-big")


def closes_with_a_code_and_a_reason(page):
    page.click("connect")
    page.wait_for_state("Connected")
    page.click("close-how")
    page.write("close-code", "4001")
    page.write("close-reason", "tried out")
    page.click("disconnect")
    page.wait_for_state("Not connected")
    assert page.text("closed") == "Closed with 4001 (application code) “tried out”", page.text("closed")
