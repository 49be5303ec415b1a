import numpy as np
import pytest
import torch
from PIL import Image

from conftest import source_node
from gan_augment.data.domains import domains
from gan_augment.data.loading import load_source
from gan_augment.data.mnist_m import mnist_m
from gan_augment.data.source import Source, resize
from gan_augment.data.standard_sets import LENGTHS, mnist
from gan_augment.plan import plan_trial
from gan_augment.settings import build

WHERE = r"the 200 training photographs of BSDS500: download it from https://\S+ and name its folder \S+images/train$"


def made(mnist_folder, photographs, **settings):
    return mnist_m(str(mnist_folder), patches_dir=str(photographs), **settings)


def patches_of(source, digits):
    """Undo the inversion: return the patches that the images were made of."""
    ink = digits.images.images[:] > 0
    return torch.where(ink, 255 - source.images.images[:], source.images.images[:])


def places(patch, photographs):
    """Return the file, top row and left column of each place in the photographs where a patch `[3, 28, 28]` is."""
    found = []
    for file in sorted(photographs.iterdir()):
        photograph = np.asarray(Image.open(file))
        windows = np.lib.stride_tricks.sliding_window_view(photograph, (28, 28), axis=(0, 1))
        for top, left in np.argwhere((windows[..., 0, 0] == patch[:, 0, 0].numpy()).all(axis=2)):
            if (windows[top, left] == patch.numpy()).all():
                found.append((file.name, top, left))
    return found


def test_images_are_mnists_in_colour(mnist_folder, photographs):
    source = build(
        source_node("mnist_m") | {"root": str(mnist_folder), "patches_dir": str(photographs)}, "data", Source
    )
    digits, (train, test) = mnist(str(mnist_folder)), LENGTHS["MNIST"]
    assert source.images.images.shape == (train + test, 3, 28, 28)
    assert source.images.images.dtype == torch.uint8
    assert source.images.labels.equal(digits.images.labels)
    assert source.images.class_names == digits.images.class_names
    assert source.test.tolist() == list(range(train, train + test))
    assert "MNIST: CC BY-SA 3.0" in source.licence
    assert "BSDS500: non-commercial research" in source.licence


def test_an_image_is_a_patch_of_a_photograph_inverted_where_the_digit_is(mnist_folder, photographs):
    patches = patches_of(made(mnist_folder, photographs), mnist(str(mnist_folder)))
    chosen = [0, 1, 2, 3, 4, 5, len(patches) - 2, len(patches) - 1]  # training and test images
    found = [places(patches[index], photographs) for index in chosen]
    assert [len(one) for one in found] == [1] * len(chosen)
    assert len({one[0] for one in found}) == len(chosen)  # each image has a patch of its own
    assert {one[0][0] for one in found} == {"10.jpg", "20.jpg", "30.jpg"}


def test_one_image_by_hand(mnist_folder, photographs):
    """The formula of the paper, `|digit - patch|`, one pixel after the other."""
    source, digits = made(mnist_folder, photographs), mnist(str(mnist_folder))
    ((file, top, left),) = places(patches_of(source, digits)[0], photographs)
    photograph = np.asarray(Image.open(photographs / file)).tolist()
    image, digit = source.images.images[0].tolist(), digits.images.images[0, 0].tolist()
    for row in range(28):
        for column in range(28):
            ink = 255 if digit[row][column] > 0 else 0
            behind = photograph[top + row][left + column]
            assert [image[channel][row][column] for channel in range(3)] == [abs(ink - level) for level in behind]


