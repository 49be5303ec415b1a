from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_augment.data.domains import domain_folders, domains
from gan_augment.data.image_set import ImageSet
from gan_augment.data.loading import load_source
from gan_augment.data.source import Source
from gan_augment.data.split import SplitSettings, draw_split
from gan_augment.data.views import Views
from gan_augment.settings import build

DIGITS = {"_target_": "gan_augment.data.standard_sets.digits", "test_share": 0.2, "classical": None}
FOLDER = {
    **dict.fromkeys(("group_by", "white")),
    **{"image_size": 8, "fit": "stretch", "channels": 3},
    **dict.fromkeys(("skip_broken", "follow_links", "allow_synthetic"), False),
}


def arrays(tmp_path: Path, name: str, labels: list[int], channels: int = 1, **further: np.ndarray) -> dict[str, object]:
    """Save random images with labels; return their data node."""
    random = np.random.default_rng(len(name))
    shape = (len(labels), 8, 8) if channels == 1 else (len(labels), channels, 8, 8)
    pixels = random.integers(0, 256, shape).astype(np.uint8)
    np.savez(tmp_path / f"{name}.npz", images=pixels, labels=np.array(labels), **further)
    rest = {"labels": None, "layout": None, "value_range": None, "image_size": None, "allow_synthetic": False}
    target = "gan_augment.data.arrays.arrays"
    return {"_target_": target, "images": str(tmp_path / f"{name}.npz"), **rest, "test_share": None, "classical": None}


def make_folder(root: Path, *places: str, number: int = 6) -> None:
    """Write random images into each of several folders."""
    random = np.random.default_rng(0)
    for place in places:
        (root / place).mkdir(parents=True)
        for image in range(number):
            pixels = random.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / place / f"{image}.png")


def parts_of(source: Source) -> tuple[list[set[int]], None]:
    """Return the indices of labelled, pool, validation and test images, where some images are identical."""
    split, place = draw_split(source, SplitSettings(0, "all")), {}
    for index, row in enumerate(source.images.hashes):
        place.setdefault((row.tobytes(), index >= 40), index)  # 40 images of the first domain
    parts = ((split.labelled, False), (split.pool, True), (split.validation, False), (split.test, True))
    return [{place[row.tobytes(), second] for row in part.hashes} for part, second in parts], None


def draw(source: Source, seed: int = 0, **settings: object) -> tuple[list[set[int]], ImageSet]:
    """Return the indices of labelled, pool, validation and test images, found by their pixels, and the pool."""
    split = draw_split(source, SplitSettings(seed, "all", **settings).settled(source))
    place = {row.tobytes(): index for index, row in enumerate(source.images.hashes)}
    parts = (split.labelled, split.pool, split.validation, split.test)
    return [{place[row.tobytes()] for row in part.hashes} for part in parts], split.pool


def test_labels_come_from_the_first_domain_and_pool_and_test_from_the_second(tmp_path):
    source = domains(arrays(tmp_path, "here", [0, 1] * 20), arrays(tmp_path, "there", [0, 1] * 15))
    assert source.domains == ("here", "there")
    assert (source.name(0), source.name(40)) == ("here/image 0", "there/image 0")
    (labelled, pool, validation, test), images = draw(source)
    assert labelled | validation == set(range(40))
    assert not labelled & validation
    assert pool | test == set(range(40, 70))
    assert not pool & test
    assert len(test) == 6  # a fifth, the same for every seed
    assert draw(source, seed=3)[0][3] == test
    assert (images.labels >= 0).all()  # for the arm more_real alone


