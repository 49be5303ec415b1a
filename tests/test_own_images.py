"""A user's own images, through the command line."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from conftest import TINY
from gan_augment.data.marks import png_mark

CLASSES = ("ant", "bee", "cat")
GENERATOR = [setting for setting in TINY if not setting.startswith("classifier.")]  # without a classifier's settings


def photograph(label=0, seed=0, size=(40, 30)):
    """Make up a photograph: noise around a colour that tells the class."""
    random = np.random.default_rng([label, seed])
    colour = np.array([60, 130, 200])[[label % 3, (label + 1) % 3, (label // 3) % 3]]
    noise = random.integers(-40, 41, (size[1], size[0], 3))
    return Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8))


def fill(folder, classes=CLASSES, per_class=12, **kwargs):
    """Write photographs of some classes into a folder."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            photograph(label, number, **kwargs).save(folder / name / f"{number:03}.png")
    return folder


@pytest.fixture
def photos(tmp_path):
    return fill(tmp_path / "photos")


@pytest.fixture
def trial(cli, tmp_path):
    """Run one tiny trial on a folder."""

    def run(root, *arguments, data="image_folder", arm="none", tiny=TINY):
        where = f"data.root={root}" if data == "image_folder" else f"data.images={root}"
        return cli(
            *(*tiny, f"data={data}", where, "labels=5", "folds=null", f"augmentation={arm}"),
            *(f"paths.output_dir={tmp_path}/outputs", *arguments),
        )

    return run


def only_record(tmp_path):
    (path,) = (tmp_path / "outputs").glob("studies/untitled-*/trials/*/record.json")
    return json.loads(path.read_text())


def refused(ended):
    """Return the message of a command that ended before anything was trained."""
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert "steps" not in ended.out
    return ended.err


@pytest.mark.parametrize("arm", ["none", "gan_classical"])
def test_from_a_folder_to_a_record(trial, photos, tmp_path, arm):
    ended = trial(photos, "data.image_size=16", arm=arm)
    assert ended.code == 0, ended.err
    record = only_record(tmp_path)
    assert record["status"] == "ok"
    assert list(record["metrics"]["test"]["per_class"]) == list(CLASSES)
    assert record["saw"]["labelled"] == 15
    assert record["provenance"]["test_images"] == 8