def test_patches_come_from_all_over_the_photographs(mnist_folder, photographs):
    """With ramps as photographs, the first pixel of a patch tells its place."""
    rows, columns = np.mgrid[:321, :481]
    ramp = np.stack([rows % 256, columns % 256, rows // 256 + 2 * (columns // 256)], axis=2).astype(np.uint8)
    for name in ("10.jpg", "20.jpg", "30.jpg"):
        Image.fromarray(ramp).save(photographs / name, format="png")  # exact, whatever the name
    first = patches_of(made(mnist_folder, photographs), mnist(str(mnist_folder)))[:, :, 0, 0].long()
    top, left = first[:, 0] + 256 * (first[:, 2] % 2), first[:, 1] + 256 * (first[:, 2] // 2)
    number = len(first)
    for place, highest in ((top, 321 - 28), (left, 481 - 28)):
        assert place.min() == 0
        assert place.max() == highest
        quarters = torch.histc(place.float(), 4, 0, highest + 1) / number
        assert quarters.tolist() == pytest.approx([0.25] * 4, abs=4 * (0.1875 / number) ** 0.5)


def test_the_same_images_every_time(mnist_folder, photographs, tmp_path):
    first = made(mnist_folder, photographs).images.images
    moved = photographs.rename(tmp_path / "elsewhere")
    torch.manual_seed(7)
    (moved / "._10.jpg").write_bytes(b"left by a file manager")
    assert made(mnist_folder, moved).images.images.equal(first)


def test_images_can_be_resized(mnist_folder, photographs):
    small, full = made(mnist_folder, photographs, image_size=16), made(mnist_folder, photographs)
    assert small.images.images.equal(resize(full.images.images, 16))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (None, "None: name a folder"),
        ("nowhere", "nowhere: not found"),
        ("notes.txt", "notes.txt: this is a file"),
        ("empty", "empty: no images in it"),
        ("others", "others: its 2 images are not the right ones"),
    ],
)
def test_without_the_photographs_it_says_where_to_get_them(mnist_folder, tmp_path, given, problem):
    (tmp_path / "notes.txt").write_text("no folder")
    for name in ("empty", "others"):
        (tmp_path / name).mkdir()
    for name in ("10.jpg", "20.jpg"):
        Image.new("RGB", (481, 321)).save(tmp_path / "others" / name)
    where = None if given is None else str(tmp_path / given)
    with pytest.raises(ValueError, match=rf"^data\.patches_dir=.*{problem}; MNIST-M needs {WHERE}"):
        mnist_m(str(mnist_folder), patches_dir=where)


def test_a_broken_photograph_is_named(mnist_folder, photographs):
    Image.new("RGB", (48, 32)).save(photographs / "30.jpg")
    with pytest.raises(ValueError, match=r"30\.jpg is not 321x481 pixels: copy it from BSDS500 again$"):
        made(mnist_folder, photographs)
    (photographs / "20.jpg").write_bytes((photographs / "20.jpg").read_bytes()[:300])
    with pytest.raises(ValueError, match=r"20\.jpg cannot be read \(.*\): copy it from BSDS500 again$"):
        made(mnist_folder, photographs)


# ------------------------------------------------------------------------------------- as the second of two domains


def test_mnist_to_mnist_m_is_in_colour(plain_settings, mnist_folder, photographs):
    paths = (f"paths.data_dir={mnist_folder}", f"data.to.patches_dir={photographs}")
    node = plain_settings("data=mnist_to_mnist_m", *paths)["data"]
    source = load_source({key: value for key, value in node.items() if key not in ("test_share", "classical")})
    train, test = LENGTHS["MNIST"]
    assert source.domains == ("mnist", "mnist_m")
    assert source.images.images.shape == (2 * train + test, 3, 28, 28)
    assert source.test.tolist() == list(range(2 * train, 2 * train + test))
    assert source.pool.tolist() == list(range(train, 2 * train))
    grey, colour = source.images.images[0], source.images.images[train]
    assert grey[0].equal(grey[2])
    assert not colour[0].equal(colour[2])
    assert node["classical"]["flip"] is False


def test_the_error_names_the_setting_of_its_domain(mnist_folder):
    nodes = [source_node(name) | {"root": str(mnist_folder)} for name in ("mnist", "mnist_m")]
    with pytest.raises(ValueError, match=rf"^data\.to\.patches_dir=None: name a folder; MNIST-M needs {WHERE}"):
        domains(*nodes)
    with pytest.raises(ValueError, match=r"^data\.from\.patches_dir=None: "):
        domains(*reversed(nodes))


def test_the_place_of_the_photographs_names_no_trial(plain_settings, mnist_folder, photographs, tmp_path):
    moved = tmp_path / "moved"
    moved.symlink_to(photographs)
    common = ("data=mnist_to_mnist_m", "augmentation=none", f"paths.data_dir={mnist_folder}")
    settings = [f"data.to.patches_dir={folder}" for folder in (photographs, moved)]
    names = [plan_trial(plain_settings(*common, setting)).name for setting in settings]
    assert names[0] == names[1]
