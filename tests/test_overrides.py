import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from gan_augment.overrides import check_overrides


def refused(*arguments):
    with pytest.raises(ValueError, match=r".") as error:
        check_overrides(arguments)
    return str(error.value)


def value_of(setting):
    (override,) = OverridesParser.create().parse_overrides([setting])
    return override.value()


PATHS = [
    "a=b",
    "a#b",
    "é",
    "日本",
    "a(1)",
    "{a}",
    "[a]/b",
    "it's",
    'a"b',
    "a&b",
    "a!b",
    "a;b",
    "~/x",
    "a=b, c",
    "ü\\x(",
    "²",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_value_that_needs_quotes_is_named_with_them(path):
    setting = f"data.root=/tmp/{path}"
    said = refused("-m", setting, "seed=0,1")
    assert said.startswith(f"{setting} contains characters that need quotes")
    (remedy,) = shlex.split(said.split("quote it for Hydra and the shell: ")[1])  # as the shell takes it
    check_overrides([remedy])
    assert value_of(remedy) == f"/tmp/{path}"


def test_words_of_a_list_are_quoted_one_by_one():
    (remedy,) = shlex.split(refused("imbalance.classes=[a#1, b, größe]").split("shell: ")[1])
    assert value_of(remedy) == ["a#1", "b", "größe"]


def test_several_values_need_a_study_or_quotes():
    said = refused("data.root=/tmp/a,b")
    assert said.startswith(
        "data.root=/tmp/a,b has several values: add -m for a study of all; or, if it is one, quote it"
    )
    (remedy,) = shlex.split(said.split("shell: ")[1])
    assert value_of(remedy) == "/tmp/a,b"
    check_overrides(["-m", "data.root=/tmp/a,b"])
    check_overrides(["hydra.mode=MULTIRUN", "data.root=/tmp/a,b"])


def test_what_is_no_setting_is_named():
    assert refused("experiment") == "experiment is not a setting: use name=value, such as seed=0"
    assert refused("a b#=c").startswith("a b#=c cannot be read: use name=value")
    check_overrides(["--cfg", "job", "+a=1", "~b", "experiment=digits"])
    check_overrides(["-m", "seed=range(0,6)", "x=[1,{a: b}]", "y=", "~data.root=3", "study='a=b'"])


def test_the_command_says_so_in_one_line(cli):
    ended = cli("data=image_folder", "data.root=/tmp/größe")
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert ended.err.startswith("gan-augment: data.root=/tmp/größe contains characters that need quotes: ")
