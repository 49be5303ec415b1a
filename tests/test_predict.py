import csv
import json
import shutil
import signal
from dataclasses import replace
from functools import partial

import pytest
import torch
from PIL import Image

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.data.image_set import ImageShape
from gan_augment.plan import plan_trial
from gan_augment.predict import main, of_folder
from gan_augment.stages import StageStore
from test_own_images import fill, photograph

CLASSES = ("=ant", "bee", "cat")


@pytest.fixture(scope="module")
def trained(plain_settings, tmp_path_factory):
    """Train a classifier on a folder; return its plan and the folder with its checkpoint."""
    root = tmp_path_factory.mktemp("predict")
    photos = fill(root / "photos", CLASSES)
    of_data = ("data=image_folder", f"data.root={photos}", "data.fit=crop", "data.background=white")
    settings = plain_settings("augmentation=none", *of_data, f"data.cache={root / 'cache'}", "classifier.num_steps=60")
    planned = plan_trial(settings)
    store = StageStore(root / "store")
    trial = root / "trial"
    trial.mkdir()
    stage = planned.stages["classifier"]
    shutil.copy(stage.checkpoint(store.fetch(stage).folder), trial / "classifier.pt")
    return planned, trial


@pytest.fixture
def said(commanded):
    return partial(commanded, main, "num_threads=1")


def test_files_get_the_probabilities_that_their_images_have_in_the_trial(trained, said, tmp_path):
    planned, trial = trained
    out = tmp_path / "predictions.csv"
    photos = planned.config.source["root"]
    assert said(f"trial={trial}", f"images={photos}", f"out={out}") == (0, f"36 images: {out}\n")
    header, *rows = csv.reader(out.read_text().splitlines())
    assert header == ["file", "predicted", "p(=ant)", "p(bee)", "p(cat)"]
    classifier = TrainedClassifier.load(trial / "classifier.pt", torch.device("cpu"))
    expected = classifier.probabilities(planned.source.images)
    assert [row[0] for row in rows] == ["'" + name if name[0] == "=" else name for name in planned.source.names]
    assert [[*map(float, row[2:])] for row in rows] == [pytest.approx(one, abs=1e-5) for one in expected.tolist()]
    names = ["'=ant", *CLASSES[1:]]
    assert [row[1] for row in rows] == [names[label] for label in expected.argmax(dim=1).tolist()]


def test_the_checkpoint_says_how_files_are_read(trained, tmp_path):
    _, trial = trained
    classifier = TrainedClassifier.load(trial / "classifier.pt", torch.device("cpu"))
    assert classifier.decoding == {"fit": "crop", "white": None, "background": "white"}
    wide = photograph(1, 5, (90, 30))
    wide.save(tmp_path / "wide.png")
    wide.crop((30, 0, 60, 30)).save(tmp_path / "middle.png")
    files, (middle, whole) = of_folder(classifier, tmp_path)
    assert files == ["middle.png", "wide.png"]
    assert torch.allclose(middle, whole, atol=1e-5)


def test_a_trial_reads_files_in_its_own_way_even_if_it_shares_the_classifier_of_another(
    trained, plain_settings, said, tmp_path
):
    planned, trial = trained
    clear = photograph(1, 5)
    clear.putalpha(60)
    (tmp_path / "images").mkdir()
    clear.save(tmp_path / "images" / "clear.png")
    other = tmp_path / "other"
    shutil.copytree(trial, other)
    source = planned.config.source
    of_data = ("data=image_folder", f"data.root={source['root']}", "data.fit=crop", "data.background=red")
    cache = f"data.cache={source['cache']}"
    plan = plan_trial(plain_settings("augmentation=none", *of_data, cache, "classifier.num_steps=60"))
    assert plan.stages["classifier"].key == planned.stages["classifier"].key
    record = {"schema": "1.0", "status": "ok", "factors": plan.factors, "metrics": {}, "provenance": {}}

    def read(named):
        out = tmp_path / "predictions.csv"
        out.unlink(missing_ok=True)
        assert said(f"trial={named}", f"images={tmp_path / 'images'}", f"out={out}")[0] == 0
        return [*map(float, out.read_text().splitlines()[1].split(",")[2:])]

    (other / "record.json").write_text(json.dumps(record))
    classifier = TrainedClassifier.load(trial / "classifier.pt", torch.device("cpu"))
    ways = {one: {"fit": "crop", "white": None, "background": one} for one in ("white", "red")}
    white, red = (of_folder(replace(classifier, decoding=way), tmp_path / "images")[1][0] for way in ways.values())
    assert abs(white - red).max() > 1e-3
    assert read(other) == pytest.approx(red.tolist(), abs=1e-5)
    assert read(other / "classifier.pt") == pytest.approx(white.tolist(), abs=1e-5)

    record["factors"] |= {"data.white": "bright"}
    (other / "record.json").write_text(json.dumps(record))
    code, text = said(f"trial={other}", f"images={tmp_path / 'images'}", f"out={tmp_path / 'no.csv'}")
    assert (code, text.count("\n")) == (1, 1)
    assert "data.white=bright is not a number of at least 0 or null" in text


