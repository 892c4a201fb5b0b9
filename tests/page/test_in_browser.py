"""The page in a real, headless Chromium: quiet, off the network, true to comparison.json, and readable by everybody."""

import contextlib
import dataclasses
import functools
import io
import itertools
import json
import math
import re
from collections import Counter

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from stages import codec, records
from stages.harness import formatting
from stages.harness.report.page import drawings
from tests import comparisons, results
from tests.browser import open_browser
from tests.page import pages

pytestmark = pytest.mark.browser

OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true })"
VISIBLE = "all => all.map(each => each.checkVisibility({contentVisibilityAuto: true}))"
WITHOUT_VALUES = """cells => cells.map(cell => {
    const copy = cell.cloneNode(true)
    copy.querySelectorAll('data').forEach(each => each.remove())
    return [cell.dataset.label, copy.textContent]
})"""
BOXES = """elements => elements.filter(each => each.getClientRects().length).map(each => {
    const box = each.getBoundingClientRect()
    return [each.textContent.slice(0, 60), box.left, box.top, box.right, box.bottom]
})"""
ENDS = """selectors => selectors.map(each => {
    const box = document.querySelector(each).getBoundingClientRect()
    return [box.left, box.right]
})"""
PATHS = "selectors => selectors.map(each => document.querySelector(each).getAttribute('d'))"


# What does not depend on the results is looked at on one page.
of_one_sample = pytest.mark.parametrize("files", ["measured"], indirect=True)


@pytest.fixture(scope="module")
def browser():
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module", params=[name for name in comparisons.SAMPLES if name != "two settings"])  # as measured
def files(request, tmp_path_factory):
    """The comparison as the record in a file, and the page of it."""
    folder = tmp_path_factory.mktemp("page")
    compared = comparisons.SAMPLES[request.param]()
    codec.write(folder / records.COMPARISON_PATH.name, compared)
    codec.write_text(folder / records.PAGE_PATH.name, pages.html(compared))
    return folder


@contextlib.contextmanager
def visiting(browser, files):
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


@pytest.fixture
def visit(browser, files):
    with visiting(browser, files) as visit:
        yield visit


@pytest.fixture(scope="module")
def see(browser, files):
    """The page at a width, opened once for all that only look at it."""
    with visiting(browser, files) as visit:
        yield functools.cache(visit)


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