def test_images_of_a_patient_stay_together_and_the_record_counts_patients(trial, tmp_path):
    root = tmp_path / "photos"
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(24):
            photograph(label, number).save(root / name / f"{name} {number // 4}_{number % 4}.png")
    assert "look as if 72 images belong together in 18 groups: ant 0 (4 images)" in trial(root, "data.image_size=8").out
    # As the note says it, without the quotes for the shell.
    expression = re.search(r"data\.group_by=\".*\"", only_record(tmp_path)["notes"][0])[0]
    plain, ended = only_record(tmp_path)["trial"], trial(root, "data.image_size=8", expression)
    assert ended.code == 0, ended.err
    found = (tmp_path / "outputs").glob("studies/untitled-*/trials/*/record.json")
    (path,) = [one for one in found if one.parent.name != plain]
    record = json.loads(path.read_text())
    assert (record["notes"], record["saw"]["labelled"]) == ([], 24)  # two patients of 4 images for 5 labels
    assert (record["provenance"]["test_images"], record["provenance"]["test_groups"]) == (24, 6)
    with np.load(path.with_name("predictions.npz")) as stored:
        assert np.unique(stored["groups"], return_counts=True)[1].tolist() == [4] * 6
        assert len(set(zip(stored["ids"] // 4, stored["groups"], strict=True))) == 6


def test_a_study_of_a_folder_ends_with_a_report(cli, photos, tmp_path):
    ended = cli(
        *("-m", "study=own", *TINY, "data=image_folder", f"data.root={photos}", "data.image_size=8"),
        *("augmentation=none,classical", "seed=0,1", f"paths.output_dir={tmp_path}"),
    )
    assert ended.code == 0, ended.err
    assert "classical against none: too few folds" in " ".join(ended.out.split())
    assert (tmp_path / "studies" / "own" / "report" / "report.html").exists()


def test_every_kind_of_image_is_read(trial, photos, tmp_path):
    folder = photos / "bee"
    modes = {
        **{"1": "one bit.png", "L": "grey.JPG", "LA": "grey with alpha.png", "P": "palette.gif"},
        **{"RGBA": "ünïcode ☂.png", "CMYK": "print.tif", "RGB": "no extension"},
    }
    for seed, (mode, name) in enumerate(modes.items(), start=100):
        photograph(1, seed).convert(mode).save(folder / name, format="PNG" if "." not in name else None)
    Image.fromarray(np.full((5, 70), 40_000, dtype=np.uint16)).save(folder / "sixteen bits.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph(1, 200).save(folder / "rotated.jpg", exif=exif)
    frames = [photograph(1, seed) for seed in (201, 202)]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    (folder / ".hidden.png").write_bytes(b"not an image")
    (photos / ".cache").mkdir()
    ended = trial(photos, "data.image_size=16", "labels=all")
    assert ended.code == 0, ended.err
    record = only_record(tmp_path)
    assert record["provenance"]["test_images"] == 10  # a fifth of 46
    assert only_record(tmp_path)["notes"] == [
        "1 of 46 images is blank, of one colour: bee/sixteen bits.png",
        "1 file has several frames or pages, of which only the first is read: bee/animated.gif",
    ]


@pytest.fixture
def broken(photos):
    (photos / "ant" / "empty.png").touch()
    (photos / "bee" / "words.jpg").write_text("these are words")
    whole = (photos / "cat" / "000.png").read_bytes()
    (photos / "cat" / "cut off.png").write_bytes(whole[: len(whole) // 2])
    return photos


def test_files_that_cannot_be_read_are_all_named_at_once(trial, broken, tmp_path):
    said = refused(trial(broken, "data.image_size=16"))
    for name in ("ant/empty.png", "bee/words.jpg", "cat/cut off.png", "data.skip_broken=true"):
        assert name in said
    ended = trial(broken, "data.image_size=16", "data.skip_broken=true", "labels=all")
    assert ended.code == 0, ended.err
    (note,) = only_record(tmp_path)["notes"]
    assert note.startswith("3 files could not be read and were left out: ant/empty.png (empty)")
    assert note in ended.out


def test_a_reused_record_says_what_is_so_now(trial, photos, tmp_path):
    settings = ("data.image_size=8", "study=untitled-photos")
    assert trial(photos, *settings).code == 0
    assert only_record(tmp_path)["notes"] == []
    (photos / "ant" / "words.png").write_text("these are words")
    assert trial(photos, *settings, "data.skip_broken=true").code == 0
    record = only_record(tmp_path)
    assert record["notes"] == [
        "1 file could not be read and was left out: ant/words.png (not an image that Pillow can read)"
    ]


def test_sizes_and_folders_that_are_swept_stand_apart(cli, photos, tmp_path):
    other = fill(tmp_path / "other", size=(30, 40))
    arguments = [*TINY, "-m", "data=image_folder", "augmentation=none", f"paths.output_dir={tmp_path}"]

    def page(study, *swept):
        assert cli(*arguments, f"study={study}", *swept).code == 0
        return (tmp_path / "studies" / study / "report" / "report.html").read_text()

    sizes = page("sizes", f"data.root={photos}", "data.image_size=8,16")
    assert "none (data.image_size=8)" in sizes
    assert "none (data.image_size=16)" in sizes
    assert "sets of images under the same settings" not in sizes
    roots = page("roots", f"data.root={photos},{other}", "data.image_size=8")
    assert len(set(re.findall(r"none \(images=\w+\)", roots))) == 2
    assert "there are 2 sets of images under the same settings" in roots


def test_an_empty_class_is_named(trial, photos):
    (photos / "dog").mkdir()
    assert "'dog'" in refused(trial(photos))


def test_a_class_with_one_image_is_named(trial, photos):
    (photos / "dog").mkdir()
    photograph().save(photos / "dog" / "only.png")
    assert "class 'dog' has no training image (identical ones count once)" in refused(trial(photos))


def test_one_class_trains_a_generator_and_no_classifier(trial, tmp_path):
    root = fill(tmp_path / "photos", ["ant"])
    size = "data.image_size=8"
    assert "one class, 'ant', but a classifier needs two" in refused(trial(root, size))
    assert "classifier=none trains a generator alone" in refused(trial(root, size, "classifier=none", tiny=GENERATOR))
    ended = trial(root, size, "classifier=none", tiny=GENERATOR, arm="gan")
    assert ended.code == 0, ended.err
    record = only_record(tmp_path)
    assert record["status"] == "ok"
    assert record["factors"]["augmentation"] is None
    assert "test" not in record["metrics"]
    assert set(record["provenance"]["stages"]) == {"gan", "synthesis"}
    assert record["notes"] == [
        "The generator has no judge: its images are of one class, 'ant'",
        "usable is refused: it needs 59 validation images, and there are 1; set validation_per_class=59 or more, or "
        "add to those that you set apart",
    ]


def test_a_thousand_classes(trial, tmp_path):
    root = tmp_path / "photos"
    for label in range(1000):
        (root / f"{label:04}").mkdir(parents=True)
        for number in range(5):
            photograph(label, number, size=(8, 8)).save(root / f"{label:04}" / f"{number}.png")
    ended = trial(root, "data.image_size=8", "labels=2", "synthesis.per_class=1", arm="gan_classical")
    assert ended.code == 0, ended.err
    record = only_record(tmp_path)
    assert record["saw"]["labelled"] == 2000
    assert record["provenance"]["test_images"] == 1000


def test_a_thousand_classes_of_too_few_images_are_told_what_share_to_hold_out(trial, tmp_path):
    root = fill(tmp_path / "photos", [f"{label:04}" for label in range(40)], per_class=3, size=(8, 8))
    assert "use a share from 0.34 to 0.66" in refused(trial(root, "data.image_size=8"))


def test_a_folder_that_is_not_there(trial, tmp_path):
    assert "nowhere" in refused(trial(tmp_path / "nowhere"))


def test_a_folder_must_be_named(cli, tmp_path):
    for mode in ([], ["-m", "study=own"]):
        said = refused(cli(*mode, "data=image_folder", f"paths.output_dir={tmp_path}"))
        assert said.splitlines()[-1] == "gan-augment: data.root must be set: add data.root=..."


def test_links_that_lead_out_are_refused_unless_allowed(trial, photos, tmp_path):
    outside = fill(tmp_path / "outside", ["elsewhere"], size=(41, 30))
    (photos / "ant" / "link.png").symlink_to(outside / "elsewhere" / "000.png")
    (photos / "dog").symlink_to(outside / "elsewhere", target_is_directory=True)
    said = refused(trial(photos, "data.image_size=8"))
    assert "ant/link.png" in said
    assert "dog" in said
    assert trial(photos, "data.image_size=8", "data.follow_links=true").code == 0


def test_synthetic_images_are_refused_unless_allowed(trial, photos, tmp_path):
    path = next((photos / "bee").iterdir())
    with Image.open(path) as image:
        image.save(path, "PNG", pnginfo=png_mark("bee", {"latent_seed": 3}))
    assert f"synthetic, for example bee/{path.name}: " in refused(trial(photos, "data.image_size=8"))
    assert trial(photos, "data.image_size=8", "data.allow_synthetic=true").code == 0
    (note,) = only_record(tmp_path)["notes"]
    assert note.endswith("is marked as synthetic")


def test_a_bomb_is_refused(trial, photos, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    photograph(size=(50, 50)).save(photos / "ant" / "bomb.png")
    said = refused(trial(photos, "data.image_size=8"))
    assert "ant/bomb.png" in said
    assert "50x50" in said


def test_the_second_start_opens_no_image(trial, photos, monkeypatch, tmp_path):
    assert trial(photos, "data.image_size=8").code == 0
    forget_sources()
    opened = []
    monkeypatch.setattr(Image, "open", lambda *arguments, **settings: opened.append(arguments))
    assert trial(photos, "data.image_size=8", "seed=1").code == 0
    assert opened == []


def forget_sources():
    """Begin as a new process does."""
    from gan_augment.data.loading import _load

    _load.cache_clear()


def test_copies_in_a_folder_are_kept_together_and_reported(trial, photos, tmp_path):
    for number in range(3):
        photograph(0, number).save(photos / "ant" / f"copy of {number}.png")
    ended = trial(photos, "data.image_size=16")
    (note,) = only_record(tmp_path)["notes"]
    assert note in ended.out
    assert note.startswith("identical images stay in one part of every split (3 groups): ant/000.png = ant/copy of 0")
    assert len(only_record(tmp_path)["provenance"]["copies"]) == 3


def test_copies_across_given_parts_are_a_warning_with_the_list(trial, tmp_path):
    root = tmp_path / "photos"
    for part, first in (("train", 0), ("test", 100)):
        for label, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for number in range(first, first + 10):
                photograph(label, number).save(root / part / name / f"{number}.png")
    photograph(0, 3).save(root / "test" / "ant" / "again.png")
    ended = trial(root, "data.image_size=16")
    record = only_record(tmp_path)
    assert record["provenance"]["copies"] == [["test/ant/again.png", "train/ant/3.png"]]
    assert record["provenance"]["test_images"] == 31
    assert "identical images are in more than one of training, validation and test" in ended.out


def test_a_table_says_labels_and_parts(trial, photos, tmp_path):
    lines = ["file,label,split"]
    for name in CLASSES:
        for number in range(12):
            part = "test" if number < 3 else "train"
            lines.append(f"{name}/{number:03}.png,{'insect' if name != 'cat' else 'mammal'},{part}")
    table = photos / "labels.csv"
    table.write_text("\n".join(lines))
    assert trial(photos, f"data.table={table}", "data.image_size=8", "labels=3").code == 0
    record = only_record(tmp_path)
    assert list(record["metrics"]["test"]["per_class"]) == ["insect", "mammal"]
    assert record["provenance"]["test_images"] == 9


SMALL = [setting for setting in TINY if not setting.startswith("classifier.")]
SMALL += ["classifier=resnet18", "classifier.num_steps=2", "classifier.batch_size=8"]


def test_a_classifier_of_torchvision_by_name(trial, photos, tmp_path):
    ended = trial(photos, "classifier.network.name=mobilenet_v3_small", tiny=SMALL)
    assert ended.code == 0, ended.err
    assert only_record(tmp_path)["factors"]["classifier.network.name"] == "mobilenet_v3_small"
    assert only_record(tmp_path)["notes"] == []


PROBE = [setting for setting in GENERATOR if not setting.startswith("measures.")]
PROBE += ["measures=[]", "classifier=probe", "classifier.network.backbone.weights=null"]
PROBE += ["classifier.network.input_size=16", "data.image_size=16", "classifier.views=2", "data=image_folder"]


def test_a_probe_takes_any_backbone_and_a_study_compares_them(photos, cli, tmp_path):
    ended = cli(
        *("-m", *PROBE, f"data.root={photos}", f"paths.output_dir={tmp_path}", "study=own", "augmentation=none"),
        "backbone@classifier.network.backbone=lite0,torchvision",
    )
    assert ended.code == 0, ended.err
    records = {}
    for path in (tmp_path / "studies" / "own" / "trials").glob("*/record.json"):
        record = json.loads(path.read_text())
        records[record["factors"]["classifier.network.backbone"]] = record
        assert record["factors"]["classifier"] == "probe"
        assert record["factors"]["classifier.network.backbone.weights"] == "null"
        assert set(record["provenance"]["stages"]) == {"features", "classifier"}
        assert record["saw"]["pretrained"] is False
        assert record["metrics"]["test"]["accuracy"] > 0.5  # even random features tell these colours apart
    assert set(records) == {"lite0", "torchvision"}
    assert records["torchvision"]["factors"]["classifier.network.backbone.name"] == "resnet18"


def test_pretrained_weights_are_named_in_the_record_and_the_report(cli, photos, tmp_path, monkeypatch):
    weights = models.MobileNet_V3_Small_Weights.IMAGENET1K_V1
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(models.mobilenet_v3_small(num_classes=1000).state_dict(), folder / Path(weights.url).name)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    ended = cli(
        *("-m", "study=own", *SMALL, "data=image_folder", f"data.root={photos}", f"paths.output_dir={tmp_path}"),
        *("augmentation=none", "classifier.network.name=mobilenet_v3_small"),
        "classifier.network.weights=IMAGENET1K_V1",
    )
    assert ended.code == 0, ended.err
    (path,) = (tmp_path / "studies" / "own" / "trials").glob("*/record.json")
    (note,) = json.loads(path.read_text())["notes"]
    assert "MobileNet_V3_Small_Weights.IMAGENET1K_V1" in note
    page = (tmp_path / "studies" / "own" / "report" / "report.html").read_text()
    assert "those of transfer" in page
    assert "Some images of each class as they were read" in page


def save_arrays(path, **arrays):
    np.savez(path, **arrays)
    return path


RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (60, 8, 8), dtype=np.uint8)
LABELS = np.arange(60) % 3


def test_arrays_make_a_record(trial, tmp_path):
    path = save_arrays(tmp_path / "set.npz", images=PIXELS, labels=LABELS)
    assert trial(path, data="arrays").code == 0
    assert only_record(tmp_path)["saw"]["labelled"] == 15


@pytest.mark.parametrize(
    ("arrays", "arguments", "message"),
    [
        ({"images": np.full((60, 8, 8), np.nan)}, ["data.value_range=[0,1]"], "60"),
        ({"images": PIXELS / 255}, [], "data.value_range"),
        ({"images": PIXELS / 128.0}, ["data.value_range=[0,1]"], "1.99"),
        ({"images": PIXELS[:59]}, [], "59"),
        ({"images": PIXELS[:, :, :, None].repeat(2, axis=3)}, [], "8, 8, 2"),
        ({"images": PIXELS.astype(np.int64)}, [], "int64"),
        ({"labels": LABELS / 2}, [], "float64"),
        ({"labels": np.ones((60, 14))}, [], "several labels per image are not supported"),
        ({"labels": LABELS.astype(object)}, [], "pickled"),
        ({"more": LABELS}, [], "more"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(trial, tmp_path, arrays, arguments, message):
    path = save_arrays(tmp_path / "set.npz", **{"images": PIXELS, "labels": LABELS, **arrays})
    assert message in refused(trial(path, *arguments, data="arrays"))


def test_a_pickled_npy_is_refused_and_runs_nothing(trial, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    np.save(tmp_path / "set.npy", np.array([Bomb()] * 60, dtype=object), allow_pickle=True)
    assert "pickled" in refused(trial(tmp_path / "set.npy", data="arrays"))
    assert not (tmp_path / "harm").exists()


def test_images_without_labels_train_a_generator_alone(trial, tmp_path):
    np.save(tmp_path / "set.npy", PIXELS)
    assert "a classifier needs two" in refused(trial(tmp_path / "set.npy", data="arrays"))
    ended = trial(*(tmp_path / "set.npy", "classifier=none", "labels=all"), data="arrays", arm="gan", tiny=GENERATOR)
    assert ended.code == 0, ended.err
    assert only_record(tmp_path)["saw"]["labelled"] == 60 - 12 - 9  # less test and validation
    assert "the images have no labels" in ended.out


def test_some_images_without_labels_are_a_pool(trial, tmp_path):
    labels = np.where(np.arange(60) < 30, LABELS, -1)
    assert trial(save_arrays(tmp_path / "set.npz", images=PIXELS, labels=labels), data="arrays").code == 0
    assert only_record(tmp_path)["provenance"]["test_images"] == 6


@pytest.mark.parametrize("arm", ["pseudo_label", "semi_supervised", "gan_pool_classical"])
def test_a_folder_of_images_without_labels_is_the_pool(trial, photos, tmp_path, arm):
    for number in range(9):
        (photos / "unlabelled" / ["", "dodo"][number % 2]).mkdir(parents=True, exist_ok=True)
        photograph(number % 3, 100 + number).save(photos / "unlabelled" / ["", "dodo"][number % 2] / f"{number}.png")
    ended = trial(photos, "labels=all", "data.image_size=16", arm=arm)
    assert ended.code == 0, ended.err
    record = only_record(tmp_path)
    assert record["status"] == "ok"
    assert (record["saw"]["pool_images"], record["saw"]["pool_labels"]) == (9, 0)
    assert record["metrics"].get("pseudo_labels", {"accuracy": None})["accuracy"] is None  # nobody knows
    assert "that are no class of the labelled ones ('dodo', 4 images)" in " ".join(record["notes"])
    assert "'dodo', 4 images" in ended.out


def test_without_images_that_have_no_label_an_arm_that_learns_from_them_is_refused(trial, photos):
    ended = trial(photos, "labels=all", arm="semi_supervised")
    assert ended.code == 1
    assert "the pool is empty: every training image is labelled" in ended.err


def test_a_percentage_of_the_training_images_may_be_labelled(trial, photos, tmp_path):
    assert trial(photos, "labels=50%", "data.image_size=8").code == 0
    record = only_record(tmp_path)
    assert record["factors"]["labels"] == "50%"
    assert record["saw"]["labelled"] == record["provenance"]["pool_images"]


def test_a_rare_class_study_reports_its_recall(cli, tmp_path):
    ended = cli(
        *("-m", "study=rare", *TINY, "augmentation=none,classical", "seed=0,1", f"paths.output_dir={tmp_path}"),
        *("imbalance.classes=[3,8]", "imbalance.share=0.1", "labels=30"),
    )
    assert ended.code == 0, ended.err
    assert "recall of rare classes" in " ".join(ended.out.split())
    (path, *_) = sorted((tmp_path / "studies" / "rare" / "trials").glob("none-seed0-*/record.json"))
    record = json.loads(path.read_text())
    assert record["saw"]["rare_classes"] == ["3", "8"]
    assert record["saw"]["labelled"] == 8 * 30 + 2 * 3
    assert record["saw"]["imbalance_ratio"] == 10
    recalls = record["metrics"]["test"]["per_class"]
    assert record["metrics"]["test"]["rare_recall"] == pytest.approx((recalls["3"] + recalls["8"]) / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["labels=150%"], "labels=150%: use a whole number of at least 1, a percentage up to 100%, all, or auto"),
        (["imbalance.share=0.5"], "imbalance.classes names no class"),
        (["imbalance.classes=[ten]", "imbalance.share=0.5"], "imbalance.classes names ten: use some of 0, 1"),
    ],
)
def test_amounts_that_make_no_sense_are_refused(cli, tmp_path, arguments, message):
    assert message in refused(cli(*TINY, *arguments, f"paths.output_dir={tmp_path}"))
