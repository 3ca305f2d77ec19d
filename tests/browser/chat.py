"""The chat of the page, in two windows that a topic connects."""

import json
import os
import sys
from pathlib import Path

from page import ADDRESS, REACTOR, Page

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import server  # noqa: E402

TOPIC = "browser test/ä"  # a space, a slash and a letter that have to be encoded
MESSAGE_BYTES_MAX = 65536  # the server's default
LIST_ENTRIES_MAX = 500  # the page's


def messages(page):
    """Returns the chat's messages as (sender, text), without the page's own notes."""
    rows = page.run(
        """return Array.from(document.querySelectorAll("#chat-list li:not(.note):not(.empty)"),
               (item) => [item.querySelector("bdi").textContent, item.querySelector(".text").textContent])"""
    )
    return [tuple(row) for row in rows]


def wait_for_messages(page, expected):
    page.wait(f"messages {expected}", lambda: messages(page) == expected)


def wait_for_state(page, text):
    page.wait(f"chat state {text!r}", lambda: page.text("chat-state") == text)


def join(page, name, topic=TOPIC):
    page.write("chat-name", name)
    page.write("chat-topic", topic)
    page.press_enter("chat-topic")
    wait_for_state(page, f"Joined {topic}")


def say(page, text):
    page.write("chat-text", text)
    page.press_enter("chat-text")
    assert page.element("chat-text").get_attribute("value") == ""


def publish_from_elsewhere(page, *texts):
    """As another client of the topic, which hears nothing of its own."""
    page.run(
        """const [url, texts] = arguments;
           const socket = new WebSocket(url);
           socket.onopen = () => { texts.forEach((text) => socket.send(text)); socket.close(); }""",
        f"ws://{ADDRESS}/topics/{TOPIC}?echo=false",
        texts,
    )


def open_anew(page):
    """Without what the page keeps for a reload."""
    page.run("sessionStorage.clear()")
    page.open()


def begin(page):
    """A second window beside the first; both have joined, and nothing has been said."""
    open_anew(page)
    other = Page.in_new_window(page.driver)
    other.open()
    join(page, "Ada")
    join(other, "Grace")
    return other


def two_windows_hear_each_other_and_themselves_once(page):
    other = begin(page)
    say(page, "Hello from Ada")
    for each in (page, other):
        wait_for_messages(each, [("Ada", "Hello from Ada")])
    say(other, "Hello from Grace")
    for each in (page, other):
        wait_for_messages(each, [("Ada", "Hello from Ada"), ("Grace", "Hello from Grace")])
        assert len(each.texts("#chat-list .own")) == 1
    # An empty message is none.
    say(page, "")
    say(page, "Goodbye")
    page.wait("a third", lambda: len(messages(page)) == 3)
    wait_for_messages(other, messages(page))
    other.close()


def markup_and_emoji_arrive_as_text(page):
    other = begin(page)
    text = "<b>bold</b> <img src=x onerror=alert(1)> &amp; 🧵 👩‍👩‍👧"
    say(page, text)
    for each in (page, other):
        wait_for_messages(each, [("Ada", text)])
        assert each.run("return document.querySelectorAll('#chat-list :is(b, img)').length") == 0
    page.write("chat-name", "<i>Ada</i> 🐙")
    say(page, "Who am I?")
    wait_for_messages(other, [("Ada", text), ("<i>Ada</i> 🐙", "Who am I?")])
    other.close()


def who_has_left_hears_nothing_more(page):
    other = begin(page)
    other.click("chat-leave")
    wait_for_state(other, "Closed with 1000 (normal closure)")
    assert other.text("chat-enter") == "Join"
    say(page, "Is anybody there?")
    wait_for_messages(page, [("Ada", "Is anybody there?")])
    # A message from this window to itself comes after whatever would have come before.
    join(other, "Grace")
    say(other, "I am back")
    wait_for_messages(other, [("Grace", "I am back")])
    wait_for_messages(page, [("Ada", "Is anybody there?"), ("Grace", "I am back")])
    other.close()


