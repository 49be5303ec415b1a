"""The example of docs/your-own-code.md: a network, a loss, a data set and a measure of one's own."""

import json
import os
import re
import sys

import pytest

from conftest import TINY
from gan_augment.options import CONF
from gan_augment.synthesize import main as synthesize

PAGE = (CONF.parent / "docs" / "your-own-code.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w/]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
COMMAND = next(line for line in PAGE.splitlines() if line.startswith("gan-augment -m "))


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Write the files of the page, and go there."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as PYTHONPATH=. does
    monkeypatch.setenv("GAN_AUGMENT_PLUGINS", "")
    yield tmp_path
    sys.modules.pop("my_package", None)


def test_the_page_has_a_file_of_each_kind():
    assert sorted(FILES) == [
        *("my_conf/classifier/linear.yaml", "my_conf/data/stripes.yaml", "my_conf/loss/logistic.yaml"),
        *("my_conf/measures/brightness.yaml", "my_package/__init__.py"),
    ]


def test_the_example_runs_in_workers_and_is_refused_without_its_name(cli, example, monkeypatch):
    command = [word.strip("'") for word in COMMAND.split()[1:] if "seed" not in word]
    tiny = [one for one in TINY if not any(name in one for name in ("judge", "classifier.network"))]
    workers = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1")
    monkeypatch.setenv("PYTHONPATH", f"{example}:{CONF.parent / 'src'}")
    ended = cli(*command, "classifier.num_steps=20", "seed=0", *tiny, *workers)
    assert ended.code == 0, ended.err
    records = [json.loads(path.read_text()) for path in example.glob("outputs/studies/*/trials/*/record.json")]
    assert {record["status"] for record in records} == {"ok"}
    hashes = {tuple(record["provenance"]["plugins"].items()) for record in records}
    assert [[name for name, _ in one] for one in hashes] == [["my_package"]]
    (of_gan,) = [record for record in records if record["factors"]["augmentation"] == "gan"]
    assert 0 < of_gan["metrics"]["gan"]["brightness"] < 1
    assert of_gan["factors"]["loss.factor"] == 0.5

    monkeypatch.setenv("GAN_AUGMENT_PLUGINS", "")
    ended = cli(*[word for word in command if "plugins" not in word], "seed=0", *tiny)
    assert ended.code == 1
    assert "_target_=my_package." in ended.err
    assert "plugins=[my_package]" in ended.err
    assert "Traceback" not in ended.err


def test_the_command_that_makes_images_takes_plugins_too(example, capsys):
    for plugins, message in [
        ("[nowhere]", "plugins=[nowhere] cannot be imported "),
        ("[my_package]", "generator=x: not f"),
    ]:
        with pytest.raises(SystemExit):
            synthesize(["generator=x", "out=y", f"plugins={plugins}"])
        assert f"gan-augment-synthesize: {message}" in capsys.readouterr().err
    assert os.environ["GAN_AUGMENT_PLUGINS"] == "my_package"
