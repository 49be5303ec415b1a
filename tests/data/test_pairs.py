from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, sobel

from gan_augment.data.pairs import blurred, edges, made_pairs, pair_folders
from gan_augment.data.split import SplitSettings, draw_split
from gan_augment.data.views import Views

DIGITS = {"_target_": "gan_augment.data.standard_sets.digits", "num_images": 300}
READ = {
    **dict.fromkeys(("group_by", "white")),
    **{"image_size": 8, "fit": "stretch", "channels": 1},
    **dict.fromkeys(("skip_broken", "follow_links", "allow_synthetic"), False),
}


def level(images: torch.Tensor) -> list[int]:
    """Return the mean grey level of each image, rounded."""
    return images.float().mean(dim=(1, 2, 3)).round().int().tolist()


def write(path: Path, left: int, right: int | None = None) -> None:
    """Write a plain grey image, or two side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    both = [np.full((10, 10), one, np.uint8) for one in (left, right) if one is not None]
    Image.fromarray(np.concatenate(both, axis=1)).save(path)


def fill(root: Path, classes: tuple[str, ...] = ("ants", "bees"), parts: tuple[str, ...] = ("",)) -> None:
    """Write A/ and B/: an image of B is 100 brighter than its partner."""
    grey = 1
    for part in parts:
        for name in classes:
            for number in range(8):
                for side, more in (("A", 0), ("B", 100)):
                    write(root / side / part / name / f"{number}.png", grey + more)
                grey += 1


@pytest.fixture
def read(tmp_path):
    """Read pairs of `tmp_path / "pairs"`."""
    return lambda **changes: pair_folders(
        str(tmp_path / "pairs"), **READ | {"cache": str(tmp_path / "store")} | changes
    )


def test_edges_are_the_length_of_the_gradient_that_scipy_finds():
    images = torch.randint(0, 256, (2, 1, 9, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for image, found in zip(images, edges(images), strict=True):
        grey = image[0].numpy().astype(float)
        length = np.hypot(*(sobel(grey, axis, mode="nearest") for axis in (0, 1)))
        np.testing.assert_allclose(found[0].numpy(), 255 * length / length.max(), atol=0.51)
    assert not edges(torch.full((1, 3, 8, 8), 9, dtype=torch.uint8)).any()  # a plain image has none


def test_a_blur_is_that_of_scipy():
    images = torch.randint(0, 256, (1, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = gaussian_filter(images[0, 0].numpy().astype(float), 2.0, mode="mirror", truncate=3)
    np.testing.assert_allclose(blurred(images)[0, 0].numpy(), expected, atol=0.6)


@pytest.mark.parametrize("look", ["edges", "blurred"])
def test_no_image_of_a_pair_is_in_another_part(look):
    source = made_pairs(DIGITS, look)
    assert source.domains == (look, "images")
    split = draw_split(source, SplitSettings(0, 5))
    inputs, outputs = split.pairs
    change = edges if look == "edges" else blurred
    assert inputs.images.equal(change(outputs.images))
    assert not (inputs.labels >= 0).any()
    assert not (outputs.labels >= 0).any()
    assert len(split.labelled) == 50
    assert len(inputs) == 300 - len(split.test) - len(split.labelled) - len(split.validation)
    seen = {row.tobytes() for row in inputs.hashes}
    for part in (split.labelled, split.validation):
        assert not seen & {row.tobytes() for row in part.hashes}
    assert not {row.tobytes() for row in outputs.hashes} & {row.tobytes() for row in split.test.hashes}
    of_test = {row.tobytes() for row in type(split.test)(change(split.test.images), split.test.labels, []).hashes}
    assert not of_test & ({row.tobytes() for row in split.labelled.hashes} | seen)


def test_pairs_label_five_images_of_a_class_unless_told_otherwise():
    source = made_pairs(DIGITS, "edges")
    assert SplitSettings(0, "auto", folds="auto").settled(source).labels == 5
    views = Views(draw_split(source, SplitSettings(0, "all")), "pool_images", 0)
    with pytest.raises(ValueError, match=r"no pair is left to learn from.*labels=5"):
        _ = views.pairs


def test_two_folders_with_the_same_names(tmp_path, read):
    fill(tmp_path / "pairs")
    source = read()
    assert source.domains == ("A", "B")
    assert level(source.images.images) == [*range(1, 17), *range(101, 117)]
    assert source.partner.tolist() == [*range(16, 32), *range(16)]
    assert source.images.class_names == ["ants", "bees"]
    other = read(backward=True)
    assert other.domains == ("B", "A")
    assert level(other.images.images) == [*range(101, 117), *range(1, 17)]


def test_the_parts_that_are_set_apart_stay(tmp_path, read):
    fill(tmp_path / "pairs", parts=("train", "test"))
    source = read()
    split = draw_split(source, SplitSettings(0, 2))
    assert sorted(level(split.test.images)) == [*range(117, 133)]
    assert level(split.pairs[1].images) == [grey + 100 for grey in level(split.pairs[0].images)]
    assert max(level(split.labelled.images)) <= 16


@pytest.mark.parametrize("parts", [("",), ("train", "val", "test")])
def test_images_side_by_side_without_classes(tmp_path, read, parts):
    grey = 0
    for part in parts:
        for number in range(8):
            write(tmp_path / "pairs" / part / f"{number}.png", grey := grey + 1, grey + 100)
    source = read()
    assert source.images.class_names == ["any"]
    split = draw_split(source, SplitSettings(0, 2))
    made = level(split.pairs[0].images)
    assert level(split.pairs[1].images) == [one + 100 for one in made]
    assert not len(split.test)  # of B no image has a label
    of_train = {*range(1, 9)} if parts == ("",) else {*range(1, 17)}
    assert {*made, *level(split.labelled.images), *level(split.validation.images)} <= of_train
    assert level(read(backward=True).images.images)[0] == 101
    with pytest.raises(ValueError, match=r"data\.fit=crop: images side by side are stretched"):
        read(fit="crop")


def test_partners_stay_together_when_their_files_sort_differently(tmp_path, read):
    grey = 0
    for part in ("test", "train"):
        for number in range(8):
            for stem in (f"{number}", f"{number}.b"):
                write(tmp_path / "pairs" / "A" / part / "ants" / f"{stem}.png", grey := grey + 1)
                write(tmp_path / "pairs" / "B" / part / "ants" / f"{stem}.BMP", grey + 100)
                write(tmp_path / "pairs" / "A" / part / "bees" / f"{stem}.png", grey := grey + 1)
                write(tmp_path / "pairs" / "B" / part / "bees" / f"{stem}.BMP", grey + 100)
    source = read()
    levels = torch.tensor(level(source.images.images))
    has_partner = source.partner >= 0
    assert len(levels) == 32 + 64  # without A's test images
    assert has_partner.sum() == 64
    assert levels[source.partner[has_partner]].sub(levels[has_partner]).abs().unique().tolist() == [100]
    assert sorted(levels[source.test].tolist()) == [*range(101, 133)]


def test_groups_of_labelled_and_validation_images_are_in_no_pair(tmp_path, read):
    grey = 0
    for patient in range(12):
        for place in ("ants", "bees", "unlabelled"):
            write(tmp_path / "pairs" / "A" / place / f"p{patient}.png", grey := grey + 1)
            write(tmp_path / "pairs" / "B" / place / f"p{patient}.png", grey + 100)
    source = read(group_by=r"p\d+")
    split = draw_split(source, SplitSettings(0, 2, validation_per_class=2))
    patients = [
        {(one - 1) % 100 // 3 for one in level(part.images)}
        for part in (split.pairs[0], split.labelled, split.validation, split.test)
    ]
    assert all(patients)
    assert not patients[0] & (patients[1] | patients[2] | patients[3])


def test_a_broken_file_is_left_out_with_its_partner(tmp_path, read):
    fill(tmp_path / "pairs")
    (tmp_path / "pairs" / "B" / "ants" / "3.png").write_text("no image")
    with pytest.raises(ValueError, match=r"1 file cannot be read; set data\.skip_broken=true"):
        read()
    source = read(skip_broken=True)
    assert len(source.images) == 30
    assert "left out: images without a partner of the same name in A and B: ants/3" in " ".join(source.notes)


def test_what_makes_no_pairs_is_refused(tmp_path, read):
    with pytest.raises(ValueError, match="not found: name a folder"):
        read()
    (tmp_path / "pairs" / "a").mkdir(parents=True)
    with pytest.raises(ValueError, match="has the folder a: pairs need two, A and B"):
        read()
    (tmp_path / "pairs" / "a").rmdir()
    with pytest.raises(ValueError, match="no image in it"):
        read()
    write(tmp_path / "pairs" / "1.png", 3)
    with pytest.raises(ValueError, match=r"not two images side by side, because not wider than tall: 1\.png"):
        read()
    (tmp_path / "pairs" / "1.png").unlink()
    fill(tmp_path / "pairs")
    with pytest.raises(ValueError, match=r"data\.backward=2: use true or false"):
        read(backward=2)
    (tmp_path / "pairs" / "B" / "ants" / "3.png").rename(tmp_path / "pairs" / "B" / "ants" / "9.png")
    with pytest.raises(ValueError, match=r"without a partner of the same name in A and B: ants/3, ants/9"):
        read()
    (tmp_path / "pairs" / "B" / "ants" / "9.png").rename(tmp_path / "pairs" / "B" / "ants" / "3.png")
    write(tmp_path / "pairs" / "A" / "ants" / "3.bmp", 7)
    with pytest.raises(ValueError, match="two images of A, or of B, have the same name, but for the extension"):
        read()
    with pytest.raises(ValueError, match=r"data\.look=lines: use one of edges, blurred"):
        made_pairs(DIGITS, "lines")
    with pytest.raises(ValueError, match="joins two domains, or has points"):
        made_pairs({"_target_": "gan_augment.data.domains.domains", "from": DIGITS, "to": DIGITS}, "edges")
    with pytest.raises(ValueError, match=r"^data\.of has no setting size"):
        made_pairs({**DIGITS, "size": 3}, "edges")