def test_each_seed_draws_as_many_images_as_the_protocol_says(tmp_path):
    here, there = arrays(tmp_path, "here", [0] * 60 + [1] * 20), arrays(tmp_path, "there", [0, 1] * 15)
    source = domains(here, there, from_images=20, to_images=10)
    split = draw_split(source, SplitSettings(0, "all"))
    assert split.labelled.class_counts.tolist() == [15, 5]  # in proportion
    assert len(split.pool) == 10
    assert split.pool_overlap == 10 / 24  # of a pool of 30 less 6 for the test
    assert draw_split(domains(here, there), SplitSettings(0, "all")).pool_overlap == 1
    other = draw_split(source, SplitSettings(1, "all"))
    assert split.hash != other.hash
    assert split.test_indices.equal(other.test_indices)
    for name in ("from_images", "to_images"):
        with pytest.raises(ValueError, match=f"data.{name}=1000, but"):
            draw_split(domains(here, there, **{name: 1000}), SplitSettings(0, "all"))
        with pytest.raises(ValueError, match=f"data.{name}=0: use a whole number of at least 1"):
            domains(here, there, **{name: 0})


def test_the_second_domains_own_test_images_are_the_test_and_those_of_the_first_are_left_out(tmp_path):
    parts = np.array(["train"] * 30 + ["test"] * 10)
    here, there = (arrays(tmp_path, name, [0, 1] * 20, split=parts) for name in ("here", "there"))
    source = domains(here, there)
    assert len(source.images) == 70
    (labelled, pool, validation, test), _ = draw(source)
    assert test == set(range(60, 70))
    assert pool == set(range(30, 60))
    assert labelled | validation == set(range(30))
    with pytest.raises(ValueError, match=r"data.test_share=0.3, but these images have a test set of their own"):
        draw(source, test_share=0.3)


def test_folds_divide_the_second_domain(tmp_path):
    source = domains(arrays(tmp_path, "here", [0, 1] * 20), arrays(tmp_path, "there", [0, 1] * 15))
    tested = [draw(source, seed=seed, folds=3)[0][3] for seed in range(3)]
    assert set.union(*tested) == set(range(40, 70))
    assert [len(some) for some in tested] == [10, 10, 10]


def test_groups_of_the_second_domain_stay_on_one_side(tmp_path):
    groups = np.repeat(np.arange(10), 3)
    source = domains(
        arrays(tmp_path, "here", [0, 1] * 20), arrays(tmp_path, "there", [0] * 15 + [1] * 15, groups=groups)
    )
    (_, pool, _, test), _ = draw(source)
    of = {index: (index - 40) // 3 for index in pool | test}
    assert not {of[index] for index in pool} & {of[index] for index in test}


def test_copies_of_test_images_are_not_in_the_pool(tmp_path):
    there = arrays(tmp_path, "there", [0, 1] * 15)
    with np.load(str(there["images"])) as found:
        pixels, labels = np.concatenate([found["images"]] * 2), np.concatenate([found["labels"], [-1] * 30])
    np.savez(str(there["images"]), images=pixels, labels=labels)
    source = domains(arrays(tmp_path, "here", [0, 1] * 20), there)
    split = draw_split(source, SplitSettings(0, "all"))
    of_test = {row.tobytes() for row in split.test.hashes}
    assert len(split.test) == 6
    assert len(split.pool) == 48
    assert (split.test.labels >= 0).all()
    assert not of_test & {row.tobytes() for row in split.pool.hashes}


def test_grey_images_join_those_in_colour(tmp_path):
    source = domains(arrays(tmp_path, "here", [0, 1] * 5), arrays(tmp_path, "there", [0, 1] * 5, channels=3))
    assert source.images.shape.channels == 3
    assert source.images.images[0, 0].equal(source.images.images[0, 2])


def test_domains_that_do_not_fit_are_refused(tmp_path):
    here = arrays(tmp_path, "here", [0, 1] * 5)
    with pytest.raises(ValueError, match=r"the second domain has classes that the first does not have \('2'\)"):
        domains(here, arrays(tmp_path, "there", [0, 1, 2, 2, 2]))
    small = {
        "_target_": "gan_augment.data.standard_sets.digits",
        "image_size": 16,
        "test_share": 0.2,
        "classical": None,
    }
    with pytest.raises(ValueError, match=r"set the image_size of one or both"):
        domains(DIGITS, small)
    with pytest.raises(ValueError, match=r"data\.from"):
        build({"_target_": "gan_augment.data.domains.domains", "from": {}, "to": {}}, "data", Source)
    with pytest.raises(ValueError, match=r"data has no setting from_: use from, to"):
        build({"_target_": "gan_augment.data.domains.domains", "from_": {}, "to": {}}, "data", Source)


def test_classes_are_joined_by_their_names(tmp_path):
    make_folder(tmp_path / "source", "ants", "bees", "wasps")
    make_folder(tmp_path / "target", "Bees", "ants")
    source = domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), **FOLDER)
    assert source.domains == ("source", "target")
    assert [*source.images.class_names] == ["ants", "bees", "wasps"]
    assert torch.bincount(source.images.labels[source.pool]).tolist() == [6, 6]
    assert source.name(18) == "target/Bees/0.png"
    assert source.images.labels[18] == 1


