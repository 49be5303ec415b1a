import csv
import json
import shutil
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision.datasets import ImageFolder

from gan_augment.artefacts.classifier import TrainedClassifier
from gan_augment.artefacts.generator import latent_seed
from gan_augment.artefacts.split_file import write_split
from gan_augment.plan import plan_trial
from gan_augment.stages import StageStore
from gan_augment.synthesize import main
from gan_augment.trial import run_trial


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trial's folder, its store beside it."""
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig

    from conftest import TINY
    from gan_augment.app import CONF
    from gan_augment.job import plain
    from gan_augment.records.record import write_json

    root = tmp_path_factory.mktemp("outputs")
    with initialize_config_dir(str(CONF)):
        overrides = [*TINY, "augmentation=gan", "labels=6", "imbalance.classes=[3]", "imbalance.share=0.5"]
        config = compose("config", overrides=overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    trial = root / "trial"
    trial.mkdir()
    planned = plan_trial(plain(config))
    record = run_trial(planned, trial, StageStore(root / "store"), "trial")
    write_json(record, trial / "record.json")
    write_split(planned.config, trial)
    return trial


@pytest.fixture
def said(commanded):
    return partial(commanded, main, "num_threads=1")


def in_turns(self, images):
    """A teacher that sees every class, also where a generator of a few steps does not make it."""
    return torch.eye(10)[torch.arange(len(images)) % 10]


def manifest(out):
    with (out / "manifest.csv").open(newline="") as text:
        return list(csv.DictReader(text))


def pixels(out, row):
    return np.array(Image.open(out / row["file"]))


def test_a_folder_of_images_that_torchvision_reads(said, folder, tmp_path):
    out = tmp_path / "made"
    assert said(f"generator={folder}", "per_class=7", f"out={out}") == (0, f"70 images: {out}\n")
    found = ImageFolder(str(out))
    assert found.classes == list("0123456789")
    assert np.bincount(found.targets).tolist() == [7] * 10
    rows = manifest(out)
    assert len(rows) == 70
    for row in rows:
        assert int(row["latent_seed"]) == latent_seed(0, int(row["label"]), int(row["number"]))
        text = json.loads(Image.open(out / row["file"]).text["gan-augment-synthetic"])
        assert (text["label"], text["checkpoint"]) == (row["label"], row["checkpoint"])
        assert text["latent_seed"] == int(row["latent_seed"])


@pytest.mark.parametrize(
    "options",
    [(), ("truncation=0.7", "seed=5"), ("latent_scale=1.5", "seed=5"), ("selection=confident", "threshold=0.9")],
)
def test_every_image_can_be_made_again_bit_for_bit(said, folder, tmp_path, options, monkeypatch):
    monkeypatch.setattr(TrainedClassifier, "probabilities", in_turns)
    out = tmp_path / "made"
    code, text = said(f"generator={folder}", "per_class=3", f"out={out}", *options)
    assert (code, text) == (0, f"30 images: {out}\n")
    again = f"30 images of {out} are reproduced bit for bit\n"
    assert said(f"generator={folder}", f"check={out}") == (0, again)
    first = manifest(out)[17]["file"]
    changed = np.array(Image.open(out / first))
    changed[3, 4] ^= 1
    Image.fromarray(changed).save(out / first)
    code, text = said(f"generator={folder}", f"check={out}")
    assert code == 1
    assert f"1 of 30 images of {out} differ, the first is {first}" in text


def test_images_are_those_of_the_trial_s_own_set(said, folder, tmp_path):
    from gan_augment.artefacts.synthetic_set import SyntheticSet

    out = tmp_path / "made"
    said(f"generator={folder}", "per_class=8", f"out={out}")
    store = folder.parent / "store" / "synthesis"
    (stage,) = [path for path in store.iterdir() if path.is_dir()]
    own = SyntheticSet.read(stage, list("0123456789")).images
    for row, image in zip(manifest(out), own.images, strict=True):
        assert np.array_equal(pixels(out, row), image[0].numpy())


def test_an_npz_with_the_same_images(said, folder, tmp_path):
    out, file = tmp_path / "made", tmp_path / "made.npz"
    for path in (out, file):
        assert said(f"generator={folder}", "per_class=3", f"out={path}")[0] == 0
    with np.load(file, allow_pickle=False) as stored:
        assert stored["labels"].tolist() == [label for label in "0123456789" for _ in range(3)]
        for row, image in zip(manifest(out), stored["images"], strict=True):
            assert np.array_equal(pixels(out, row), image[0])
    assert said(f"generator={folder}", f"check={file}")[0] == 0


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [("balanced", [9] * 10), ("top_up", [3, 3, 3, 6, 3, 3, 3, 3, 3, 3])],
)
def test_quotas_are_exact(said, folder, tmp_path, quotas, expected):
    out = tmp_path / "made"
    assert said(f"generator={folder}", "per_class=9", f"quotas={quotas}", f"out={out}")[0] == 0
    assert np.bincount(ImageFolder(str(out)).targets).tolist() == expected


