import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock
from PIL import Image
from torchvision.datasets import ImageFolder

from gan_augment.artefacts import export
from gan_augment.artefacts.export import folder_names, write_folder, write_npz
from gan_augment.data.arrays import arrays
from gan_augment.data.image_files import decode
from gan_augment.data.image_folder import image_folder
from gan_augment.data.image_set import ImageSet
from gan_augment.data.marks import MAKER, TRAINED, read_mark

CARD = {
    "licence": "cc-by-4.0",
    "trained on": {"data": "a | b\nc", "split": "c0ffee", "images": {"cat": 31, "dog": 29}},
    "metrics": {"fid": 12.345678, "recall": 0.25},
    "seeds": [3, 4],
}
ODD = [
    "a/b",
    "a\\b",
    "a_b",
    "..",
    "",
    "Cat",
    "cat",
    "nul",
    "größe 猫",
    " x. ",
    "manifest.csv",
    "l" * 300,
    "é",
    "e\u0301",
]


def made(channels=1, class_names=("dog", "cat"), num_images=11):
    """Make up a synthetic set, classes taking turns."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (num_images, channels, 5, 4), dtype=torch.uint8, generator=random)
    return ImageSet(pixels, torch.arange(num_images) % len(class_names), list(class_names))


def rows_of(images):
    return [{"latent_seed": 7, "latent_number": 2 * number, "checkpoint": "c0ffee"} for number in range(len(images))]


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


# ------------------------------------------------------------------------------------------------------ a folder


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_torchvision_reads_the_folder(tmp_path, channels, mode):
    images = made(channels)
    write_folder(images, rows_of(images), CARD, tmp_path / "deep" / "set")
    found = ImageFolder(tmp_path / "deep" / "set", loader=Image.open)
    assert found.classes == ["cat", "dog"]
    assert np.bincount(found.targets).tolist() == [5, 6]
    place = {row["file"]: number for number, row in enumerate(read_csv(tmp_path / "deep" / "set" / "manifest.csv"))}
    for path, label in found.samples:
        file = path.removeprefix(f"{tmp_path}/deep/set/")
        with Image.open(path) as picture:
            assert picture.mode == mode
            pixels = np.asarray(picture).reshape(5, 4, channels).transpose(2, 0, 1)
        assert (pixels == images.images[place[file]].numpy()).all()
        assert images.class_names[images.labels[place[file]]] == found.classes[label]


@pytest.mark.parametrize("class_names", [("dog", "cat"), ODD])
def test_the_manifest_says_of_each_image_in_order_what_it_is(tmp_path, class_names):
    images = made(class_names=class_names, num_images=2 * len(class_names))
    write_folder(images, rows_of(images), CARD, tmp_path / "set")
    manifest = read_csv(tmp_path / "set" / "manifest.csv")
    assert list(manifest[0]) == ["file", "label", "latent_seed", "latent_number", "checkpoint"]
    assert [row["label"] for row in manifest] == [*class_names, *class_names]
    assert [int(row["latent_number"]) for row in manifest] == list(range(0, 2 * len(images), 2))
    files = [row["file"] for row in manifest]
    assert sorted(files) == sorted(str(path.relative_to(tmp_path / "set")) for path in tmp_path.glob("set/*/*.png"))
    assert len({file.split("/")[0] for file in files}) == len(class_names)
    for file, pixels in zip(files, images.images, strict=True):
        with Image.open(tmp_path / "set" / file) as picture:
            assert (np.asarray(picture) == pixels[0].numpy()).all()


def test_every_file_says_that_it_is_synthetic(tmp_path):
    images = made()
    rows = rows_of(images)
    write_folder(images, rows, CARD, tmp_path / "set")
    for line, row in zip(read_csv(tmp_path / "set" / "manifest.csv"), rows, strict=True):
        assert decode(tmp_path / "set" / line["file"], 4, "stretch", 1)[1]
        with Image.open(tmp_path / "set" / line["file"]) as picture:
            assert json.loads(read_mark(picture)) == {"label": line["label"], **row}


def test_the_folder_is_refused_as_real_images(tmp_path):
    images = made()
    write_folder(images, rows_of(images), CARD, tmp_path / "set")
    settings = {"root": str(tmp_path / "set"), "image_size": 4, "fit": "crop", "channels": 1, "white": None}
    settings |= {"skip_broken": False, "follow_links": False, "group_by": None, "cache": str(tmp_path / "cache")}
    for table in (None, str(tmp_path / "set" / "manifest.csv")):
        with pytest.raises(ValueError, match=r"11 of 11 images are marked as synthetic, .* cat/cat-00000\.png"):
            image_folder(table=table, allow_synthetic=False, **settings)
        assert image_folder(table=table, allow_synthetic=True, **settings).images.class_counts.tolist() == [5, 6]


def test_a_class_without_images_has_no_folder(tmp_path):
    images = made(class_names=["cat", "dog", "emu"], num_images=2)
    write_folder(images, rows_of(images), CARD, tmp_path / "set")
    assert ImageFolder(tmp_path / "set").classes == ["cat", "dog"]


def test_folders_have_the_names_of_their_classes_where_they_can():
    names = folder_names(ODD)
    assert len({name.casefold() for name in names}) == len(ODD)
    assert all(0 < len(f"{name}-00000.png".encode()) < 256 for name in names)
    assert not any(set(name) & set('<>:"/\\|?*\n') or name.startswith(".") for name in names)
    assert names[2] == "a_b"
    assert names[ODD.index("größe 猫")] == "größe 猫"
    assert [names[0], names[1], names[7], names[10]] == ["a_b-2", "a_b-3", "_nul", "manifest.csv-2"]


# ------------------------------------------------------------------------------------------------------- an npz


@pytest.mark.parametrize("channels", [1, 3])
def test_an_npz_holds_images_labels_and_the_card(tmp_path, channels):
    images = made(channels)
    rows = rows_of(images)
    write_npz(images, rows, CARD, tmp_path / "deep" / "v1.0.npz")
    with np.load(tmp_path / "deep" / "v1.0.npz", allow_pickle=False) as found:
        assert (found["images"] == images.images.numpy()).all()
        assert found["images"].dtype == np.uint8
        assert found["labels"].tolist() == [images.class_names[label] for label in images.labels]
        assert found["synthetic"].shape == ()
        assert json.loads(str(found["synthetic"])) == CARD
    manifest = read_csv(tmp_path / "deep" / "v1.0.manifest.csv")
    assert [row["index"] for row in manifest] == [str(number) for number in range(11)]
    assert [row["label"] for row in manifest] == ["dog", "cat"] * 5 + ["dog"]
    assert [row["latent_number"] for row in manifest] == [str(row["latent_number"]) for row in rows]
    assert len(list((tmp_path / "deep").iterdir())) == 4


def test_the_npz_is_refused_as_real_images(tmp_path):
    images = made()
    write_npz(images, rows_of(images), CARD, tmp_path / "set.npz")
    with pytest.raises(ValueError, match="11 of 11 images are marked as synthetic"):
        arrays(str(tmp_path / "set.npz"))
    source = arrays(str(tmp_path / "set.npz"), allow_synthetic=True)
    assert torch.equal(source.images.images, images.images)
    assert source.images.class_names == ["cat", "dog"]


# -------------------------------------------------------------------------------------------------------- card


@pytest.mark.parametrize(
    ("write", "out", "page"), [(write_folder, "set", "set/data_card.md"), (write_npz, "set.npz", "set.data_card.md")]
)
@pytest.mark.parametrize(("card", "licence"), [(CARD, "cc-by-4.0"), ({}, "unknown"), ({"licence": None}, "unknown")])
def test_the_card_is_read_by_programs_and_people(tmp_path, write, out, page, card, licence):
    images = made()
    write(images, rows_of(images), card, tmp_path / out)
    _, front, body = (tmp_path / page).read_text().split("---\n", 2)
    front, in_lines = yaml.safe_load(front), json.loads(json.dumps(card).replace("\\n", " "))
    assert front["license"] == licence
    assert "synthetic" in front["tags"]
    assert front["size_categories"] == ["n<1K"]
    assert front["gan_augment"] == {"num_images": 11, "images_per_class": {"dog": 6, "cat": 5}, "card": in_lines}
    assert f"The 11 images of this set are synthetic: {MAKER} made them" in body
    assert {"| size in pixels | 4x5 |", "| dog | 6 |", "| cat | 5 |"} <= set(body.split("\n"))
    if card == CARD:
        rows = ["| fid | 12.345678 |", "| images.cat | 31 |", "| data | a \\| b c |", "| seeds | 3, 4 |"]
        assert set(rows) <= set(body.split("\n"))


READ = """
import json, sys
import mlcroissant
found = mlcroissant.Dataset(jsonld=sys.argv[1])
assert not found.metadata.ctx.issues.errors
records = [{name: str(one.decode() if isinstance(one, bytes) else one) for name, one in record.items()}
           for record in found.records("records")]
