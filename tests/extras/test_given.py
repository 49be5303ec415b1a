import json

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import TINY
from gan_augment.data.copies import copies_of
from gan_augment.data.standard_sets import digits
from gan_augment.plan import plan_trial

NAMES = [str(label) for label in range(10)]


@pytest.fixture(scope="module")
def images():
    """Digits that are like no other: the darkest level of each is one more than before."""
    real = digits().images
    return (real.images[:200].clamp_min(1), real.labels[:200])


def write_folder(root, images, names=NAMES, size=None, mode="L"):
    """Write images into a sub-folder per class."""
    for number, (image, label) in enumerate(zip(*images, strict=True)):
        (root / names[label]).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(image[0].numpy()).convert(mode)
        picture.resize(size or picture.size, Image.Resampling.NEAREST).save(root / names[label] / f"{number}.png")
    return root


def write_npz(path, images, **other):
    np.savez(path, **({"images": images[0].numpy(), "labels": images[1].numpy()} | other))
    return path


@pytest.fixture
def plan(plain_settings, tmp_path):
    def planned(root, *overrides, nothing=None):
        settings = plain_settings("augmentation=given", *overrides)
        settings["synthetic"] |= {"root": None if root is None else str(root), "cache": str(tmp_path / "cache")}
        if nothing:
            settings[nothing] = {"_target_": None}
        return plan_trial(settings)

    return planned


def given(trial):
    return trial.stages["synthesis"].load(None).images


def test_a_folder_and_a_file_give_the_same_images_in_the_form_of_the_data(plan, images, tmp_path):
    folder = plan(write_folder(tmp_path / "folder", images, size=(16, 16), mode="RGB"))
    file = plan(write_npz(tmp_path / "file.npz", images))
    order = images[1].argsort(stable=True)
    assert torch.equal(given(file).images, images[0][order])
    assert torch.equal(given(file).labels, images[1][order])
    assert given(folder).class_names == given(file).class_names == NAMES
    assert given(folder).class_counts.tolist() == given(file).class_counts.tolist()
    assert given(folder).shape == given(file).shape
    assert [*file.stages] == ["synthesis", "classifier", "teacher", "judge"]
    assert file.name != folder.name
    assert file.factors["synthetic.root"] == str(tmp_path / "file.npz")
    assert any("the 200 given images are from another generator: if it learned" in note for note in file.notes)


def test_the_labels_of_stylegan_are_read(plan, images, tmp_path):
    root = tmp_path / "stylegan"
    (root / "00000").mkdir(parents=True)
    labels = []
    for number, (image, label) in enumerate(zip(*images, strict=True)):
        Image.fromarray(image[0].numpy()).save(root / "00000" / f"img{number:08}.png")
        labels.append([f"00000/img{number:08}.png", int(label)])
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert given(plan(root)).class_counts.tolist() == images[1].bincount().tolist()
    broken = root.rename(tmp_path / "broken")  # a source that was read is not read again
    (broken / "dataset.json").write_text("{")
    with pytest.raises(ValueError, match=r"^synthetic.root=.*broken/dataset.json"):
        plan(broken)


def test_what_a_reader_must_know_of_the_files_is_said(plan, images, tmp_path):
    twice = [torch.cat([one, one[:1]]) for one in images]
    notes = plan(write_folder(tmp_path / "folder", twice)).notes
    assert any(note.startswith("of the given images: identical images ") for note in notes)


def test_numbers_stand_for_classes_with_names_in_their_order(plan, images, tmp_path):
    names = [f"digit {'abcdefghij'[label]}" for label in range(10)]
    data = write_folder(tmp_path / "data", (digits().images.images[200:], digits().images.labels[200:]), names)
    overrides = (
        *("data=image_folder", f"data.root={data}", "data.image_size=8", "data.channels=1"),
        f"data.cache={tmp_path / 'cache'}",
    )
    trial = plan(write_npz(tmp_path / "file.npz", images), *overrides)
    assert "the labels of the given images are numbers of classes: 0 is digit a, 1 is digit b, " in trial.notes[-1]
    by_number = given(trial)
    by_name = given(plan(write_folder(tmp_path / "folder", images, [n.upper() for n in names]), *overrides))
    assert by_number.class_names == names
    assert torch.equal(by_number.labels, by_name.labels)


