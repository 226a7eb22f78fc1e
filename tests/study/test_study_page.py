"""A whole study in a real browser: by keyboard and touch, with reloads, from file and server."""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager

import pytest

from dualtalker.study import Collector, read_answers
from face_pages import browser_running, why_not
from tiny_study import make_tiny_study

pytest.importorskip("av")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]

PATIENCE_MS = 60_000
TRIALS = 2 + 4 + 1


@pytest.fixture(scope="module")
def browser():
    with browser_running() as running:
        yield running


@pytest.fixture(scope="module")
def side(tmp_path_factory):
    folder = tmp_path_factory.mktemp("side")
    return folder / "study", make_tiny_study(folder)


@pytest.fixture(scope="module")
def turn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("turn")
    return folder / "study", make_tiny_study(folder, layout="turn")


@contextmanager
def opened(browser, address, **options):
    """A page that complains of nothing and asks nobody but its own host."""
    context = browser.new_context(accept_downloads=True, **options)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.goto(address)
    yield page
    context.close()
    home = re.match(r"(file://|http://[^/]+)/", address)[1]
    assert requests and all(url.startswith((home, "blob:", "data:")) for url in requests)
    assert not problems, problems


def wait(page, condition):
    """Until a script is true; the page lets playwright's own waiting not evaluate text."""
    end_s = time.monotonic() + PATIENCE_MS / 1e3
    while not page.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < end_s, condition
        time.sleep(0.05)


def focused(page):
    return page.evaluate("document.activeElement.id || document.activeElement.name || "
                         "document.activeElement.tagName")  # fmt: skip


def heading(page):
    return page.text_content("h1, h2")


def tab_to(page, wanted):
    for _ in range(12):
        if focused(page) == wanted:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached, but {focused(page)}")


def answer_by_keys(page, sides):
    """Play, answer `sync` and `natural` (0: left), go on."""
    before = heading(page)
    tab_to(page, "play")
    page.keyboard.press("Enter")
    wait(page, "document.activeElement.name === 'sync'")
    for name, side in zip(("sync", "natural"), sides, strict=True):
        tab_to(page, name)
        page.keyboard.press("ArrowRight" if side else "Space")
    tab_to(page, "next")
    page.keyboard.press("Enter")
    wait(page, f"document.querySelector('h1, h2').textContent !== '{before}'")


def answer_by_touch(page, sides):
    before = heading(page)
    page.tap("#play")
    wait(page, "!document.querySelector('fieldset').disabled")
    for name, side in zip(("sync", "natural"), sides, strict=True):
        page.tap(f"label:has([name={name}][value={('left', 'right')[side]}])")
    page.tap("#next")
    wait(page, f"document.querySelector('h1, h2').textContent !== '{before}'")


def agree(page):
    tab_to(page, "agree")
    page.keyboard.press("Space")
    tab_to(page, "begin")
    page.keyboard.press("Enter")
    page.wait_for_selector("#play")


def download(page):
    with page.expect_download() as caught:
        page.click("#download")
    return caught.value.suggested_filename, caught.value.path().read_bytes()


