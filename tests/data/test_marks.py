import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gan_augment.data.marks import KEY, MAKER, PACKET, TRAINED, check_marked, png_mark, read_mark


@pytest.mark.parametrize("label", ["cat", "größe 猫", 'a "b"\n/c'])
def test_a_mark_is_read_back(tmp_path, label):
    mark = png_mark(label, {"checkpoint": "c0ffee", "latent_seed": 7})
    Image.new("L", (2, 2)).save(tmp_path / "image.png", pnginfo=mark)
    with Image.open(tmp_path / "image.png") as image:
        image.load()
        assert json.loads(read_mark(image)) == {"label": label, "checkpoint": "c0ffee", "latent_seed": 7}
        assert image.info["Software"] == MAKER
        assert f"Synthetic image of class {label}" in image.info["Description"]
        image.save(tmp_path / "again.png")
    with Image.open(tmp_path / "again.png") as again:
        again.load()
        assert read_mark(again) is None


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_the_digital_source_type_of_other_programs_is_a_mark(tmp_path, format):
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", PACKET)
    Image.new("L", (2, 2)).save(
        tmp_path / "image", format, **{"pnginfo": texts} if format == "PNG" else {"xmp": PACKET.encode()}
    )
    Image.new("L", (2, 2)).save(tmp_path / "plain", format)
    for name, mark in {"image": TRAINED, "plain": None}.items():
        with Image.open(tmp_path / name) as image:
            image.load()
            assert read_mark(image) == mark


def test_the_key_stays_as_it_is():
    assert KEY == "gan-augment-synthetic"  # else sets that were written before would be taken for real ones


@pytest.mark.parametrize(("number", "marked"), [(1, "1 of 1,000 images is"), (12, "12 of 1,000 images are")])
def test_marked_images_are_refused_or_noted(number, marked):
    assert check_marked("data.root=x", 0, 1000, "", allow_synthetic=False) == []
    with pytest.raises(
        ValueError, match=rf"^data\.root=x: {marked} marked as synthetic, for example a\.png: a test on them would"
    ):
        check_marked("data.root=x", number, 1000, "a.png", allow_synthetic=False)
    (note,) = check_marked("data.root=x", number, 1000, "a.png", allow_synthetic=True)
    assert note == f"{marked} marked as synthetic"
