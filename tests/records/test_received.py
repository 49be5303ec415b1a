import csv
import io
from types import SimpleNamespace

import pytest

from gan_augment.errors import show_error
from gan_augment.plan import Trial
from gan_augment.records.received import cell, markdown, plain_values, printable


@pytest.mark.parametrize(
    "odd",
    [
        *"\x00\x07\x08\x1b\x7f\x9b",
        *"\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
        *"\u200b\u2060\ufeff\u00ad\ud800\U000e0041",
    ],
    ids=ascii,
)
def test_characters_that_act_or_hide_are_left_out(odd):
    assert printable(f"a{odd}b") == "ab"


@pytest.mark.parametrize(
    "text", ["größe 猫", "e\u0301", "\u0645\u06cc\u200c\u0631", "👩\u200d👩\u200d👧", "a  b", "100 %", "√2 ≤ x"]
)
def test_texts_of_all_scripts_stay_as_they_are(text):
    assert printable(text) == text


@pytest.mark.parametrize("between", ["\n", "\r", "\t", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"], ids=ascii)
def test_lines_become_one(between):
    assert printable(f"a{between}b") == "a b"


@pytest.mark.parametrize(
    "start",
    ["=", "+", "-", "@", "\t=", "\r=", " =", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\x00=", "\u200b="],
    ids=ascii,
)
def test_no_cell_is_a_formula_to_a_spreadsheet(start):
    file = io.StringIO()
    csv.writer(file).writerow([cell(f'{start}HYPERLINK("http://x","y")')])
    (row,) = csv.reader(io.StringIO(file.getvalue()))
    assert row[0].startswith("'")
    assert "HYPERLINK" in row[0]


@pytest.mark.parametrize("value", ["cat", "a=b", "1-2", "", -1.5, -3, None, True, float("-inf")])
def test_other_cells_stay_as_they_are(value):
    assert cell(value) is value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a & b", "a &amp; b"),
        ("[x](javascript:1)", r"\[x\](javascript:1)"),
        ("![x](http://y)", r"!\[x\](http\://y)"),
        ("http://x www.x.com a@b.c", r"http\://x www\.x.com a\@b.c"),
        ("a|b\n| c", r"a\|b \| c"),
        ("`rm` *b* _i_ ~s~", r"\`rm\` \*b\* \_i\_ \~s\~"),
        ("\\|", r"\\\|"),
        ([3, 4], "3, 4"),
        (12.5, "12.5"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text, shown):
    assert markdown(text) == shown


def test_values_are_plain_not_too_deep_and_not_too_many():
    assert plain_values({"a\x1b": ("b\n", [1, 2.5, None, True])}) == {"a": ["b ", [1, 2.5, None, True]]}
    nested = []
    for _ in range(40):
        nested = [nested]
    for value, said in ((nested, "deeper than 32"), (10**20, "huge"), ({1}, "of type set"), ([0] * 9, "more than 5")):
        with pytest.raises(ValueError, match=said):
            plain_values(value, most=5 if value == [0] * 9 else 1000)


def test_an_error_is_printed_without_what_acts_on_a_terminal(capsys, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    show_error(ValueError, ValueError("class 'a\x1b[2J\u202e' has no images\nadd some"), None)
    assert capsys.readouterr().err == "gan-augment: class 'a[2J' has no images add some\n"


def test_an_error_is_one_line_or_a_head_and_a_list(capsys, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    show_error(ValueError, ValueError("labels=a\nb: use a number:\nsuch as 5"), None)
    assert capsys.readouterr().err == "gan-augment: labels=a b: use a number: such as 5\n"
    show_error(ValueError, ValueError("2 problems:\nline 1: a\x1b\nline 2: b"), None)
    assert capsys.readouterr().err == "gan-augment: 2 problems:\nline 1: a\nline 2: b\n"


def test_notes_are_printed_without_what_acts_on_a_terminal():
    parts = {"source": SimpleNamespace(notes=["class a\x1b[2J"]), "config": SimpleNamespace(measures={})}
    trial = SimpleNamespace(**parts, origins=("class b\u202e",), split=SimpleNamespace(notes=()), stages={}, needed={})
    assert Trial.__dict__["notes"].func(trial) == ("class a[2J", "class b")