def test_a_card_says_what_the_images_are(said, folder, tmp_path):
    out = tmp_path / "made"
    said(f"generator={folder}", "per_class=2", f"out={out}", "licence=cc-by-4.0")
    record = json.loads((folder / "record.json").read_text())
    front = yaml.safe_load((out / "data_card.md").read_text().split("---")[1])
    card = front["gan_augment"]["card"]
    assert front["license"] == "cc-by-4.0"
    assert card["synthetic"] is True
    assert card["trained on"]["split"] == record["provenance"]["split"]
    assert card["trained on"]["licence of the data"] == record["provenance"]["licence"] == "CC BY 4.0"
    assert card["trained on"]["labelled images"] == record["saw"]["labelled"] == 57
    assert card["metrics"]["label_agreement"] == record["metrics"]["gan"]["label_agreement"]
    assert card["generator"]["checkpoint"] == manifest(out)[0]["checkpoint"]


def test_a_card_says_how_many_images_without_labels_the_gan_saw_and_who_labelled_them(
    said, plain_settings, folder, tmp_path
):
    from gan_augment.records.record import write_json

    card = _card(said, folder, tmp_path / "plain")
    assert card["trained on"]["images without labels"] == 0
    assert "their labels are those of" not in card["trained on"]
    trial = tmp_path / "trial"
    trial.mkdir()
    settings = plain_settings("augmentation=gan_pool", "pseudo_labels.threshold=0.11")
    record = run_trial(plan_trial(settings), trial, StageStore(tmp_path / "store"), "trial")
    write_json(record, trial / "record.json")
    trained_on = _card(said, trial, tmp_path / "pool")["trained on"]
    assert 0 < trained_on["images without labels"] == record["metrics"]["pseudo_labels"]["images"]
    assert trained_on["their labels are those of"] == "semi_supervised, where its probability is at least 0.11"


def _card(said, folder, out):
    assert said(f"generator={folder}", "per_class=2", f"out={out}")[0] == 0
    return yaml.safe_load((out / "data_card.md").read_text().split("---")[1])["gan_augment"]["card"]