def test_what_does_not_fit_is_refused_in_one_line(plan, images, tmp_path):
    def refused(root, match, *overrides):
        with pytest.raises(ValueError, match=match) as error:
            plan(root, *overrides)
        assert "\n" not in str(error.value)

    pixels, labels = images
    refused(None, r"augmentation.extra=given, but synthetic.root=null: name the folder or the .npz with the images")
    refused(tmp_path / "none", r"synthetic.root=.*none: not found: name a folder")
    refused(
        write_folder(tmp_path / "unknown", images, [*NAMES[:9], "ten"]),
        r"synthetic.root=.*unknown has the class 'ten', which the data have not: use 0, 1, 2, 3, 4, 5, 6, 7, 8, 9$",
    )
    few = (pixels[labels > 1], labels[labels > 1])
    refused(write_npz(tmp_path / "few.npz", few), r"synthetic.root=.*few.npz has no image of class '0', '1': add some")
    colour = (pixels.expand(-1, 3, -1, -1), labels)
    refused(
        write_npz(tmp_path / "colour.npz", colour),
        r"the images are 8x8 pixels with 3 channels, but the data are 8x8 pixels with 1 channel: convert them",
    )
    refused(
        write_npz(tmp_path / "lost.npz", images, labels=np.r_[-1, labels[1:].numpy()]),
        r"synthetic.root=.*: 1 images have no label, such as image 0",
    )
    refused(
        write_npz(tmp_path / "parts.npz", images, split=np.repeat(["train", "test"], 100)),
        r"synthetic.root=.* has parts of a split, such as test: name the folder of the training images alone",
    )


def test_with_folds_a_note_says_that_each_image_is_a_test_image(plan, images, tmp_path):
    def said(*overrides):
        return [note for note in plan(tmp_path / "file.npz", *overrides).notes if "each image is tested" in note]

    write_npz(tmp_path / "file.npz", images)
    assert said() == []
    assert len(said("folds=5", "data.test_share=null")) == 1


@pytest.mark.parametrize("part", ["validation", "test"])
def test_copies_of_held_out_images_are_refused(plan, images, part, tmp_path):
    split = plan(write_npz(tmp_path / "given.npz", images)).split
    held_out = getattr(split, part)
    both = (torch.cat([images[0], held_out.images[:3]]), torch.cat([images[1], held_out.labels[:3]]))
    with pytest.raises(ValueError, match=f"3 of 203 images are copies of {part} images, pixel for pixel"):
        plan(write_npz(tmp_path / "copies.npz", both))
    assert copies_of(split.labelled, split.test).tolist() == []


def test_a_trial_on_given_images_is_measured_and_recorded(cli, images, tmp_path):
    root, outputs = write_npz(tmp_path / "given.npz", images), tmp_path / "outputs"
    ended = cli(*TINY, "augmentation=given", f"synthetic.root={root}", f"paths.output_dir={outputs}")
    assert ended.code == 0, ended.err
    (path,) = outputs.glob("studies/*/trials/*/record.json")
    record = json.loads(path.read_text())
    metrics = record["metrics"]["gan"]
    assert metrics["diversity"] == pytest.approx(1, abs=0.15)
    assert {"usable", "told_apart", "label_agreement", "gan_test"} <= set(metrics)
    assert record["saw"]["given"] == 200
    assert len(record["provenance"]["given"]) == 32
    assert record["provenance"]["checkpoint"] is None
    assert {one.name for one in path.parent.glob("*.png")} == {"samples.png", "nearest.png"}
    assert not [warning for warning in record["warnings"] if "failed" in warning]


def test_given_images_alone_can_be_measured(plan, images, tmp_path):
    trial = plan(write_npz(tmp_path / "given.npz", images), nothing="classifier")
    assert [*trial.needed] == ["synthesis"]
    assert {"usable", "diversity", "judge"} <= set(trial.measures)
