import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from gan_augment.app import CONF
from gan_augment.artefacts.translator import TrainedTranslator
from gan_augment.data.image_set import ImageSet
from gan_augment.generators.translation import TrainTranslator
from gan_augment.generators.translation_design import TranslationSettings
from gan_augment.settings import build
from gan_augment.stages import StageStore
from gan_augment.synthesize import main

FILES = ("ants/1.jpg", "ants/here/2.png", "bees/1.png", "bees/1.tif", "3.bmp")


@pytest.fixture
def translator(image_set, cpu, tmp_path) -> Path:
    """Train a translator of images of 8x8 pixels into their negatives; return its checkpoint."""
    node = yaml.safe_load((CONF / "translation" / "cut.yaml").read_text())
    node |= {"images_seen": 16, "batch_size": 8, "task": 0.0, "match_prior": False}
    labelled = image_set()
    stage = TrainTranslator(
        labelled=labelled,
        pool=replace(labelled, images=255 - labelled.images).without_labels(),
        settings=build(node, "translation", TranslationSettings),
        decoding={"fit": "crop", "white": None, "background": None},
        seed=0,
        hardware=cpu,
    )
    return StageStore(tmp_path / "store").fetch(stage).folder / "weights.pt"


@pytest.fixture
def photos(tmp_path) -> Path:
    """Write images of 12x8 pixels, some of which differ only in their extensions."""
    random = np.random.default_rng(0)
    for file in FILES:
        (tmp_path / "photos" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 12), dtype=np.uint8)).save(tmp_path / "photos" / file)
    return tmp_path / "photos"


@pytest.fixture
def run(capsys):
    """Run the command; return what it prints, or the error."""

    def make(*options: str) -> str:
        try:
            main(options)
        except SystemExit:
            return capsys.readouterr().err
        return capsys.readouterr().out

    return make


def test_translations_keep_their_names_and_say_where_they_come_from(run, translator, photos, tmp_path):
    out = tmp_path / "out"
    said = run(f"generator={translator}", f"images={photos}", f"out={out}", "licence=MIT")
    assert said == f"5 translated images: {out}\n"
    with (out / "manifest.csv").open(newline="") as text:
        rows = {row["original"]: row for row in csv.DictReader(text)}
    assert {file: (row["file"], row["label"]) for file, row in rows.items()} == {
        "3.bmp": ("translated/3.png", "translated"),
        "ants/1.jpg": ("ants/1.png", "ants"),
        "ants/here/2.png": ("ants/here/2.png", "ants"),
        "bees/1.png": ("bees/1.png", "bees"),
        "bees/1.tif": ("bees/1-2.png", "bees"),
    }
    network = TrainedTranslator.load(translator, torch.device("cpu"))
    with Image.open(photos / "bees" / "1.png") as image:
        cut = pil_to_tensor(image.crop((2, 0, 10, 8)))[None]
    expected = network.translate(ImageSet(cut, torch.tensor([0]), ["bees"])).images[0]
    with Image.open(out / "bees" / "1.png") as image:
        assert "gan-augment" in image.info["Software"]
        assert pil_to_tensor(image).equal(expected)
    assert "whether translations still show them is not known" in (out / "data_card.md").read_text()


def test_written_translations_are_made_again(run, translator, photos, tmp_path):
    for out in (tmp_path / "out", tmp_path / "set.npz"):
        run(f"generator={translator}", f"images={photos}", f"out={out}")
        check = (f"generator={translator}", f"images={photos}", f"check={out}")
        assert "5 images of" in run(*check)
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(photos / "3.bmp")
    assert "1 of 5 images of" in run(*check)
    (photos / "3.bmp").unlink()
    assert "images: 3.bmp is not there, of which" in run(*check)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "translates images: name their folder, images=FOLDER"),
        (("images={photos}", "per_class=3"), "per_class cannot be combined with out=... and a translator"),
        (("images={photos}/none",), "images=.*none: not found: name a folder"),
    ],
)
def test_what_cannot_be_translated_is_refused(run, translator, photos, tmp_path, options, message):
    given = (one.format(photos=photos) for one in options)
    found = run(f"generator={translator}", *given, f"out={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()

    assert re.search(message, found)


def test_odd_names_stay_apart_and_can_be_checked(run, translator, photos, tmp_path):
    files = ("-a/1.png", "-a/=1.png", "Bees/1.png", "manifest.csv/2.png", "bees/1-2.png", "x/.png.tif", "x/con.bmp")
    for number, file in enumerate(files):
        (photos / file).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 20 * number, np.uint8)).save(photos / file)
    (photos / "readme.txt").write_text("no image")
    options = (f"generator={translator}", f"images={photos}")
    said = run(*options, f"out={tmp_path / 'out'}")
    names = [str(path.relative_to(tmp_path / "out")).casefold() for path in (tmp_path / "out").rglob("*.png")]
    assert said.startswith(f"{len(names)} translated images")
    assert len({*names}) == len(names) == len(FILES) + len(files) - 1  # x/.png.tif is hidden
    (photos / "-a" / "0.png").write_bytes((photos / "-a" / "1.png").read_bytes())  # a later one changes nothing
    assert f"{len(names)} images of" in run(*options, f"check={tmp_path / 'out'}")
    assert "licence cannot be combined with check=" in run(*options, f"check={tmp_path / 'out'}", "licence=MIT")


def test_broken_files_are_refused_or_left_out(run, translator, photos, tmp_path):
    (photos / "broken.png").write_text("no image")
    options = (f"generator={translator}", f"images={photos}", f"out={tmp_path / 'out'}")
    assert "set skip_broken=true to go on without" in run(*options)
    assert "5 translated images" in run(*options, "skip_broken=true")


def test_nothing_is_overwritten(run, translator, photos):
    assert "exists and is not empty" in run(f"generator={translator}", f"images={photos}", f"out={photos}")
