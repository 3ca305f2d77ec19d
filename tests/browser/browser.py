#!/usr/bin/env python3
"""Headless Chromium tries the page of a running ringsock, and reports of benches of it, as a person would.

    tests/browser/browser.py 127.0.0.1:9000 [directory for screenshots [reactor of servers started besides [its process]]]

The server runs with `--set handshake.subprotocols=chat,v2.example`.
"""

import chat
import cores
import echo
import reports
import secure
from page import SCREENSHOTS, WIDTHS, Page, chromium

def fits_light_dark_and_narrow_screens(page):
    fill(page)
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            with page.seen(scheme, width):
                page.take_screenshot(f"{scheme}-{width}")
                wide = page.run("return document.documentElement.scrollWidth")
                assert wide <= width, f"{width} px wide, it has to be scrolled sideways"


def has_a_clean_console(page):
    entries = page.driver.get_log("browser")
    assert entries == [], entries


def fill(page):
    """Somebody in every part of the page, for the screenshots."""
    chat.join(page, "Ada")
    other = Page.in_new_window(page.driver)
    other.open()
    chat.join(other, "Grace with a rather long name, really")
    chat.say(other, "Good morning! Is this the topic?")
    chat.say(page, "It is. 🧵 <b>No markup</b>, only text.")
    chat.publish_from_elsewhere(other, "plain words from a terminal")
    chat.say(other, "A longer message, to see where a line ends: " + "many words " * 30)
    chat.say(page, "x" * 300)
    page.wait("what was said", lambda: len(chat.messages(page)) == 5)
    page.wait("a line of some points", lambda: page.run(cores.LINE).count("L") >= 4)
    other.close()


def main():
    driver = chromium(secure.HOME)
    try:
        page = Page(driver)
        page.stub = cores.Stub(driver)
        for test in (
            echo.connects,
            echo.sends_text,
            echo.sends_binary,
            echo.runs_a_burst,
            echo.a_script_gets_the_subprotocol_it_asks_for,
            fits_light_dark_and_narrow_screens,
            echo.disconnects,
            has_a_clean_console,
            echo.shows_the_code_of_a_message_above_the_limit,
            echo.closes_with_a_code_and_a_reason,
            chat.two_windows_hear_each_other_and_themselves_once,
            chat.markup_and_emoji_arrive_as_text,
            chat.who_has_left_hears_nothing_more,
            chat.other_words_than_the_page_s_are_shown_as_they_are,
            chat.copes_with_large_messages_and_many,
            chat.a_reload_joins_again,
            chat.says_what_is_wrong_with_a_topic,
            has_a_clean_console,
            chat.a_server_that_goes_away_is_joined_again,
            cores.shows_what_it_is_told,
            cores.begins_anew_when_totals_shrink,
            cores.many_cores_leave_room_for_the_rest,
            cores.does_not_ask_while_nobody_looks,
            has_a_clean_console,
            cores.says_that_nothing_is_available_and_tries_again_later,
            cores.shows_this_server,
            has_a_clean_console,
            reports.shows_a_run,
            reports.shows_a_sweep,
            reports.marks_the_knee,
            has_a_clean_console,
            secure.the_page_speaks_wss,
            secure.the_key_exchange_is_the_one_of_today,
            has_a_clean_console,
            secure.a_cookie_carries_a_token,
            secure.a_refused_token_is_1006_to_a_page,
            secure.a_refused_token_is_a_close_code_if_the_server_says_so,
        ):
            try:
                test(page)
            except BaseException:
                print(f"FAILED {test.__module__}.{test.__name__}", flush=True)
                page.take_screenshot("failed")
                raise
            print(f"ok {test.__module__}.{test.__name__}", flush=True)
    finally:
        driver.quit()
    print(f"screenshots: {SCREENSHOTS}")


if __name__ == "__main__":
    main()