def test_a_whole_study_from_a_file_by_keyboard_with_a_reload(browser, side):
    folder, key = side
    address = (folder / "public" / "index.html").as_uri()
    with opened(browser, f"{address}?participant=12") as page:
        assert "You look at faces. Nothing else" in page.text_content("main")
        assert page.eval_on_selector_all("li", "all => all.map(one => one.textContent)") == [
            "one",
            "two",
        ]
        assert page.is_disabled("#begin")
        agree(page)
        sides = [(k % 2, k // 2 % 2) for k in range(TRIALS)]
        for number, pair in enumerate(sides):
            assert heading(page) == f"Pair {number + 1} of {TRIALS}"
            assert page.eval_on_selector("progress", "bar => bar.value") == number
            answer_by_keys(page, pair)
            if number in (0, 3):
                page.reload()
        assert heading(page) == "Thank you!"
        page.reload()
        name, content = download(page)
        assert name == f"answers-{key.digest[:8]}-12.json"
    answers = read_answers(content, key)
    assert answers.participant == 12 and answers.began < answers.ended
    for answer, pair in zip(answers.answers, sides, strict=True):
        assert tuple(answer.chosen.values()) == tuple(("left", "right")[s] for s in pair)
        assert answer.plays == (1, 1) and answer.seconds > 0.4


def test_no_answer_counts_before_both_have_ended(browser, turn):
    folder, _ = turn
    address = (folder / "public" / "index.html").as_uri()
    with opened(browser, address) as page:
        agree(page)
        assert page.is_disabled("#next") and page.is_disabled("[name=sync] >> nth=0")
        assert page.is_hidden("figure >> nth=1")
        page.evaluate("document.querySelector('video').addEventListener('playing', (event) => "
                      "event.target.pause(), {once: true})")  # fmt: skip
        page.click("#play")
        wait(page, "document.querySelector('#status').textContent.includes('again')")
        assert page.is_disabled("#next") and page.is_disabled("[name=sync] >> nth=0")
        page.click("#play")
        wait(page, "document.activeElement.name === 'sync'")
        assert page.is_hidden("figure >> nth=0") and page.is_visible("figure >> nth=1")
        page.check("[name=sync] >> nth=0")
        assert page.is_disabled("#next")  # one question is open
        page.click("#play")
        assert page.is_disabled("[name=sync] >> nth=0")
        wait(page, "document.activeElement.name === 'natural'")
        assert page.is_checked("[name=sync] >> nth=0")
        page.check("[name=natural] >> nth=1")
        page.click("#next")
        [answer] = page.evaluate("JSON.parse(Object.values(localStorage)[0]).answers")
        assert answer["plays"] == [2, 2]
        assert answer["chosen"] == {"sync": "left", "natural": "right"}


def test_a_whole_study_by_touch_is_collected(browser, turn):
    folder, key = turn
    phone = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}
    with Collector(folder, port=0) as collector:
        with opened(browser, collector.addresses()[0], color_scheme="dark", **phone) as page:
            page.tap("#agree")
            page.tap("#begin")
            page.wait_for_selector("#play")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            for k in range(TRIALS):
                answer_by_touch(page, (k % 2, 0))
            wait(page, "document.querySelector('#status').textContent"
                                   ".includes('have arrived')")  # fmt: skip
            page.tap("#anew")
            assert page.is_visible("#begin")
        assert collector.counters == {"kept": 1}
    [path] = (folder / "answers").iterdir()
    answers = read_answers(path.read_bytes(), key)
    assert path.name == "0.json" and answers.participant == 0


def test_answers_that_do_not_arrive_can_be_downloaded(browser, side):
    folder, key = side
    (folder / "answers").mkdir(exist_ok=True)
    (folder / "answers" / "3.json").write_text("another's")
    with Collector(folder, port=0) as collector:
        address = f"{collector.addresses()[0]}?participant=3"
        context = browser.new_context(accept_downloads=True)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        agree(page)
        for _ in range(TRIALS):
            answer_by_keys(page, (0, 1))
        page.wait_for_selector("#download")
        assert "participant 3 has answered" in page.text_content("#status")
        _, content = download(page)
        context.close()
    assert read_answers(content, key).participant == 3
    assert (folder / "answers" / "3.json").read_text() == "another's"


def test_without_consent_it_does_not_begin(browser, tmp_path):
    make_tiny_study(tmp_path, consent=None)
    with opened(browser, (tmp_path / "study" / "public" / "index.html").as_uri()) as page:
        assert "cannot begin" in page.text_content("main")
        assert not page.query_selector("button")


def test_a_video_that_cannot_be_loaded_is_told(browser, tmp_path):
    key = make_tiny_study(tmp_path)
    address = (tmp_path / "study" / "public" / "index.html").as_uri()
    name = key.plan.sides_of(key.plan.schedule_of(0)[0])[1]
    (tmp_path / "study" / "public" / "videos" / f"{name}.mp4").write_bytes(b"no video")
    with opened(browser, f"{address}?participant=0") as page:
        agree(page)
        page.click("#play")
        wait(page, "document.querySelector('#status').textContent.includes('again')")
        assert page.is_enabled("#play") and page.is_disabled("#next")


def test_every_control_has_a_name(browser, side):
    folder, _ = side
    with opened(browser, (folder / "public" / "index.html").as_uri()) as page:
        agree(page)
        tree = json.dumps(page.evaluate(
            "[...document.querySelectorAll('input, button, video, progress')].map((one) => "
            "one.labels?.[0]?.textContent || one.textContent || one.ariaLabel)"
        ))  # fmt: skip
        assert all(json.loads(tree)) and "Left" in tree and "Progress" in tree
        legends = page.eval_on_selector_all("legend", "all => all.map(one => one.textContent)")
        assert legends == [
            "Which face's lips match the sound better?",
            "Which face looks more natural?",
        ]
