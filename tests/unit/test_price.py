"""provider.price of params.yaml: a price as somebody has read it, or one line."""

import pytest

from stages.codec import RecordError
from stages.harness.params import schema
from tests import sites


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return sites.make_project(tmp_path_factory.mktemp("price") / "project")


def priced(folder, text):
    plain = (folder / "params.yaml").read_text()
    return schema.parse(
        plain.replace("  gpu: null\n", f"  gpu: null\n  price: {text}\n"), "params.yaml", folder
    ).provider


GOOD = "{amount: 0.36, currency: USD, per: hour, source: https://cloud.example/prices, on: '2026-11-27'}"


@pytest.mark.parametrize("text", [GOOD, GOOD.replace("on:", "'on':")])
def test_a_price_is_what_it_says_though_yaml_takes_on_for_true(folder, text):
    price = priced(folder, text).price
    assert price == schema.PriceParams(0.36, "USD", "hour", "https://cloud.example/prices", "2026-11-27")
    assert price.per_second == pytest.approx(0.0001)


def test_no_price_is_none_and_needs_no_key(folder):
    assert schema.load(folder).provider.price is None and priced(folder, "null").price is None


@pytest.mark.parametrize(
    ("was", "now", "problem"),
    [
        (" currency: USD,", "", "provider.price: key 'currency' is missing"),
        ("USD", "$", "provider.price.currency: expected its three letters, e.g. USD or EUR, found '$'"),
        ("USD", "null", "provider.price.currency: expected text"),
        ("0.36", "-1", "provider.price.amount: expected 0 or more, found -1"),
        ("0.36", "0.36 USD", "provider.price.amount: expected a finite number"),
        ("hour", "fortnight", "provider.price.per: expected one of second, minute, hour, day, found 'fortnight'"),
        ("https://cloud.example/prices", '" "', "provider.price.source: expected the address of the page"),
        ("2026-11-27", "yesterday", "provider.price.on: expected the day on which it was read, e.g. 2026-11-27"),
        ("'2026-11-27'", "2026-11-27", 'provider.price.on: put it in quotes: "2026-11-27"; DVC takes no date'),
        ("'2026-11-27'", "20261127", "provider.price.on: expected text"),
        (" on:", " at:", "provider.price: unknown key 'at'"),
    ],
)
def test_what_is_no_price_is_one_line_that_names_the_key(folder, was, now, problem):
    with pytest.raises(RecordError) as caught:
        priced(folder, GOOD.replace(was, now))
    assert f"params.yaml: {problem}" in str(caught.value) and "\n" not in str(caught.value)