def test_every_value_is_that_of_the_record(see, files):
    document = json.loads((files / records.COMPARISON_PATH.name).read_text())
    shown = see().eval_on_selector_all(
        "data[data-place]", "all => all.map(each => [each.dataset.place, each.value, each.textContent])"
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
    number = re.fullmatch(r"(-?\d+(?:\.(\d+))?)( s|%| [KMG]iB| B)?", text)
    scale = {"%": 100, " KiB": 2**-10, " MiB": 2**-20, " GiB": 2**-30}.get(number[3], 1)
    return abs(float(number[1]) - scale * value) <= 0.5001 * 10 ** -len(number[2] or "")


def needed(document):
    """What the page must show: every ratio whole, metrics with their spreads, every total, every part of the split."""
    places = {"margin", "confidence"}
    for index, setting in enumerate(document["settings"]):
        here = f"settings/{index}"
        for name, ratio in setting["ratios"].items():
            places |= {
                f"{here}/ratios/{name}/{key}" for key in ("mean", "low", "high", "p_value") if ratio[key] is not None
            }
        for name, metric in setting["metrics"].items():
            places |= {f"{here}/metrics/{name}/{key}" for key in ("mean", "spread") if metric[key] is not None}
        repeats = setting["metrics"].get("total_seconds", {"samples": ()})["samples"]
        places |= {f"{here}/metrics/total_seconds/samples/{repeat}" for repeat in repeats}
        if setting["bottleneck"]:
            places |= {f"{here}/bottleneck/{name}" for name in set(setting["bottleneck"]) - {"spans", "launching"}}
            launching = setting["bottleneck"]["launching"]
            shares = [name for name in ("device_busy_share", "card_busy_share") if launching[name] is not None]
            places |= {f"{here}/bottleneck/launching/{name}" for name in shares}
            for span, steps in setting["bottleneck"]["spans"].items():
                at = f"{here}/bottleneck/spans/{span}"
                places |= {f"{at}/samples_per_second", *(f"{at}/split/{name}" for name in told(steps["split"]))}
        for number, point in enumerate(setting["curve"]):
            names = ("epoch", *(f"values/{name}" for name in point["values"]))
            places |= {f"{here}/curve/{number}/{name}" for name in names}
        if setting["predictions"]:
            places |= {f"{here}/predictions/{name}" for name in ("items", "only_here_right", "only_baseline_right")}
    return places


def told(split):
    """The parts of a split that are known."""
    return {name: seconds for name, seconds in split.items() if seconds is not None}


def bar(split, has_launches):
    """The shares of a bar: launching, a part of compute, apart from the rest of it where the drawing has that."""
    wait, copy, compute, other, launch = split.values()
    whole = wait + copy + compute + other
    parts = [wait, copy, launch or 0, compute - (launch or 0), other] if has_launches else [wait, copy, compute, other]
    return [seconds / whole for seconds in parts]


def bars(settings):
    """The bars of all spans of all settings."""
    spans = [list(each["bottleneck"]["spans"].values()) if each["bottleneck"] else [] for each in settings]
    has_launches = any(steps["split"]["launch_seconds"] is not None for each in spans for steps in each)
    return {
        f"{index}-{place}": bar(steps["split"], has_launches)
        for index, each in enumerate(spans)
        for place, steps in enumerate(each)
    }


def test_no_number_of_the_tables_of_results_comes_from_elsewhere(see):
    cells = "#verdicts td, #pictures td, #metrics td, #cells td"
    left = see().eval_on_selector_all(cells, WITHOUT_VALUES)
    named = ("what would settle it", "on")  # words of the record
    assert [text for label, text in left if label not in named and re.search(r"\d", text)] == []


def test_sentences_are_those_of_the_record(see, files):
    document = json.loads((files / records.COMPARISON_PATH.name).read_text())
    read = " ".join(see().inner_text("body").split())
    for setting in document["settings"]:
        said = [*setting["explanation"], *setting["warnings"], *setting["differences"], *setting["not_given"]]
        said += setting["reasons"].values()
        assert [each for each in said if each not in read] == []
        assert setting["words"][1:] in read or setting["verdict"] == "baseline"
    assert all(each in read for each in document["warnings"])


DRAWN = {320: "narrow", 1280: "wide"}


@pytest.mark.parametrize("width", DRAWN)
def test_the_texts_of_drawings_say_the_metrics_of_the_record(see, files, width):
    document = json.loads((files / records.COMPARISON_PATH.name).read_text())
    page, settings, kind = see(width), document["settings"], DRAWN[width]

    def texts(drawing):
        """Of a drawing all that holds a number, but for the axes'."""
        found = page.eval_on_selector_all(
            f"svg[aria-labelledby={drawing}-{kind}-title] text",
            "all => all.filter(each => !each.closest('[id*=tick_]')).map(each => each.textContent)",
        )
        return Counter(text for text in found if re.search(r"\d", text))

    names = list(document["metrics"])
    rows = [(place, name) for place, each in enumerate(settings) for name in each["ratios"]]
    drawn = page.eval_on_selector_all("[id^=forest-wide-ratio-]", "all => all.map(each => each.id)")
    said = [
        settings[place]["ratios"][name]
        for place, name in rows
        if f"forest-wide-ratio-{place}-{names.index(name)}" in drawn
    ]
    assert names_left_out(texts("forest"), settings) == Counter(
        f"{each['mean']:.3f}" + ("" if each["low"] is None else f" [{each['low']:.3f}, {each['high']:.3f}]")
        + f" {each['verdict']}" for each in said
    )  # fmt: skip
    times = [metric for each in settings for name, metric in each["metrics"].items() if name.endswith("_seconds")]
    for text in names_left_out(texts("times"), settings):
        mean, _, spread = text.partition(" ± ")
        assert any(
            says(mean, each["mean"]) and (not spread or says(spread, each["spread"])) for each in times
        ), text  # fmt: skip
    shares = [share for each in bars(settings).values() for share in each]
    for text in names_left_out(texts("split"), settings):
        assert any(says(text, each) for each in shares), text
    assert not names_left_out(texts("curves"), settings)


def names_left_out(texts, settings):
    """The texts without those that are a setting's name with its span, or a line of that."""
    names = ["".join(each["setting"].split()) + span for each in settings for span in (",head", ",body")]
    return Counter({text: count for text, count in texts.items() if not any(fits(text, name) for name in names)})


def fits(text, name):
    return "".join(text.split()) in name


@pytest.mark.parametrize("width", DRAWN)
def test_curves_lie_where_their_values_are(see, files, width):
    """Of each panel, one straight line leads from epochs and values to places."""
    settings = json.loads((files / records.COMPARISON_PATH.name).read_text())["settings"]
    page = see(width)
    names = dict.fromkeys(name for each in settings for point in each["curve"] for name in point["values"])
    curves = {index: setting["curve"] for index, setting in enumerate(settings) if setting["curve"]}
    for panel, name in enumerate(names):
        points = []
        paths = page.evaluate(PATHS, [f"#curves-{DRAWN[width]}-curve-{index}-{panel} > path" for index in curves])
        for curve, path in zip(curves.values(), paths, strict=True):
            places = [tuple(map(float, pair)) for pair in re.findall(r"[ML] (\S+) (\S+)", path)]
            points += zip(curve, places, strict=True)
        on_line([(point["epoch"], place[0]) for point, place in points], tolerance=0.1)
        on_line([(point["values"][name], place[1]) for point, place in points], tolerance=0.1)


def on_line(points, tolerance):
    (low, left), (high, right) = min(points, default=(0, 0)), max(points, default=(0, 0))
    for value, place in points:
        expected = left if high == low else left + (value - low) / (high - low) * (right - left)
        assert place == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("width", DRAWN)
def test_marks_and_intervals_lie_where_their_values_are(see, files, width):
    """On the logarithmic axis: where all ratios are drawn, one straight line leads from their logarithms to places."""
    document = json.loads((files / records.COMPARISON_PATH.name).read_text())
    page, kind, found = see(width), DRAWN[width], [each["ratios"].get("total_seconds") for each in document["settings"]]
    ratios = {place: ratio for place, ratio in enumerate(found) if ratio}
    marks = page.evaluate(ENDS, [f"#forest-{kind}-ratio-{place}-0" for place in ratios])
    pairs = zip(ratios.values(), marks, strict=True)
    points = [(math.log(ratio["mean"]), (left + right) / 2) for ratio, (left, right) in pairs]
    known = {place: ratio for place, ratio in ratios.items() if ratio["low"] is not None}
    intervals = page.evaluate(ENDS, [f"#forest-{kind}-interval-{place}-0" for place in known])
    for ratio, (left, right) in zip(known.values(), intervals, strict=True):
        points += [(math.log(ratio["low"]), left), (math.log(ratio["high"]), right)]
    on_line(points, tolerance=2.5)  # a line's width


@pytest.mark.parametrize("width", DRAWN)
def test_bars_are_as_long_as_their_values(see, files, width):
    document = json.loads((files / records.COMPARISON_PATH.name).read_text())
    spans = [f"{name}_seconds" for name in document["total"]] if document["total"] != ["wall"] else ["total_seconds"]
    page, times, shares = see(width), {}, bars(document["settings"])
    for index, setting in enumerate(document["settings"]):
        if setting["metrics"]:
            times[index] = [setting["metrics"][name]["mean"] for name in spans]
    for drawing, drawn_bars in (("times", times), ("split", shares)):
        values = {f"{name}-{part}": value for name, each in drawn_bars.items() for part, value in enumerate(each)}
        found = page.evaluate(ENDS, [f"#{drawing}-{DRAWN[width]}-bar-{name}" for name in values])
        lengths = [(value, right - left) for value, (left, right) in zip(values.values(), found, strict=True)]
        scale = max((length / value for value, length in lengths if value), default=0)
        for value, length in lengths:
            assert length == pytest.approx(scale * value, abs=3)  # the outline's width


def serious(page):
    """What axe finds to be serious or worse."""
    found = Axe().run(page).response
    assert len(found["passes"]) > 10
    violations = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    return [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in violations]


def test_a_checker_of_accessibility_finds_nothing_serious(visit):
    assert serious(visit(320, color_scheme="dark", bypass_csp=True)) == []


@of_one_sample
def test_nor_does_it_on_a_wide_and_light_page(visit):
    """No width has colours of its own, and no sample."""
    assert serious(visit(1280, color_scheme="light", bypass_csp=True)) == []


@of_one_sample
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_text_of_drawings_stands_out_from_what_it_lies_on(visit, scheme):
    """axe does not look into drawings: 4.5 is what WCAG asks for."""
    page = visit(color_scheme=scheme)
    inks = set(page.eval_on_selector_all("svg text", "all => all.map(each => getComputedStyle(each).fill)"))
    card = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--card')")
    on_fill, *fills = colours(page, ["on-fill", *FILLS])
    for ink in inks:
        for ground in fills if rgb(ink) == on_fill else [rgb(card)]:
            assert contrast(rgb(ink), ground) >= 4.5, (ink, ground)


FILLS = [f"fill-{number}" for number in range(1, 6)]
SERIES = [f"series-{number}" for number in range(1, 7)]


def colours(page, names):
    style = "getComputedStyle(document.documentElement).getPropertyValue"
    return [rgb(page.evaluate(f"{style}('--{name}')")) for name in names]


def rgb(text):
    if "#" in text:
        return tuple(int(text.strip()[place : place + 2], 16) for place in (1, 3, 5))
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    red, green, blue = (linear(value) for value in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def linear(value):
    value /= 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


@of_one_sample
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("deficiency", ["none", "protanopia", "deuteranopia", "tritanopia"])
def test_colours_are_told_apart_with_any_colour_vision(browser, files, deficiency, scheme):
    """As Chromium simulates it. Hatches and marks differ too, for who sees no colours at all."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": 400, "height": 100})
    page = context.new_page()
    page.goto((files / records.PAGE_PATH.name).as_uri())
    page.evaluate(
        """names => { document.body.innerHTML = names.map((name, place) =>
            `<i style="position: fixed; top: 0; left: ${20 * place}px; width: 20px; height: 20px;
            background: var(--${name})"></i>`).join("") }""",
        [*FILLS, *SERIES],
    )
    context.new_cdp_session(page).send("Emulation.setEmulatedVisionDeficiency", {"type": deficiency})
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()
    seen = {name: lab(shot.getpixel((20 * place + 10, 10))) for place, name in enumerate([*FILLS, *SERIES])}
    for names in (FILLS, SERIES):
        for one, other in itertools.combinations(names, 2):
            assert math.dist(seen[one], seen[other]) > 10, (one, other)  # 2.3 is just to be seen


def lab(colour):
    """CIELAB, in which distances are about what is seen."""
    red, green, blue = (linear(value) for value in colour)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    x, y, z = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 4 / 29 for value in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_the_keyboard_reaches_all_in_the_order_of_the_page_and_shows_where_it_is(visit):
    page = visit()
    wanted = page.eval_on_selector_all("a, summary, [tabindex]", "all => all.map(each => each.textContent)")
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        text, style, width = page.evaluate(
            """() => { const each = document.activeElement, style = getComputedStyle(each)
            return [each.textContent, style.outlineStyle, parseFloat(style.outlineWidth)] }"""
        )
        assert style != "none" and width >= 2, text
        reached.append(text)
    assert reached == wanted


@pytest.mark.parametrize("width", [320, 768, 1280])
def test_nothing_is_cut_off_and_nothing_scrolls_sideways(see, width):
    page = see(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = page.eval_on_selector_all("body *:not(.sr):not(thead *):not(thead)", BOXES)
    assert [text[:60] for text, left, _, right, _ in boxes if right > width + 1 or left < -1] == []


@pytest.mark.parametrize(("width", "kind"), [(320, "narrow"), (1280, "wide")])
def test_no_text_of_a_drawing_lies_on_another(see, width, kind):
    page = see(width)
    for drawing in ("forest", "times", "split", "curves"):
        boxes = page.eval_on_selector_all(f"svg[aria-labelledby={drawing}-{kind}-title] text", BOXES)
        overlapping = [
            (drawing, one[0], other[0])
            for place, one in enumerate(boxes)
            for other in boxes[:place]
            if min(one[3], other[3]) - max(one[1], other[1]) > 1 and min(one[4], other[4]) - max(one[2], other[2]) > 4
        ]
        assert overlapping == []


@of_one_sample
def test_the_machine_is_shown_with_its_limits_what_the_provider_states_and_whether_that_agrees(see):
    rows = see().eval_on_selector_all(
        "#machine tbody tr", "all => all.map(each => [...each.children].map(cell => cell.textContent))"
    )
    found = {name: tuple(rest) for name, *rest in rows}
    assert found["CPUs"] == ("2", "-", "4", "differs: 2 found")
    assert found["memory"] == ("8 GiB", "-", "8 GB", "differs: 7% more found; as 8 GiB it would agree")
    assert found["GPU"] == (results.NO_GPU, "-", "-", "-")
    assert found["caches"] == ("L1 data 1 x 32 KiB; L3 unified 1 x 16 MiB",)
    assert found["base clock"] == ("unknown: no cpufreq",)
    (product,) = (rest for name, rest in found.items() if name.startswith("matrix product"))
    assert product[0] == "115 Gflop/s ± 3 Gflop/s"
    assert found["open of shards"][0] == "1234 files/s ± 12 files/s"


def test_a_drawing_is_called_by_a_name_and_every_id_is_one_of_a_kind(see):
    page = see()
    ids = page.eval_on_selector_all("[id]", "all => all.map(each => each.id)")
    assert len(ids) == len(set(ids))
    named = page.eval_on_selector_all(
        "svg", "all => all.map(each => [each.getAttribute('role'), !!each.querySelector('title').textContent])"
    )
    assert all(each == ["img", True] for each in named)


def test_it_prints_light_with_all_tables_and_without_what_only_a_screen_needs(visit):
    page = visit(color_scheme="dark")
    page.evaluate(OPEN_ALL.replace("true", "false"))
    page.emulate_media(media="print", color_scheme="dark")
    heights = page.eval_on_selector_all("table", "all => all.map(each => each.getBoundingClientRect().height)")
    assert min(heights) > 0 and all(page.eval_on_selector_all("table", VISIBLE))
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == "rgb(255, 255, 255)"
    assert not page.is_visible("nav")


def test_names_and_sentences_of_a_record_are_text_and_nothing_else(browser, tmp_path):
    (tmp_path / "page.html").write_text(pages.html(pages.hostile()))
    context = browser.new_context(bypass_csp=True)  # which would stop a script that got in
    page, asked = context.new_page(), []
    context.on("request", lambda request: asked.append(request.url))
    address = (tmp_path / "page.html").as_uri()
    page.goto(address, wait_until="networkidle")
    page.evaluate(OPEN_ALL)
    read, titles = page.inner_text("body"), page.eval_on_selector_all("svg title", "all => all.length")
    counts = page.evaluate("[document.images.length, document.scripts.length, document.title]")
    context.close()
    assert (asked, counts[:2]) == ([address], [0, 0]) and counts[2].startswith("Face-off of toy: ")
    assert read.count(pages.HOSTILE) > 30 and titles == 8
    settings = pages.hostile().settings
    assert all(pages.HOSTILE + each.setting in read for each in settings if each.facts)


def test_a_page_of_a_job_that_says_nothing_has_what_there_is_and_no_empty_section(browser, tmp_path):
    (tmp_path / "page.html").write_text(pages.html(comparisons.silent()))
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    headings = page.eval_on_selector_all("h2, #pictures h3", "all => all.map(each => each.textContent)")
    columns = page.eval_on_selector_all("#verdicts thead th", "all => all.map(each => each.textContent)")
    read = page.inner_text("body")
    page.close()
    assert headings == [
        "Verdicts", "Pictures", "How much, how sure", "Total time", "Metrics", "Why", "All runs", "Environments",
        "Machine", "Repeat it",
    ]  # fmt: skip
    assert columns == ["setting", "verdict", "ratio [95%]", "total time"]
    lacking = comparisons.silent().settings[0].not_given
    assert lacking and [read.count(each) for each in lacking] == [1] * len(lacking), "what all lack is said once"


def test_many_spans_are_stacked_as_the_longest_and_the_rest():
    plain = comparisons.pair()
    extra = {f"part{number}_seconds": comparisons.summary({"1": number / 10}) for number in range(1, 4)}
    settings = tuple(dataclasses.replace(each, metrics={**each.metrics, **extra}) for each in plain.settings)
    total = ("head", "part1", "body", "part2", "predict", "part3")
    parts = drawings.stacked(dataclasses.replace(plain, total=total, settings=settings))
    assert list(parts) == ["head", "body", "predict", "3 more spans"]
    assert parts["3 more spans"] == ["part1_seconds", "part2_seconds", "part3_seconds"]


def test_what_a_text_says_is_a_matter_of_its_digits():
    assert says(formatting.seconds(12.34), 12.34) and says(formatting.seconds(677), 677.2) and says("92.7%", 0.9271)
    assert not says("12.4 s", 12.34) and not says("11:17", 678) and not says("92.8%", 0.9271)
