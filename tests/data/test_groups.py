import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gan_augment.data.groups import BEFORE_NUMBER, draw_groups, group_files, group_notes, looks_grouped
from gan_augment.data.image_set import ImageSet
from gan_augment.data.source import Source
from gan_augment.data.split import SplitSettings, draw_split

PARTS = ("labelled", "pool", "validation", "test")


def grouped(labels, groups, copies=(), **parts):
    """Images that carry their index in their two pixels, except copies of others: (index, of which index)."""
    index = torch.arange(len(labels))
    pixels = torch.stack([index // 256, index % 256], dim=1).to(torch.uint8)[:, None, None]
    for copy, original in copies:
        pixels[copy] = pixels[original]
    names = [f"class{label}" for label in range(max(labels) + 1)]
    return Source(ImageSet(pixels, torch.tensor(labels), names), groups=[*map(str, groups)], **parts)


def patients(sizes, num_classes=2):
    """Patients with some images each, all of one class."""
    labels = [patient % num_classes for patient, size in enumerate(sizes) for _ in range(size)]
    return grouped(labels, np.repeat(np.arange(len(sizes)), sizes))


def members(part):
    pixels = part.images.long()
    return (256 * pixels[:, 0, 0, 0] + pixels[:, 0, 0, 1]).tolist()


def draw(source, labels=5, seed=0, **settings):
    return draw_split(source, SplitSettings(seed, labels, **settings))


def groups_of(source, part):
    return {source.groups[index] for index in members(part)}


sizes = st.lists(st.integers(1, 12), min_size=10, max_size=40)


@given(sizes, st.integers(0, 9), st.sampled_from([1, "20%", "all"]))
def test_no_group_is_in_two_parts_and_together_they_are_everything(sizes, seed, labels):
    source = patients(sizes)
    split = draw(source, labels, seed)
    parts = [groups_of(source, getattr(split, name)) for name in PARTS]
    assert sum(map(len, parts)) == len(sizes)
    assert sum(len(getattr(split, name)) for name in PARTS) == sum(sizes)
    for part in (split.labelled, split.test):
        assert min(torch.bincount(part.labels, minlength=2)) >= 1
    of_test = [source.groups[index] for index in members(split.test)]
    assert len(set(zip(of_test, split.test_groups.tolist(), strict=True))) == len(set(of_test))


@pytest.mark.parametrize("seed", range(20))
def test_groups_may_have_images_of_several_classes(seed):
    random = np.random.default_rng(seed)
    source = grouped(random.integers(0, 3, 200).tolist(), random.integers(0, 26, 200))
    few, more = draw(source, 2, seed), draw(source, "30%", seed)
    assert not groups_of(source, few.test) & groups_of(source, few.training)
    assert members(few.test) == members(more.test)
    assert members(few.validation) == members(more.validation)
    assert set(members(few.labelled)) <= set(members(more.labelled))
    assert not groups_of(source, more.labelled) & groups_of(source, more.pool)
    assert min(torch.bincount(few.labelled.labels, minlength=3)) >= 2


def test_a_class_takes_groups_until_it_has_enough():
    split = draw(patients([5] * 60))  # 150 images of each of two classes
    counts = {name: torch.bincount(getattr(split, name).labels).tolist() for name in PARTS}
    assert counts == {"labelled": [5, 5], "pool": [95, 95], "validation": [20, 20], "test": [30, 30]}
    split = draw(patients([30] * 20), labels=31, validation_per_class=1)
    assert torch.bincount(split.labelled.labels).tolist() == [60, 60]
    assert torch.bincount(split.validation.labels).tolist() == [30, 30]


def test_the_first_groups_of_the_order_that_a_class_needs_are_drawn():
    by_class, group = [torch.tensor([0, 1, 4]), torch.tensor([2, 3])], torch.tensor([7, 8, 8, 9, 9])
    random = torch.Generator().manual_seed(0)
    order = [[7, 8, 9][place] for place in torch.randperm(3, generator=random).argsort()]
    (drawn, rest), (other, left) = draw_groups(by_class, [2, 0], group, random.manual_seed(0))
    assert [group[i].item() for i in [*drawn, *rest]] == order
    assert set(group[drawn].tolist()) == set(order[:2])
    assert set(group[other].tolist()) == set(order[:2]) - {7}
    assert len(other) + len(left) == 2
    ((spared, last),) = draw_groups(by_class[:1], [9], group, random.manual_seed(0), spare_one=True)
    assert set(group[spared].tolist()) == set(order[:2])
    assert group[last].tolist() == order[2:]


@pytest.mark.parametrize(("labels", "rare"), [(5, {}), ("all", {}), (9, {"rare_classes": ["class0"]})])
def test_the_overlap_is_the_share_of_labelled_images_that_splits_have_in_common(labels, rare):
    random = np.random.default_rng(0)
    source = patients(random.integers(1, 12, 50))
    settings = rare | ({"rare_share": 0.4} if rare else {})
    splits = [draw(source, labels, seed, **settings) for seed in range(100, 120)]
    labelled = [set(members(split.labelled)) for split in splits]
    shared = [len(one & other) for i, one in enumerate(labelled) for other in labelled[:i]]
    assert len({split.overlap for split in splits}) == 1
    assert splits[0].overlap == pytest.approx(np.mean(shared) / np.mean([*map(len, labelled)]), abs=0.03)
    assert (splits[0].overlap == 1) == (labels == "all")


def test_images_of_a_rare_class_are_left_out_and_those_without_a_label_follow_their_group():
    full, rare = (draw(patients([5] * 60), **some) for some in ({}, {"rare_classes": ["class0"], "rare_share": 0.2}))
    assert torch.bincount(rare.labelled.labels).tolist() == [1, 5]
    assert torch.bincount(rare.pool.labels).tolist() == [19, 95]
    assert set(members(rare.labelled)) < set(members(full.labelled))
    source = patients([5] * 60)
    labels = source.images.labels.clone()
    labels[::5] = -1
    source = Source(ImageSet(source.images.images, labels, source.images.class_names), groups=source.groups)
    split = draw(source, "all")
    held_out = groups_of(source, split.test) | groups_of(source, split.validation)
    expected = [index for index in range(0, 300, 5) if source.groups[index] not in held_out]
    assert members(split.pool) == expected


def test_copies_join_groups_and_an_empty_name_is_a_group_of_its_own():
    source = grouped([0, 0, 1, 1, 0, 0], ["a", "a", "b", "b", "", ""], copies=[(3, 1)])
    assert source.together.tolist() == [0, 0, 0, 0, 1, 2]
    split = draw(grouped([0, 1] * 30, [""] * 60), "all")
    assert len(split.test_groups.unique()) == len(split.test) == 12


@pytest.mark.parametrize(
    ("sizes", "settings", "message"),
    [
        ([9], {}, r"^data\.test_share=0\.2, but class 'class0' has too few groups of images: whole groups are drawn"),
        ([9] * 6, {"validation_per_class": 12}, r"^validation_per_class=12, but class 'class0' has too few groups"),
        ([9] * 6, {"labels": 19}, r"^labels=19, but class 'class0' has 9 training images; use at most 9, or all"),
    ],
)
def test_too_few_groups_are_refused(sizes, settings, message):
    with pytest.raises(ValueError, match=message):
        draw(patients(sizes, min(2, len(sizes))), **settings)


@pytest.mark.parametrize("seed", [0, 5])
def test_folds_test_every_group_once_in_each_repetition(seed):
    source = patients([3, 7, 5] * 6)
    drawn = [draw(source, "all", fold, folds=5) for fold in range(seed, seed + 5)]
    tested = [group for split in drawn for group in groups_of(source, split.test)]
    assert sorted(tested) == sorted(set(source.groups))
    assert not any(groups_of(source, split.test) & groups_of(source, split.training) for split in drawn)
    numbers = [
        (source.groups[i], n) for s in drawn for i, n in zip(members(s.test), s.test_groups.tolist(), strict=True)
    ]
    assert len(set(numbers)) == len(set(source.groups)) == len({number for _, number in numbers})
    with pytest.raises(ValueError, match=r"^folds=10, but class 'class0' has 9 groups, and each fold needs one"):
        draw(source, "all", folds=10)


def test_groups_across_parts_that_the_user_set_apart_are_noted_and_stay():
    source = grouped([0, 1] * 30, np.arange(60) // 4, test=torch.tensor([0, 1, 8, 9, 10, 11]))
    (said,) = group_notes(source)
    assert said == (
        "images of one group are in more than one of training, validation and test, so results may be too good "
        "(1 group): 0"
    )
    split = draw(source, "all")
    assert split.test_groups.unique_consecutive(return_counts=True)[1].tolist() == [2, 4]
    assert group_notes(patients([5] * 10)) == []


def test_the_hash_tells_which_test_images_belong_together():
    own = torch.arange(10)
    hashes = {
        draw(grouped([0, 1] * 30, groups, test=own, validation=torch.arange(10, 20)), "all").hash
        for groups in (np.arange(60) // 2, np.arange(60) // 5)
    }
    assert len(hashes) == 2


def places(*files, part=""):
    return {file: (part, file.split("/")[bool(part)]) for file in files}


def test_files_are_grouped_by_their_folder_below_the_class():
    some = places("cat/p1/a.png", "cat/p2/b.png", "dog/p1/day 2/c.png", "dog/d.png")
    some["unlabelled/p3/e.png"], some["unlabelled/cat/p1/f.png"] = ("unlabelled", "p3"), ("unlabelled", "cat")
    assert group_files("folder", some, in_folders=True) == ["p1", "p2", "p1/day 2", "", "p3", "p1"]
    assert group_files("folder", places("train/cat/p1/a.png", part="train"), in_folders=True) == ["p1"]
    assert group_files("folder", places("p1/a.png"), in_folders=False) == ["p1"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [(r"p\d+", ["p12", "p3", ""]), (r"(p\d+)_", ["p12", "p3", ""]), (r"/(p)?(\w\d+)", ["p", "p3", ""])],
)
def test_files_are_grouped_by_an_expression(expression, expected):
    assert group_files(expression, places("cat/p12_1.png", "cat/p3_1.png", "cat/x.png"), True) == expected


def test_an_expression_that_does_not_compile_is_named():
    with pytest.raises(ValueError, match=r"^data\.group_by=p\(: this is no regular expression \(missing \)"):
        group_files("p(", places("cat/a.png"), True)


def test_names_before_a_number_look_like_groups():
    files = [f"{label}/patient{i}_{j:02}.png" for label in ("cat", "dog") for i in range(6) for j in range(3)]
    (said,) = looks_grouped(places(*files, "cat/other.png"), True)
    assert said == (
        "file names look as if 36 images belong together in 6 groups: patient0 (6 images), patient1 (6 images), "
        "patient2 (6 images), patient3 (6 images), patient4 (6 images), ...; each image counts as independent, so if "
        "these are patients, days or objects, the intervals are too narrow: "
        f"set 'data.group_by=\"{BEFORE_NUMBER}\"'"
    )
    assert len(set(group_files(BEFORE_NUMBER, places(*files, "cat/other.png"), True))) == 7
    in_folders = [f"cat/p{i}/{j}.png" for i in range(6) for j in range(2)]
    (said,) = looks_grouped(places(*in_folders), True)
    assert said.startswith("folders look as if 12 images belong together in 6 groups: p0 (2 images)")
    assert said.endswith("set 'data.group_by=\"folder\"'")


@pytest.mark.parametrize(
    "files",
    [
        [f"{label}/img_{i:03}.png" for label in ("cat", "dog") for i in range(150)],
        [f"{label}/{label}.{i}.jpg" for label in ("cat", "dog") for i in range(150)],
        [f"class{label}/class{label}_{i}.jpg" for label in range(12) for i in range(20)],
        [f"cat/{i:03}.png" for i in range(300)],
        [f"cat/{i * 7919}_{i * 104729:x}.jpg" for i in range(300)],
        [f"cat/{source}-{i}.jpg" for i in range(80) for source in ("img", "web")],
        ["cat/tom.jpg", "cat/tom (2).jpg", "cat/felix.png"],
    ],
)
def test_plain_numbers_do_not_look_like_groups(files):
    assert looks_grouped(places(*files), True) == []
    by_part = places(*(f"{part}/{file}" for part in ("train", "test", "val") for file in files), part="train")
    assert looks_grouped(by_part, True) == []