@pytest.mark.parametrize("where", ["stage", "checkpoint", "of a trial", "copy", "copied trial"])
def test_a_generator_is_found_by_trial_stage_or_file(said, folder, tmp_path, where):
    (checkpoint,) = (folder.parent / "store" / "gan").glob("*/weights.pt")
    places = {
        "stage": checkpoint.parent,
        "checkpoint": checkpoint,
        "of a trial": folder / "gan.pt",
        "copy": tmp_path / "a.pt",
        "copied trial": shutil.copytree(folder, tmp_path / "elsewhere", symlinks=True),
    }
    shutil.copy(checkpoint, places["copy"])
    by_trial, other = tmp_path / "trial", tmp_path / "other"
    for generator, out in ((folder, by_trial), (places[where], other)):
        assert said(f"generator={generator}", "per_class=2", f"out={out}")[0] == 0
    assert (other / "manifest.csv").read_bytes() == (by_trial / "manifest.csv").read_bytes()
    card = yaml.safe_load((other / "data_card.md").read_text().split("---")[1])["gan_augment"]["card"]
    assert card["trained on"]["split"].startswith("unknown") == (where not in ("of a trial", "copied trial"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["out={tmp}/x", "per_class=0"], "per_class=0: use a whole number of at least 1"),
        (["out={tmp}/x", "colour=1"], "no option colour: use generator, out, check, per_class"),
        (["out={tmp}/x", "balanced"], "balanced: write option=value"),
        ([], "use either out=FOLDER or out=FILE.npz"),
        (["out={tmp}/x", "check={tmp}/y"], "or check=..., to check a written set"),
        (["check={tmp}/x"], "x is not a synthetic set written by this program"),
        (["out={tmp}"], "exists and is not empty: name another folder; nothing was written"),
        (["out={tmp}/x", "selection=confident"], "set threshold, such as 0.9"),
        (["out={tmp}/x", "teacher={tmp}/t.pt"], "but selection=all takes every image: set selection=confident"),
        (["check={tmp}/x", "per_class=3"], "per_class cannot be combined with check=...: its value is in the manifest"),
        (["out={tmp}/x", "num_threads=0"], ": num_threads=0: use a whole number of at least 1"),
        (["out={tmp}/x", "per_class=["], "per_class=[ cannot be read: use a number or a word"),
        (["out={tmp}/file/x"], "file/x cannot be written: name a writable folder"),
        (["out={tmp}/x", "seed=-1"], "seed=-1: use a whole number of at least 0"),
        (
            ["out={tmp}/x", "generator={tmp}/none"],
            "not found: name the folder of a trial or gan stage, or a checkpoint",
        ),
        (["out={tmp}/x", "generator={tmp}"], "there is no trial and no stage of a GAN"),
        (["out={tmp}/x", "generator={tmp}/file"], "file cannot be read as a checkpoint of tensors and plain values"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_in_a_line_and_nothing_is_written(said, folder, tmp_path, options, message):
    (tmp_path / "file").write_text("no checkpoint")
    code, text = said(f"generator={folder}", *(option.format(tmp=tmp_path) for option in options))
    assert code == 1
    assert text.startswith("gan-augment-synthesize: ")
    assert message in text
    assert text.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_names_are_taken_as_they_are_written(said, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("007", "on", "1e3"):
        assert said(f"generator={folder}", "per_class=1", f"out={name}")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["007", "1e3", "on"]


def test_a_manifest_of_others_is_refused(said, folder, tmp_path):
    for name, text in (("empty", "file,label\n"), ("foreign", "file,label\na.png,cat\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.csv").write_text(text)
        Image.new("L", (8, 8)).save(tmp_path / name / "a.png")
        code, text = said(f"generator={folder}", f"check={tmp_path / name}")
        assert code == 1
        assert "has a manifest without rows, or without the columns checkpoint, generator_label, seed" in text


def test_another_checkpoint_in_a_trial_s_folder_does_not_get_its_record(said, folder, tmp_path):
    other = tmp_path / "trial"
    shutil.copytree(folder, other)
    weights = torch.load(folder / "gan.pt", weights_only=True)
    weights["about"]["seed"] = 99
    torch.save(weights, other / "other.pt")
    assert said(f"generator={other / 'other.pt'}", "per_class=1", f"out={tmp_path / 'x'}")[0] == 0
    assert "named without its trial" in (tmp_path / "x" / "data_card.md").read_text()


def test_a_damaged_generator_is_found_and_can_be_named_all_the_same(said, folder, tmp_path):
    trial = shutil.copytree(folder, tmp_path / "trial")
    content = bytearray((trial / "gan.pt").read_bytes())
    content[len(content) // 2] ^= 4  # among the weights
    (trial / "gan.pt").write_bytes(content)
    code, text = said(f"generator={trial}", "per_class=1", f"out={tmp_path / 'x'}")
    assert code == 1
    assert f"generator={trial}: gan.pt is not the file that record.json describes: it was damaged or replaced" in text
    assert not (tmp_path / "x").exists()
    assert said(f"generator={trial / 'gan.pt'}", "per_class=1", f"out={tmp_path / 'x'}")[0] == 0


def test_a_trial_of_an_earlier_version_that_was_copied_without_its_store_is_told(said, folder, tmp_path):
    trial = shutil.copytree(folder, tmp_path / "studies" / "trial")
    (trial / "gan.pt").rename(tmp_path / "weights.pt")
    (trial / "gan.pt").symlink_to("../../weights.pt")
    copy = shutil.copytree(trial, tmp_path / "elsewhere" / "trials" / "copy", symlinks=True)
    code, text = said(f"generator={copy}", "per_class=1", f"out={tmp_path / 'y'}")
    assert code == 1
    assert (
        f"generator={copy}: gan.pt is a link to ../../weights.pt, which is not there: copy the trial again and" in text
    )
    shutil.rmtree(copy)
    shutil.copytree(trial, copy)  # as cp -rL does
    assert said(f"generator={copy}", "per_class=1", f"out={tmp_path / 'y'}")[0] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_half_written_set(said, folder, tmp_path, monkeypatch, number, code):
    monkeypatch.setattr("gan_augment.artefacts.export._write_manifest", lambda *arguments: signal.raise_signal(number))
    ended, text = said(f"generator={folder}", "per_class=1", f"out={tmp_path / 'x'}")
    words = "interrupted" if number == signal.SIGINT else "terminated"
    assert (ended, text) == (code, f"gan-augment-synthesize: {words}; run the same command again to go on\n")
    assert [*tmp_path.iterdir()] == []


def test_a_classifier_is_no_generator(said, folder, tmp_path):
    code, text = said(f"generator={folder / 'teacher.pt'}", f"out={tmp_path / 'x'}")
    assert code == 1
    assert "is a checkpoint of kind 'classifier': one of kind 'gan' or 'generator' is needed" in text


def test_help_lists_every_option(said):
    code, text = said("--help")
    assert code == 0
    assert "gan-augment-synthesize generator=TRIAL per_class=500 out=FOLDER" in text
    assert all(f"{option}:" in text for option in ("generator", "quotas", "truncation", "selection", "licence"))


def test_an_unconditional_generator_and_its_teacher(said, plain_settings, tmp_path, monkeypatch):
    from gan_augment.records.record import write_json

    monkeypatch.setattr(TrainedClassifier, "probabilities", in_turns)
    trial = tmp_path / "trial"
    trial.mkdir()
    planned = plan_trial(plain_settings("augmentation=gan", "conditioning=none", "synthesis=confident"))
    write_json(run_trial(planned, trial, StageStore(tmp_path / "store"), "trial"), trial / "record.json")
    out = tmp_path / "made"
    options = ("per_class=3", "selection=confident", "threshold=0.9", f"out={out}")
    assert said(f"generator={trial}", *options) == (0, f"30 images: {out}\n")
    rows = manifest(out)
    assert {row["generator_label"] for row in rows} == {"0"}
    assert {row["teacher_probability"] for row in rows} == {"1.0"}
    assert [row["number"] for row in rows[:4]] == ["0", "10", "20", "1"]
    assert said(f"generator={trial}", f"check={out}")[0] == 0
    alone = tmp_path / "alone"
    assert said(f"generator={trial}", "per_class=3", f"out={alone}")[0] == 0
    assert ImageFolder(str(alone)).classes == ["any"]


def test_copies_are_refused_and_counted(said, folder, tmp_path, monkeypatch):
    from gan_augment.metrics.copies import Audit, Auditor

    def is_even(image):
        return image.sum(axis=(-2, -1)) % 2 == 0

    usual, out = tmp_path / "usual", tmp_path / "made"
    assert said(f"generator={folder}", "per_class=4", f"out={usual}")[0] == 0
    assert {row["copies_refused"] for row in manifest(usual)} == {""}
    assert "refused as copies of training images: not looked for" in (usual / "data_card.md").read_text()
    monkeypatch.setattr(Auditor, "attach", lambda self, images: images)
    monkeypatch.setattr(Auditor, "copies", lambda self, images, by_any: is_even(images)[:, 0])
    monkeypatch.setattr(Auditor, "audit", lambda self, images: Audit(None, None, 0.02, 0.5, 1, 50))
    monkeypatch.setattr(torch.Tensor, "at", torch.Tensor.__getitem__, raising=False)
    assert said(f"generator={folder}", "per_class=4", f"out={out}", "refuse_copies=true")[0] == 0
    rows = manifest(out)
    assert len(rows) == 40
    assert not any(is_even(pixels(out, row)) for row in rows)
    for label in map(str, range(10)):
        numbers = [int(row["number"]) for row in rows if row["label"] == label]
        assert numbers == sorted(numbers)
    (refused,) = {int(row["copies_refused"]) for row in rows}
    assert refused > 0
    card = (out / "data_card.md").read_text()
    assert f"refused as copies of training images: {refused}" in card
    assert "share of copies that would have been found: 2 %" in card
    assert said(f"generator={folder}", f"check={out}") == (0, f"40 images of {out} are reproduced bit for bit\n")


def test_an_audit_of_a_set_without_copies_says_nothing_of_other_images(said, folder, tmp_path):
    refusing = shutil.copytree(folder, tmp_path / "refusing")
    record = json.loads((refusing / "record.json").read_text())
    record["factors"]["synthesis.refuse_copies"] = True
    record["metrics"]["gan"] |= {"copies": {"named": 0, "share": 0.0}, "refused": {"copies": 123}}
    (refusing / "record.json").write_text(json.dumps(record))
    assert said(f"generator={refusing}", "per_class=2", f"out={tmp_path / 'made'}")[0] == 0
    card = (tmp_path / "made" / "data_card.md").read_text()
    assert "copies: of a set without copies" in card
    assert "named" not in card
    assert "123" not in card


def test_copies_are_refused_only_if_it_is_known_what_was_seen(said, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    record, split = (json.loads((other / f"{name}.json").read_text()) for name in ("record", "split"))

    def refused(*options, generator=other):
        code, text = said(f"generator={generator}", f"out={tmp_path / 'made'}", "refuse_copies=true", *options)
        assert code == 1
        assert text.count("\n") == 1
        assert not (tmp_path / "made").exists()
        return text

    def change(name, content):
        (other / f"{name}.json").write_text(json.dumps(content))

    alone = shutil.copy(folder / "gan.pt", tmp_path / "alone.pt")
    assert "name its folder" in refused(generator=alone)
    assert "images=photos, but the data of this trial are without" in refused("images=photos")
    code, text = said(f"generator={folder}", f"out={tmp_path / 'made'}", "images=photos")
    assert (code, "images=photos is only for refuse_copies=true" in text) == (1, True)
    change("record", record | {"provenance": record["provenance"] | {"split": "0" * 32}})
    assert "these are not the images of the trial" in refused()
    change("record", record)
    for source in (None, 5, "abc", {}, {"_target_": "os.system"}):
        change("split", split | {"source": source})
        refused()
    for settings in (None, 5, {}, {"seed": "x", "labels": 3}, {"seed": 0, "labels": 3, "more": 1}):
        change("split", split | {"split": settings})
        refused()
    change("split", split | {"files": ["root"]})
    assert "refuse_copies=true needs images=...: the file or folder that was data.root of the trial" in refused()
    change("split", split | {"split": split["split"] | {"labels": 5}})
    assert "these are not the images" in refused()
    (other / "split.json").unlink()
    assert "split.json is missing: run the trial's command again" in refused()


def test_a_generator_of_other_images_is_not_audited(said, folder, tmp_path, monkeypatch):
    from gan_augment.artefacts.generator import Generator

    load = Generator.load

    def of_others(path, device):
        generator = load(path, device)
        return replace(generator, about={**generator.about, "trained_on": "0"})

    monkeypatch.setattr(Generator, "load", of_others)
    code, text = said(f"generator={folder}", f"out={tmp_path / 'made'}", "refuse_copies=true")
    assert (code, "did not learn from the images of this trial" in text) == (1, True)