def test_it_refuses_in_one_line(trained, said, tmp_path):
    _, trial = trained
    images = tmp_path / "images"
    (images / "deep").mkdir(parents=True)
    photograph().save(images / "deep" / "a.png")
    (images / "b.png").write_bytes(b"\x1b[31m no image")

    def refusal(*arguments):
        code, text = said(*arguments)
        assert (code, text.count("\n")) == (1, 1)
        assert "\x1b" not in text
        return text

    both = (f"trial={trial}", f"images={images}", f"out={tmp_path / 'out.csv'}")
    assert "1 file cannot be read: b.png (not an image that Pillow can read); set skip_broken=true" in refusal(*both)
    assert said(*both, "skip_broken=true") == (0, f"1 images: {tmp_path / 'out.csv'}\n")
    assert "out.csv: it exists: name another file" in refusal(*both)
    new = f"out={tmp_path / 'new.csv'}"
    assert "images must be set: folder of images, at any depth" in refusal(f"trial={trial}", new)
    assert "no option imges: use trial, images, out," in refusal(f"trial={trial}", f"imges={images}")
    assert "there is no classifier.pt in this folder" in refusal(f"trial={images}", f"images={images}", new)
    assert "not found: name a folder" in refusal(f"trial={trial}", f"images={tmp_path / 'no'}", new)
    assert "skip_broken=1: use true or false" in refusal(*both[:2], new, "skip_broken=1")
    (tmp_path / "empty").mkdir()
    assert "there is no image in it" in refusal(f"trial={trial}", f"images={tmp_path / 'empty'}", new)
    (tmp_path / "empty" / "link").symlink_to(trial)
    assert "set follow_links=true to allow this" in refusal(f"trial={trial}", f"images={tmp_path / 'empty'}", new)
    assert not (tmp_path / "new.csv").exists()


def test_a_checkpoint_that_does_not_say_how_to_read_files_is_refused(trained, said, tmp_path):
    _, trial = trained
    content = torch.load(trial / "classifier.pt", weights_only=True)
    for decoding, words in (
        (None, "an earlier version made it: train again"),
        ({"fit": "x"}, "data.fit=x: use one of"),
    ):
        content["about"].pop("decoding", None)
        content["about"] |= {} if decoding is None else {"decoding": decoding}
        torch.save(content, tmp_path / "old.pt")
        Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
        code, text = said(f"trial={tmp_path / 'old.pt'}", f"images={tmp_path}", f"out={tmp_path / 'out.csv'}")
        assert (code, text.count("\n")) == (1, 1)
        assert words in text


@pytest.mark.parametrize(("channels", "side"), [(3, 5000), (4, 32), (2, 1)])
def test_a_checkpoint_cannot_ask_for_any_shape(trained, tmp_path, channels, side):
    _, trial = trained
    classifier = TrainedClassifier.load(trial / "classifier.pt", torch.device("cpu"))
    photograph().save(tmp_path / "a.png")
    words = rf"^the classifier takes {side}x{side} pixels of {channels} channels, but files are read as squares of up"
    with pytest.raises(ValueError, match=words):
        of_folder(replace(classifier, shape=ImageShape(channels, side, side)), tmp_path)


def test_a_checkpoint_cannot_ask_for_any_number_of_images_at_a_time(trained, tmp_path):
    _, trial = trained
    classifier = TrainedClassifier.load(trial / "classifier.pt", torch.device("cpu"))
    for number in range(33):
        photograph(1, number).save(tmp_path / f"{number}.png")
    sizes = []
    classifier.network.register_forward_pre_hook(lambda network, images: sizes.append(len(images[0])))
    of_folder(replace(classifier, batch_size=10**9), tmp_path)
    assert sizes == [32, 1]


def test_a_signal_ends_it_as_it_ends_every_command(trained, said, tmp_path, monkeypatch):
    _, trial = trained

    def interrupted(*_):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("gan_augment.predict.of_folder", interrupted)
    code, text = said(f"trial={trial}", f"images={tmp_path}", f"out={tmp_path / 'out.csv'}")
    assert (code, text) == (143, "gan-augment-predict: terminated; run the same command again to go on\n")
    assert not (tmp_path / "out.csv").exists()
