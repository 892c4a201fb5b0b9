"""The page in a real, headless Chromium: quiet, off the network, true to comparison.json, and readable by everybody."""

import json
import math
import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from stages import codec, records
from stages.harness import wording
from tests import comparisons
from tests.browser import open_browser
from tests.page import pages

pytestmark = pytest.mark.browser

OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true })"
WITHOUT_FIGURES = """cells => cells.map(cell => {
    const copy = cell.cloneNode(true)
    copy.querySelectorAll('data').forEach(each => each.remove())
    return [cell.dataset.label, copy.textContent]
})"""
BOXES = """elements => elements.filter(each => each.getClientRects().length).map(each => {
    const box = each.getBoundingClientRect()
    return [each.textContent, box.left, box.top, box.right, box.bottom]
})"""


@pytest.fixture(scope="module")
def browser():
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module", params=comparisons.SAMPLES)
def files(request, tmp_path_factory):
    """The comparison as the record in a file, and the page of it."""
    folder = tmp_path_factory.mktemp("page")
    compared = comparisons.SAMPLES[request.param]()
    codec.write(folder / records.COMPARISON_PATH.name, compared)
    codec.write_text(folder / records.PAGE_PATH.name, pages.html(compared))
    return folder


@pytest.fixture
def visit(browser, files):
    """Opens the page, with all that can be unfolded unfolded."""
    contexts = []

    def visit(width=1280, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.goto((files / records.PAGE_PATH.name).as_uri())
        page.evaluate(OPEN_ALL)
        return page

    yield visit
    for context in contexts:
        context.close()


def test_nothing_on_the_console_and_no_request_but_for_the_page_itself(browser, files):
    context = browser.new_context()
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    context.on("request", lambda request: asked.append(request.url))
    address = (files / records.PAGE_PATH.name).as_uri()
    page.goto(address, wait_until="networkidle")
    context.close()
    assert (said, asked) == ([], [address])


def test_every_figure_is_that_of_the_record(visit, files):
    document = json.loads((files / records.COMPARISON_PATH.name).read_text())
    shown = visit().eval_on_selector_all(
        "data[data-figure]", "all => all.map(each => [each.dataset.figure, each.value, each.textContent])"
    )
    for place, value, text in shown:
        expected = document
        for key in place.split("/"):
            expected = expected[int(key) if isinstance(expected, list) else key]
        assert float(value) == expected, place
        assert says(text, expected), f"{place}: {text} for {expected}"
    assert needed(document) <= {place for place, _, _ in shown}


def says(text, value):
    """Whether a text says this number, as exactly as it is written."""
    if text.startswith("<"):
        return value < float(text[1:])
    minutes = re.fullmatch(r"(\d+):(\d\d)", text)
    if minutes:
        return abs(60 * int(minutes[1]) + int(minutes[2]) - value) <= 0.5
    number = re.fullmatch(r"(\d+(?:\.(\d+))?)( s|%)?", text)
    scale = 100 if number[3] == "%" else 1
    return abs(float(number[1]) - scale * value) <= 0.5001 * 10 ** -len(number[2] or "")


SHOWN = (
    "frozen_seconds",
    "unfrozen_seconds",
    "predict_tta_seconds",
    "total_seconds",
    "train_images_per_second",
    "accuracy_tta",
)


def needed(document):
    """What the page must show: every ratio whole, times with their spreads, every sample, every part of the split."""
    places = {"margin", "confidence"}
    for index, setting in enumerate(document["settings"]):
        here = f"settings/{index}"
        for name, ratio in setting["ratios"].items():
            places |= {
                f"{here}/ratios/{name}/{key}" for key in ("mean", "low", "high", "p_value") if ratio[key] is not None
            }
        for name, figure in setting["figures"].items():
            if name not in SHOWN:
                continue
            places.add(f"{here}/figures/{name}/mean")
            if name.endswith("seconds") and figure["spread"] is not None:
                places.add(f"{here}/figures/{name}/spread")
        repeats = setting["figures"].get("total_seconds", {"samples": ()})["samples"]
        places |= {f"{here}/figures/total_seconds/samples/{repeat}" for repeat in repeats}
        if setting["bottleneck"]:
            places |= {f"{here}/bottleneck/{name}" for name in set(setting["bottleneck"]) - {"phases"}}
            for phase, steps in setting["bottleneck"]["phases"].items():
                at = f"{here}/bottleneck/phases/{phase}"
                places |= {f"{at}/images_per_second", f"{at}/possible_speedup"}
                places |= {f"{at}/split/{name}" for name in set(steps["split"]) - {"steps"}}
        if setting["accuracy"]:
            places |= {f"{here}/accuracy/{name}" for name in ("photos", "only_here_right", "only_baseline_right")}
    return places


def test_no_number_of_the_tables_of_results_comes_from_elsewhere(visit):
    cells = "#verdicts td, #pictures td, #cells td"
    left = visit().eval_on_selector_all(cells, WITHOUT_FIGURES)
    named = ("what would settle it", "epoch")  # a sentence of the record; the number of a row
    assert [text for label, text in left if label not in named and re.search(r"\d", text)] == []


def test_sentences_are_those_of_the_record(visit, files):
    document = json.loads((files / records.COMPARISON_PATH.name).read_text())
    read = " ".join(visit().inner_text("body").split())
    for setting in document["settings"]:
        told = [*setting["explanation"], *setting["warnings"], *setting["differences"]]
        told += setting["reasons"].values()
        assert [each for each in told if each not in read] == []
        assert setting["words"][1:] in read or setting["verdict"] == "baseline"
    assert all(each in read for each in document["warnings"])


def test_marks_and_intervals_lie_where_their_figures_are(visit, files):
    """On the logarithmic axis: where all ratios are drawn, one straight line leads from their logarithms to places."""
    document = json.loads((files / records.COMPARISON_PATH.name).read_text())
    ratios = [
        (setting, name) for setting, each in enumerate(document["settings"]) for name in each["ratios"]
        if name == "total_seconds"
    ]  # fmt: skip
    page, points = visit(), []
    for setting, name in ratios:
        ratio = document["settings"][setting]["ratios"][name]
        left, right = ends(page, f"#forest-wide-ratio-{setting}-{name}")
        points.append((math.log(ratio["mean"]), (left + right) / 2))
        if ratio["low"] is not None:
            left, right = ends(page, f"#forest-wide-interval-{setting}-{name}")
            points += [(math.log(ratio["low"]), left), (math.log(ratio["high"]), right)]
    if len(points) < 3:
        return
    (low, left), (high, right) = min(points), max(points)
    for value, place in points:
        assert place == pytest.approx(left + (value - low) / (high - low) * (right - left), abs=2.5)  # a line's width


def ends(page, selector):
    box = page.eval_on_selector(
        selector, "each => { const b = each.getBoundingClientRect(); return [b.left, b.right] }"
    )
    return box


@pytest.mark.parametrize("drawing", ["phases", "split"])
def test_bars_are_as_long_as_their_figures(visit, files, drawing):
    document = json.loads((files / records.COMPARISON_PATH.name).read_text())
    page, lengths = visit(), []
    for index, setting in enumerate(document["settings"]):
        if drawing == "phases":
            parts = {name: each["mean"] for name, each in setting["figures"].items() if name.endswith("_seconds")}
            parts.pop("total_seconds", None)
        elif setting["bottleneck"]:
            split = {name: value for name, value in setting["bottleneck"]["split"].items() if name != "steps"}
            parts = {name: value / sum(split.values()) for name, value in split.items()}
        else:
            parts = {}
        for name, value in parts.items():
            left, right = ends(page, f"#{drawing}-wide-bar-{index}-{name}")
            lengths.append((value, right - left))
    scale = max((length / value for value, length in lengths), default=0)
    for value, length in lengths:
        assert length == pytest.approx(scale * value, abs=3)  # the outline's width


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (320, "dark")])
def test_a_checker_of_accessibility_finds_nothing_serious(visit, width, scheme):
    found = Axe().run(visit(width, color_scheme=scheme, bypass_csp=True)).response
    assert len(found["passes"]) > 10
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in serious] == []


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_nothing_is_cut_off_and_nothing_scrolls_sideways(visit, width):
    page = visit(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.eval_on_selector_all("body *:not(.sr):not(thead *):not(thead)", BOXES)
    assert [text[:60] for text, left, _, right, _ in boxes if right > width + 1 or left < -1] == []


@pytest.mark.parametrize(("width", "kind"), [(320, "narrow"), (1280, "wide")])
def test_no_text_of_a_drawing_lies_on_another(visit, width, kind):
    page = visit(width)
    for drawing in ("forest", "phases", "split", "curves"):
        boxes = page.eval_on_selector_all(f"svg[aria-labelledby={drawing}-{kind}-title] text", BOXES)
        overlapping = [
            (drawing, one[0], other[0])
            for place, one in enumerate(boxes)
            for other in boxes[:place]
            if min(one[3], other[3]) - max(one[1], other[1]) > 1 and min(one[4], other[4]) - max(one[2], other[2]) > 4
        ]
        assert overlapping == []


def test_a_drawing_is_called_by_a_name_and_every_id_is_one_of_a_kind(visit):
    page = visit()
    ids = page.eval_on_selector_all("[id]", "all => all.map(each => each.id)")
    assert len(ids) == len(set(ids))
    named = page.eval_on_selector_all(
        "svg", "all => all.map(each => [each.getAttribute('role'), !!each.querySelector('title').textContent])"
    )
    assert all(each == ["img", True] for each in named)


def test_it_prints_light_and_without_what_only_a_screen_needs(visit):
    page = visit(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == "rgb(255, 255, 255)"
    assert not page.is_visible("nav")


def test_what_a_figure_says_is_a_matter_of_its_digits():
    assert says(wording.seconds(12.34), 12.34) and says(wording.seconds(677), 677.2) and says("92.7%", 0.9271)
    assert not says("12.4 s", 12.34) and not says("11:17", 678) and not says("92.8%", 0.9271)