def test_the_target_may_have_no_labels(tmp_path):
    make_folder(tmp_path / "source", "ants", "bees")
    make_folder(tmp_path, "target")
    source = domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), **FOLDER)
    split = draw_split(source, SplitSettings(0, "all").settled(source))
    assert len(split.pool) == 6
    assert not len(split.test)
    assert not (split.pool.labels >= 0).any()


def test_the_folders_of_cyclegan_are_two_domains_without_classes(tmp_path):
    make_folder(tmp_path, "trainA", "trainB", "testA", "testB")
    source = domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), **FOLDER)
    assert source.domains == ("A", "B")
    assert source.images.class_names == ["any"]
    split = draw_split(source, SplitSettings(0, "all").settled(source))
    assert len(split.labelled) + len(split.validation) == 6
    assert len(split.pool) == 6  # and no image of testB
    assert not len(split.test)


def test_the_folders_of_cyclegan_may_have_classes(tmp_path):
    for name in ("trainA", "trainB", "testB"):
        make_folder(tmp_path / name, "ants", "bees")
    for image in (tmp_path / "testB").rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    source = domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), **FOLDER)
    split = draw_split(source, SplitSettings(0, "all").settled(source))
    assert split.test.class_counts.tolist() == [6, 6]
    assert source.name(int(split.test_indices[0])) == "B/test/ants/0.png"
    make_folder(tmp_path / "testB", "wasps")
    with pytest.raises(ValueError, match=r"testB has classes that trainB does not have \('wasps'\)"):
        domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), **FOLDER)


def test_layouts_of_cyclegan_that_leave_something_open_are_refused(tmp_path):
    for name in ("trainA", "trainB/train", "trainB/test", "testB"):
        make_folder(tmp_path / name, "ants", "bees")
    with pytest.raises(ValueError, match="trainB has test images of its own, next to testB"):
        domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), **FOLDER)
    make_folder(tmp_path, "source/ants")
    with pytest.raises(ValueError, match="has both source and trainA: leave one layout"):
        domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), **FOLDER)


def test_a_source_without_classes_is_refused(tmp_path):
    make_folder(tmp_path, "source", "target/ants")
    with pytest.raises(ValueError, match="6 images outside the class folders"):
        domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), **FOLDER)


def test_the_training_images_of_the_second_domain_may_lack_labels(tmp_path):
    for name in ("trainA", "testB"):
        make_folder(tmp_path / name, "ants", "bees")
    make_folder(tmp_path, "trainB")
    source = domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), **FOLDER)
    assert source.images.labels[source.test].unique().tolist() == [0, 1]
    assert not (source.images.labels[source.pool] >= 0).any()


def test_a_folder_without_domains_is_refused(tmp_path):
    make_folder(tmp_path, "source/ants", "source/bees")
    with pytest.raises(ValueError, match="no folder target in it: it needs source and target, or trainA and trainB"):
        domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), **FOLDER)