def other_words_than_the_page_s_are_shown_as_they_are(page):
    other = begin(page)
    said = ["plain words", '{"from": 1, "text": "a number"}', "null", '"text"', "[1, 2]"]
    publish_from_elsewhere(other, *said)
    wait_for_messages(page, [("no sender", text) for text in said])
    other.close()


def copes_with_large_messages_and_many(page):
    other = begin(page)
    empty = len(json.dumps({"from": "Big", "text": ""}))
    large = json.dumps({"from": "Big", "text": "x" * (MESSAGE_BYTES_MAX - empty)})
    publish_from_elsewhere(other, large)
    page.wait("a large message", lambda: len(messages(page)) == 1)
    ((sender, text),) = messages(page)
    assert sender == "Big" and text.endswith(" … cut, 64 KiB in all") and len(text) < 2100, text[-40:]
    publish_from_elsewhere(other, *(json.dumps({"from": "Many", "text": str(i)}) for i in range(1000)))
    page.wait("the last of many", lambda: messages(page)[-1] == ("Many", "999"))
    assert len(page.texts("#chat-list li")) == LIST_ENTRIES_MAX
    assert page.text("chat-count") == f"1,001 messages, the last {LIST_ENTRIES_MAX} are kept"
    view = page.element("chat-scroll")
    seen = view.get_property("scrollTop") + view.get_property("clientHeight")
    assert seen >= view.get_property("scrollHeight") - 1, "the list was not scrolled along"
    other.close()


def a_reload_joins_again(page):
    other = begin(page)
    page.driver.refresh()
    wait_for_state(page, f"Joined {TOPIC}")
    assert page.element("chat-name").get_attribute("value") == "Ada"
    say(other, "Welcome back")
    wait_for_messages(page, [("Grace", "Welcome back")])
    page.click("chat-leave")
    wait_for_state(page, "Closed with 1000 (normal closure)")
    page.driver.refresh()
    assert page.text("chat-state") == "Not joined"
    other.close()


def says_what_is_wrong_with_a_topic(page):
    open_anew(page)
    for topic in ("", ".", "..", "ä" * 128):
        page.write("chat-topic", topic)
        page.click("chat-enter")
        assert page.text("chat-error") != "" and page.text("chat-state") == "Not joined", topic
    # Everything below can be heard under this name, and nothing said.
    join(page, "Ada", "browser test/*")
    assert page.text("chat-error") == ""
    say(page, "To whom?")
    refusal = "Closed with 1008 (policy violation) “A name that ends with *"
    page.wait("a close", lambda: page.text("chat-state").startswith(refusal))
    assert page.text("chat-enter") == "Rejoin"
    # The list is drawn some time after the state is shown.
    lost = "1 message of yours did not come back and may be lost."
    page.wait("a word on what was lost", lambda: lost in page.text("chat-list"))
    page.take_screenshot("chat-closed")
    open_anew(page)


def a_server_that_goes_away_is_joined_again(page):
    flags = ["--reactor", REACTOR, "--cores", "1"]
    # On an address where nobody else takes the port while the server is away.
    own = os.getpid()
    with server.running(flags, f"127.9.{own >> 8 & 255}.{own & 255}:0") as (address, *_):
        page.open(address)
        join(page, "Ada")
    page.wait("a close", lambda: page.text("chat-state").startswith("Closed with 1001 (going away)"))
    page.click("chat-enter")
    page.wait("a refusal", lambda: page.text("chat-state") == "Closed with 1006 (connection lost or refused)")
    page.take_screenshot("server-gone")
    with server.running(flags, address):
        assert page.text("chat-enter") == "Rejoin"
        page.click("chat-enter")
        wait_for_state(page, f"Joined {TOPIC}")
        say(page, "Here again")
        wait_for_messages(page, [("Ada", "Here again")])
    page.open()
    # The browser logs each connection that was refused.
    page.driver.get_log("browser")