print(json.dumps([found.metadata.license, records]))
"""


@pytest.mark.parametrize(
    ("write", "out", "about"),
    [(write_folder, "set", "set/croissant.json"), (write_npz, "set.npz", "set.croissant.json")],
)
def test_croissant_is_valid_and_gives_the_manifest(tmp_path, write, out, about):
    images = made()
    rows = [row | {"share": 0.5, "teacher_probability": None} for row in rows_of(images)]
    write(images, rows, CARD, tmp_path / out)
    # In a process of its own: mlcroissant's logger would close the file into which pytest captures what is printed.
    ended = subprocess.run([sys.executable, "-c", READ, tmp_path / about], capture_output=True, check=True, text=True)
    licence, records = json.loads(ended.stdout)
    assert licence == ["cc-by-4.0"]
    assert [one["records/latent_number"] for one in records] == [str(number) for number in range(0, 22, 2)]
    assert [one["records/label"] for one in records[:2]] == ["dog", "cat"]
    fields = json.loads((tmp_path / about).read_text())["recordSet"][0]["field"]
    assert {field["name"]: field["dataType"] for field in fields} == {
        ("file" if out == "set" else "index"): "sc:Text" if out == "set" else "sc:Integer",
        **{"label": "sc:Text", "latent_seed": "sc:Integer", "latent_number": "sc:Integer", "checkpoint": "sc:Text"},
        **{"share": "sc:Float", "teacher_probability": "sc:Text"},
    }


def test_exiftool_reads_the_digital_source_type(tmp_path):
    images = made()
    write_folder(images, rows_of(images), CARD, tmp_path / "set")
    if (exiftool := shutil.which("exiftool")) is None:
        pytest.skip("exiftool is not installed (Debian: libimage-exiftool-perl)")
    command = [exiftool, "-j", "-DigitalSourceType", str(tmp_path / "set" / "cat" / "cat-00000.png")]
    (found,) = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert found["DigitalSourceType"] in ("Trained Algorithmic Media", TRAINED)


# ----------------------------------------------------------------------------------------------------- refusals


WRITERS = [(write_folder, "set"), (write_npz, "set.npz")]


@pytest.mark.parametrize(("write", "out"), WRITERS)
@pytest.mark.parametrize(
    ("images", "rows", "message"),
    [
        (ImageSet(torch.zeros(2, 1, 1, 1), torch.zeros(2).long(), ["a"]), [{}] * 2, "no points"),
        (ImageSet(torch.zeros(2, 2, 4, 4).byte(), torch.zeros(2).long(), ["a"]), [{}] * 2, "uint8 of 2 channels"),
        (ImageSet(torch.zeros(2, 1, 4, 4).byte(), torch.tensor([0, -1]), ["a"]), [{}] * 2, "1 of 2 images have no la"),
        (made(), [{}] * 10, "10 rows for 11 images: give one row per image"),
        (made(), [{"a": 1}] * 10 + [{"b": 1}], r"row 10 has the columns \['b'\], row 0 \['a'\]: use the same"),
        (made(), [{"label": 1}] * 11, r"rows have the columns \['label'\]: .* rename yours"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, write, out, images, rows, message):
    with pytest.raises(ValueError, match=message):
        write(images, rows, CARD, tmp_path / out)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays_untouched(tmp_path):
    images = made()
    (tmp_path / "set").mkdir()
    write_folder(images, rows_of(images), CARD, tmp_path / "set")  # an empty folder is taken
    (tmp_path / "words").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for out in ("set", "words"):
        with pytest.raises(
            ValueError, match=f"{out} exists and is not empty: name another folder; nothing was written"
        ):
            write_folder(images, rows_of(images), {}, tmp_path / out)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["set.npz", "set.manifest.csv", "set.data_card.md", "set.croissant.json"])
def test_no_file_beside_an_npz_is_overwritten(tmp_path, name):
    images = made()
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"{name} exists: name another file; nothing was written"):
        write_npz(images, rows_of(images), CARD, tmp_path / "set.npz")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]
    with pytest.raises(ValueError, match=r"set: use a name that ends in \.npz"):
        write_npz(images, rows_of(images), CARD, tmp_path / "set")


def failing(error):
    def fail(*arguments):
        raise error

    return fail


@pytest.mark.parametrize(("write", "out"), WRITERS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("No space left on device")])
def test_a_writing_that_fails_leaves_nothing(tmp_path, monkeypatch, write, out, error):
    images = made()
    with monkeypatch.context() as patch:
        patch.setattr(export, "_write_manifest", failing(error))
        with pytest.raises((KeyboardInterrupt, OSError)):
            write(images, rows_of(images), CARD, tmp_path / out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("write", "out"), WRITERS)
def test_the_remains_of_a_killed_writing_are_cleared(tmp_path, monkeypatch, write, out):
    images, remains = made(), []

    def fail(path, *arguments):  # as in a process that has no time to clean up
        remains.append(shutil.copytree(path.parents[1], tmp_path / f"{out}.abc.partial"))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export, "_write_manifest", fail)
        with pytest.raises(KeyboardInterrupt):
            write(images, rows_of(images), CARD, tmp_path / out)
    assert [*tmp_path.iterdir()] == remains
    write(images, rows_of(images), CARD, tmp_path / out)
    assert not list(tmp_path.glob("*.partial"))
    assert len(list(tmp_path.rglob("*manifest.csv"))) == 1


@pytest.mark.parametrize(("write", "out"), WRITERS)
def test_folders_of_the_user_and_of_running_processes_stay(tmp_path, write, out):
    images = made()
    mine = [tmp_path / name / "photograph.png" for name in (f"{out}.partial", f"{out}.v1.partial", f".{out}.partial")]
    for path in mine:
        path.parent.mkdir()
        path.write_text("mine")
    running = tmp_path / f"{out}.abc.partial"
    running.mkdir()
    with FileLock(running / export.LOCK):
        write(images, rows_of(images), CARD, tmp_path / out)
    assert [path.read_text() for path in mine] == ["mine"] * 3
    assert running.exists()
    assert (tmp_path / out).exists()


@pytest.mark.parametrize("there", ["nothing", "an empty folder"])
@pytest.mark.parametrize(("write", "out"), WRITERS)
def test_of_two_processes_one_writes_the_set_and_the_other_is_refused(tmp_path, monkeypatch, write, out, there):
    images, checked = made(), export.check_free
    if there != "nothing" and write is write_folder:
        (tmp_path / out).mkdir()
    first = [{**row, "latent_seed": 1} for row in rows_of(images)]

    def check_free(path):
        checked(path)
        monkeypatch.setattr(export, "check_free", checked)
        write(images, first, CARD, path)  # the other process is faster

    monkeypatch.setattr(export, "check_free", check_free)
    with pytest.raises(ValueError, match=f"{out} was written by another process meanwhile: name another one"):
        write(images, rows_of(images), CARD, tmp_path / out)
    rows, found = export.read_manifest(tmp_path / out)
    assert [row["latent_seed"] for row in rows] == ["1"] * 11
    assert torch.equal(torch.stack(found), images.images)
    assert not list(tmp_path.glob("*.partial"))


# ------------------------------------------------------------------------------------------- texts from elsewhere

EVIL = [
    "=1+1",
    "@x",
    "-2+3",
    "a\x1b[31m\u202eb",
    "<script>x</script>",
    "[x](javascript:1)|`$(id)`",
    "</x> 'y' \"z\": {",
]


def test_names_from_elsewhere_do_no_harm_in_manifest_and_card(tmp_path):
    images = made(class_names=EVIL, num_images=len(EVIL))
    rows = [{"text": "=cmd", "number": -3}] * len(images)
    card = {"licence": "<b>", "trained on": {"data": EVIL[3], **dict.fromkeys(EVIL, "x")}}
    write_folder(images, rows, card, tmp_path / "set")
    manifest = read_csv(tmp_path / "set" / "manifest.csv")
    labels = ["'=1+1", "'@x", "'-2+3", "a[31mb", *EVIL[4:]]
    assert [row["label"] for row in manifest] == labels
    assert {(row["text"], row["number"]) for row in manifest} == {("'=cmd", "-3")}
    text = (tmp_path / "set" / "data_card.md").read_text()
    assert not set("\x1b\u202e<") & set(text)
    _, front, body = text.split("---\n", 2)
    front = yaml.safe_load(front)
    assert list(front["gan_augment"]["images_per_class"]) == [*EVIL[:3], "a[31mb", *EVIL[4:]]
    assert front["license"] == "<b>"
    assert "| &lt;script&gt;x&lt;/script&gt; | 1 |" in body
    assert r"| \[x\](javascript:1)\|\`$(id)\` | 1 |" in body