def test_errors_name_the_setting_where_the_user_has_it(tmp_path):
    small = {**DIGITS, "image_size": 0}
    with pytest.raises(ValueError, match=r"^data\.to\.image_size=0: use a whole number of at least 1$"):
        domains(DIGITS, small)
    with pytest.raises(ValueError, match=r"^data\.from has no setting size: use image_size, num_images$"):
        domains({**DIGITS, "size": 8}, DIGITS)
    make_folder(tmp_path, "source/ants", "source/bees", "target/ants")
    with pytest.raises(ValueError, match=r"^data\.image_size=0: use a whole number of at least 1$"):
        domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), **{**FOLDER, "image_size": 0})
    with pytest.raises(ValueError, match=r"^data\.from_images=0: use a whole number of at least 1$"):
        domain_folders(root=str(tmp_path), cache=str(tmp_path / "store"), from_images=0, **FOLDER)


def test_notes_name_the_images_of_both_domains(tmp_path):
    here = arrays(tmp_path, "here", [0, 1] * 20)
    with np.load(str(here["images"])) as found:
        pixels = found["images"]
    np.savez(tmp_path / "there.npz", images=pixels[:10], labels=np.array([0, 1] * 5))
    there = {**here, "images": str(tmp_path / "there.npz")}
    source = load_source({"_target_": "gan_augment.data.domains.domains", "from": here, "to": there})
    assert any("here/image 0 = there/image 0" in note for note in source.notes)


def test_labelled_images_that_the_test_shows_too_are_left_out(tmp_path):
    here = arrays(tmp_path, "here", [0, 1] * 20)
    source = domains(here, {**here, "test_share": None})  # every image is in both
    (labelled, pool, validation, test), _ = parts_of(source)
    assert len(test) == 8
    assert not (labelled | validation) & {index - 40 for index in test}
    assert len(labelled | validation) == 32
    assert not pool & test


def test_people_who_are_tested_are_not_learned_from(tmp_path):
    groups, labels = np.repeat(np.arange(10), 4), [0, 1] * 20
    source = domains(arrays(tmp_path, "here", labels, groups=groups), arrays(tmp_path, "there", labels, groups=groups))
    (labelled, pool, validation, test), _ = parts_of(source)
    tested = {(index - 40) // 4 for index in test}
    assert tested
    assert not tested & {index // 4 for index in labelled | validation}
    assert not tested & {(index - 40) // 4 for index in pool}


@pytest.mark.parametrize("folds", [None, 3])
def test_the_second_domain_may_lack_a_class(tmp_path, folds):
    source = domains(arrays(tmp_path, "here", [0, 1, 2] * 20), arrays(tmp_path, "there", [0, 1] * 15))
    split = draw_split(source, SplitSettings(0, "all", folds=folds))
    assert (split.test.class_counts > 0).tolist() == [True, True, False]


def test_validation_images_of_the_second_domain_are_in_its_pool(tmp_path):
    parts = np.array(["train"] * 10 + ["validation"] * 10 + ["test"] * 10)
    source = domains(arrays(tmp_path, "here", [0, 1] * 20), arrays(tmp_path, "there", [0, 1] * 15, split=parts))
    assert source.pool.tolist() == [*range(40, 60)]


def test_rare_classes_and_too_few_labels_are_refused(tmp_path):
    source = domains(arrays(tmp_path, "here", [0, 1] * 20), arrays(tmp_path, "there", [0, 1] * 15), from_images=1)
    with pytest.raises(ValueError, match=r"data\.from_images=1, but there are 2 classes"):
        draw_split(source, SplitSettings(0, "all"))
    with pytest.raises(ValueError, match="a class can be rare in either of two domains"):
        draw_split(source, SplitSettings(0, "all", rare_classes=["0"], rare_share=0.5))


def test_without_a_pool_the_arms_that_need_one_are_refused(tmp_path):
    parts = np.array(["test"] * 30)
    source = domains(arrays(tmp_path, "here", [0, 1] * 20), arrays(tmp_path, "there", [0, 1] * 15, split=parts))
    views = Views(draw_split(source, SplitSettings(0, "all")), "pool_images", 0)
    with pytest.raises(ValueError, match="the second domain, there, has only test images"):
        _ = views.pool
