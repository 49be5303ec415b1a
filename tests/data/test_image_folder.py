import os

import pytest
import torch
from PIL import Image

from gan_augment.data import image_folder as module
from gan_augment.data.image_folder import image_folder
from gan_augment.data.marks import png_mark


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


@pytest.fixture
def read(root, tmp_path):
    """Read the folder as 2x2 pixels of grey."""
    settings = {"table": None, "group_by": None, "image_size": 2, "fit": "stretch", "channels": 1, "white": None}
    settings |= dict.fromkeys(("skip_broken", "follow_links", "allow_synthetic"), False)
    settings["cache"] = str(tmp_path / "cache")
    return lambda **others: image_folder(**{"root": str(root), **settings, **others})


@pytest.fixture
def put(root):
    """Put images under the folder, each of a level of grey of its own."""
    number = iter(range(1, 256))

    def put(*names, at=root):
        for name in names:
            (at / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (2, 2), next(number)).save(at / name, "PNG")

    return put


@pytest.fixture
def write(tmp_path):
    """Write a table."""

    def write(*lines, encoding="utf-8"):
        (tmp_path / "table.csv").write_text("\n".join(lines), encoding=encoding)
        return str(tmp_path / "table.csv")

    return write


def seen(source):
    """Say of each name its class and its level of grey."""
    names = [source.images.class_names[label] for label in source.images.labels.tolist()]
    levels = source.images.images[torch.arange(len(names))][:, 0, 0, 0].tolist()
    return {file: (name, level) for file, name, level in zip(source.names, names, levels, strict=True)}


def test_sub_folders_are_classes(put, read):
    put("dogs/b.png", "cats/z.jpg", "dogs/a", "cats/young/1/x.png", "dogs/young/x.png")
    source = read()
    assert seen(source) == {
        "cats/young/1/x.png": ("cats", 4),
        "cats/z.jpg": ("cats", 2),
        "dogs/a": ("dogs", 3),
        "dogs/b.png": ("dogs", 1),
        "dogs/young/x.png": ("dogs", 5),
    }
    assert list(source.names) == sorted(source.names)
    assert source.images.class_names == ["cats", "dogs"]
    assert source.images.labels.dtype == torch.int64
    assert source.images.images.dtype == torch.uint8
    assert (source.test, source.validation, list(source.notes)) == (None, None, [])


def test_what_is_no_image_of_a_class_is_ignored(put, read, root):
    put("cats/a.png", "cats/.b.png", "cats/.git/c.png", ".hidden/d.png", ".e.png")
    put("__MACOSX/cats/b.png", "cats/__macosx/c.png", "cats/._a.png", "$RECYCLE.BIN/dogs/d.png")
    for name in ("README.md", "labels.csv", "cats/Thumbs.db", "cats/Desktop.ini", "cats/.DS_Store"):
        (root / name).write_text("no image")
    os.mkfifo(root / "cats" / "pipe")
    assert list(read().names) == ["cats/a.png"]


def test_images_outside_the_class_folders_are_refused(put, read):
    put("cats/a.png", "x.JPG", "y.webp", "z.png")
    with pytest.raises(ValueError, match=r"3 images outside the class folders, for example x\.JPG: move them"):
        read()


@pytest.mark.parametrize("validation", ["validation", "val"])
def test_parts_of_a_split(put, read, validation):
    put("train/dogs/a.png", "train/cats/a.png", "test/cats/b.png", f"{validation}/dogs/c.png", "test/cats/a.png")
    source = read()
    assert source.images.class_names == ["cats", "dogs"]
    part = {name: "train" for name in source.names}
    part |= {source.names[index]: "test" for index in source.test.tolist()}
    part |= {source.names[index]: validation for index in source.validation.tolist()}
    assert part == {name: name.split("/")[0] for name in source.names}
    assert {name: label for name, (label, _) in seen(source).items()} == {
        name: name.split("/")[1] for name in source.names
    }
    assert source.test.dtype == source.validation.dtype == torch.int64


def test_a_part_may_be_missing(put, read):
    put("Train/cats/a.png", "Test/cats/b.png")
    source = read()
    assert source.validation is None
    assert [source.names[index] for index in source.test.tolist()] == ["Test/cats/b.png"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["train/cats/a.png", "dev/cats/b.png"],
            "dev may be parts of a split: rename dev to validation$",
        ),
        (
            ["train/cats/a.png", "docs/cats/b.png"],
            "train may be parts of a split, but next to them is docs: leave only train, ",
        ),
        (["test/cats/a.png", "val/cats/b.png"], "there is test and val, but no train"),
        (["train/cats/a.png", "test/cats/a.png", "test/b.png"], r"1 image outside .*, for example test/b\.png"),
        (["train/cats/a.png", "test/readme"], "no class folder in .*test: make one for each class"),
        (["train/cats/a.png", "test/dogs/b.png"], "class 'dogs' of test has no training image"),
    ],
)
def test_parts_that_are_none_are_refused(put, read, files, message):
    put(*files)
    with pytest.raises(ValueError, match=message):
        read()


def test_a_class_may_be_called_like_a_part(put, read):
    put("test/a.png", "quiz/b.png")
    assert read().images.class_names == ["quiz", "test"]


def test_empty_classes_are_named(put, read, root):
    put("cats/a.png")
    (root / "dogs").mkdir()
    (root / "emus" / "young").mkdir(parents=True)
    with pytest.raises(
        ValueError, match="2 problems:\nclass 'dogs' has no image: add images or delete its folder\nclass 'emus' has"
    ):
        read()


def test_an_empty_class_of_a_part_is_named(put, read, root):
    put("train/cats/a.png", "test/cats/a.png", "train/dogs/a.png")
    (root / "test" / "dogs").mkdir()
    with pytest.raises(ValueError, match="class 'dogs' has no image in test: add images"):
        read()


def test_a_class_that_cannot_be_written_is_named(put, read):
    put(os.fsdecode(b"caf\xe9") + "/a.png")
    with pytest.raises(ValueError, match=r"class 'caf\\udce9': rename it"):
        read()


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere", "not found"), ("file", "this is a file"), ("empty", "no class folder")]
)
def test_a_root_without_classes_is_refused(tmp_path, read, name, message):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=rf"data\.root=.*{name}: {message}"):
        read(root=str(tmp_path / name))


def test_a_root_may_lie_in_the_home_folder(put, read, root, monkeypatch):
    put("cats/a.png")
    monkeypatch.setenv("HOME", str(root.parent))
    assert list(read(root="~/photos", cache="~/cache").names) == ["cats/a.png"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"image_size": 0}, r"data\.image_size=0: use a whole number of at least 1"),
        ({"fit": "pad"}, r"data\.fit=pad: use one of letterbox, crop, stretch"),
        ({"channels": 2}, r"data\.channels=2: use one of 1, 3"),
        ({"skip_broken": "yes"}, r"data\.skip_broken=yes: use true or false"),
        ({"follow_links": 1}, r"data\.follow_links=1: use true or false"),
        ({"allow_synthetic": "no"}, r"data\.allow_synthetic=no: use true or false"),
    ],
)
def test_settings_out_of_range_are_refused(read, setting, message):
    with pytest.raises(ValueError, match=message):
        read(**setting)


def test_broken_files_are_named_in_one_error(put, read, root):
    put("cats/a.png", "dogs/b.png")
    (root / "cats" / "empty.png").touch()
    (root / "dogs" / "notes\n.txt").write_text("no image")
    with pytest.raises(ValueError, match="2 files cannot be read") as error:
        read()
    head, *lines = str(error.value).split("\n")
    assert head == "2 files cannot be read; set data.skip_broken=true to go on without:"
    assert lines == ["cats/empty.png (empty)", r"'dogs/notes\n.txt' (not an image that Pillow can read)"]


def test_broken_files_are_skipped_on_demand_and_counted(put, read, root):
    put("cats/a.png", "cats/c.png", "dogs/b.png")
    for number in range(6):
        (root / "cats" / f"b{number}.png").touch()
    source = read(skip_broken=True)
    assert seen(source) == {"cats/a.png": ("cats", 1), "cats/c.png": ("cats", 2), "dogs/b.png": ("dogs", 3)}
    named = ", ".join(f"cats/b{number}.png (empty)" for number in range(5))
    assert list(source.notes) == [f"6 files could not be read and were left out: {named}, ..."]


def test_a_class_of_broken_files_alone_is_named(put, read, root):
    put("cats/a.png")
    (root / "dogs").mkdir()
    (root / "dogs" / "b.png").touch()
    with pytest.raises(ValueError, match="class 'dogs' has no image: add images"):
        read(skip_broken=True)


@pytest.fixture
def mark(root):
    """Mark an image as synthetic, all else equal."""

    def mark(name):
        with Image.open(root / name) as image:
            image.save(root / name, "PNG", pnginfo=png_mark("cats", {"latent_seed": 3}))

    return mark


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("others", [{}, {"skip_broken": True}])
def test_synthetic_images_are_refused_at_every_start(put, read, write, mark, table, others):
    files = ["cats/a.png", "cats/b.png", "dogs/c.png", "dogs/d.png"]
    put(*files)
    others |= {"table": write("file,label", *(f"{file},{file[:4]}" for file in files))} if table else {}
    real = read(**others)
    mark("cats/b.png")
    mark("dogs/c.png")
    for _ in range(2):
        with pytest.raises(
            ValueError,
            match=r"data\.root=.*photos: 2 of 4 images are marked as synthetic, for example cats/b\.png: a test on "
            r"them would measure the generator; remove them, or set data\.allow_synthetic=true$",
        ):
            read(**others)
    for _ in range(2):
        source = read(**others, allow_synthetic=True)
        assert seen(source) == seen(real)
        assert list(source.notes) == ["2 of 4 images are marked as synthetic"]
    assert list(real.notes) == []


def test_synthetic_images_that_the_table_leaves_out_are_no_matter(put, read, write, mark):
    put("cats/a.png", "cats/b.png", "dogs/c.png")
    mark("cats/b.png")
    source = read(table=write("file,label", "cats/a.png,cat", "dogs/c.png,dog"))
    assert (list(source.names), list(source.notes)) == (["cats/a.png", "dogs/c.png"], [])


def test_an_image_that_was_saved_without_its_mark_is_taken(put, read, root, mark):
    put("cats/a.png", "dogs/b.png")
    mark("cats/a.png")
    with pytest.raises(ValueError, match="1 of 2 images is marked as synthetic"):
        read()
    with Image.open(root / "cats" / "a.png") as image:
        image.save(root / "cats" / "a.png")
    assert list(read().names) == ["cats/a.png", "dogs/b.png"]


def test_many_images_stay_in_their_file(put, read, monkeypatch):
    put("cats/a.png", "dogs/b.png", "cats/c.png")
    small = read()
    monkeypatch.setattr(module, "IN_MEMORY", 3 * 2 * 2 - 1)
    large = read()
    assert isinstance(small.images.images, torch.Tensor)
    assert not isinstance(large.images.images, torch.Tensor)
    assert seen(large) == seen(small)
    assert large.images.fingerprint == small.images.fingerprint


def test_links_inside_are_followed(put, read, root):
    put("cats/a.png", "dogs/young/b.png", ".store/c.png")
    (root / "cats" / "again.png").symlink_to("a.png")
    (root / "cats" / "stored.png").symlink_to(root / ".store" / "c.png")
    (root / "wolves").symlink_to("dogs")
    assert {name: label for name, (label, _) in seen(read()).items()} == {
        "cats/a.png": "cats",
        "cats/again.png": "cats",
        "cats/stored.png": "cats",
        "dogs/young/b.png": "dogs",
        "wolves/young/b.png": "wolves",
    }


def test_links_out_of_the_folder_are_followed_on_demand(put, read, root, tmp_path):
    put("cats/a.png")
    put("x.png", "young/y.png", at=tmp_path / "elsewhere")
    (root / "cats" / "file.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    (root / "cats" / "folder").symlink_to(tmp_path / "elsewhere" / "young")
    (root / "dogs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r": cats/file\.png, cats/folder, dogs: set data\.follow_links=true"):
        read()
    assert {name: label for name, (label, _) in seen(read(follow_links=True)).items()} == {
        "cats/a.png": "cats",
        "cats/file.png": "cats",
        "cats/folder/y.png": "cats",
        "dogs/x.png": "dogs",
        "dogs/young/y.png": "dogs",
    }


@pytest.mark.parametrize("follow_links", [False, True])
def test_links_in_circles_end(put, read, root, follow_links):
    put("cats/a.png", "dogs/b.png")
    (root / "cats" / "all").symlink_to(root)
    (root / "cats" / "dogs").symlink_to(root / "dogs")
    (root / "dogs" / "cats").symlink_to(root / "cats")
    assert list(read(follow_links=follow_links).names) == [
        "cats/a.png",
        "cats/dogs/b.png",
        "dogs/b.png",
        "dogs/cats/a.png",
    ]


def test_a_link_to_nowhere_is_a_broken_file(put, read, root):
    put("cats/a.png")
    (root / "cats" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(ValueError, match=r"cats/gone\.png \(No such file or directory\)"):
        read()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_says_what_is_where(put, read, write, root, encoding):
    put("b.png", "größe, 1/a.png", "c.png")
    table = write("label,file,who", "dog,b.png,me", ' cat ,"größe, 1/./a.png",', "", encoding=encoding)
    source = read(table=table)
    assert seen(source) == {"b.png": ("dog", 1), "größe, 1/a.png": ("cat", 2)}
    assert source.test is None
    inside = write("file,label", f"{root / 'b.png'},dog", "nowhere/../c.png,cat")
    (root / "nowhere").mkdir()
    assert list(read(table=inside).names) == ["b.png", "c.png"]


@pytest.mark.parametrize("parts", [("", ""), ("train/", "test/")], ids=["classes", "parts"])
@pytest.mark.parametrize("word", ["unlabelled", "Unlabeled"])
def test_a_folder_beside_them_holds_images_without_labels(put, read, parts, word):
    train, test = parts
    put(f"{train}cats/a.png", f"{test}cats/b.png", f"{train}dogs/a.png", f"{word}/c.png", f"{word}/deep/cats/d.png")
    source = read()
    assert source.images.class_names == ["cats", "dogs"]
    labels = dict(zip(source.names, source.images.labels.tolist(), strict=True))
    assert labels == {
        **{f"{train}cats/a.png": 0, f"{test}cats/b.png": 0, f"{train}dogs/a.png": 1},
        **{f"{word}/c.png": -1, f"{word}/deep/cats/d.png": -1},
    }
    assert [source.names[index] for index in (() if source.test is None else source.test.tolist())] == (
        [f"{test}cats/b.png"] if test else []
    )


def test_unlabelled_images_of_a_class_that_no_labelled_image_shows_are_told(put, read):
    put("cats/a.png", "dogs/a.png", "unlabelled/cats/b.png", "unlabelled/c.png")
    assert read().notes == []
    put("unlabelled/emus/d.png", "unlabelled/emus/e.png", "unlabelled/gnus/f.png")
    (note,) = read().notes
    assert note.startswith(
        "unlabelled images have names that are no class of the labelled ones ('emus', 2 images; 'gnus', 1 image): "
    )


def test_unlabelled_images_alone_are_no_classes(put, read):
    put("unlabelled/cats/a.png")
    with pytest.raises(ValueError, match="no class folder in"):
        read()


def test_a_table_may_hold_images_without_labels(put, read, write):
    put(*"abcde")
    table = write(
        "file,label,split", "a,cat,train", "b,dog,train", "c,,unlabelled", "d,cat,unlabeled", "e,emu,unlabelled"
    )
    source = read(table=table)
    assert source.images.class_names == ["cat", "dog"]
    assert source.images.labels.tolist() == [0, 1, -1, -1, -1]
    (note,) = source.notes
    assert "names that are no class of the labelled ones ('emu', 1 image)" in note


def test_a_table_may_split(put, read, write):
    put(*"abcd")
    table = write("file,label,split", "a,cat,train", "b,cat,val", "c,cat,Validation", "d,cat,test")
    source = read(table=table)
    assert (source.validation.tolist(), source.test.tolist()) == ([1, 2], [3])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,class", "a,cat"], r"has the columns \['image', 'class'\]: name them file, label and"),
        (["file/label", "a/cat"], r"has the columns \['file/label'\]: name them file, label and"),
        (["file,label", "a,cat,dog"], "line 2: more cells than columns: quote a cell that has a delimiter in it"),
        (["file,label,Label", "a,cat,dog"], "has several columns label: give them different names"),
        ([], r"has the columns \[\]"),
        (["file,label"], "has no row: write one for each image"),
        (["file,label", "a,cat", "b, "], "has 1 problem:\nline 3: no label"),
        (["file,label", "a"], "has 1 problem:\nline 2: no label"),
        (["file,label", "a,cat", "x,cat", ",cat"], "2 problems:\nline 3: no file 'x' in .*\nline 4: no file '' in"),
        (["file,label", "a,cat", "b,cat", "./a,dog"], "line 4: a is in line 2 too"),
        (
            ["file,label,split", "a,cat,train", "b,cat,dev"],
            "line 3: split 'dev' is no part: write validation$",
        ),
        (["file,label,split", "a,cat,trian", "b,cat,Test set"], "'trian' .* write train\n.*'Test set' .* write test$"),
        (["file,label,split", "a,cat,train", "b,cat"], "line 3: split '' is no part: write one of train, training"),
        (["file,label,split", "a,cat,train", "b,dog,test"], "class 'dog' of test has no training image"),
        (["file,label", *["x,cat"] * 30], "has 30 problems:\n(line .*\n){20}and 10 more"),
    ],
)
def test_a_table_that_leaves_something_open_is_refused(put, read, write, lines, message):
    put("a", "b")
    with pytest.raises(ValueError, match=message):
        read(table=write(*lines))


CAFE = ("caf\u00e9", "cafe\u0301")  # composed and decomposed


def test_names_are_compared_as_people_read_them(put, read, root):
    put(f"Train/{CAFE[0]}/a.png", f"train /{CAFE[1]}/b.png", " TEST/Dog/c.png", "Train/dog/d.png", "Train/dog/e.png")
    put(f"Unlabelled/{CAFE[1]}/f.png")
    source = read()
    assert source.images.class_names == [CAFE[0], "dog"]
    assert dict(zip(source.names, source.images.labels.tolist(), strict=True)) == {
        **{f"Train/{CAFE[0]}/a.png": 0, f"train /{CAFE[1]}/b.png": 0, " TEST/Dog/c.png": 1},
        **{"Train/dog/d.png": 1, "Train/dog/e.png": 1, f"Unlabelled/{CAFE[1]}/f.png": -1},
    }
    assert [source.names[index] for index in source.test.tolist()] == [" TEST/Dog/c.png"]
    assert source.notes == [
        "names that differ only in case are one class: 'Dog' = 'dog'; if these are several classes, rename them"
    ]


def test_a_table_is_compared_as_people_read_it(put, read, write):
    put(f"{CAFE[1]}.png", "B.PNG", "c.png", "d.png")
    table = write(
        " File ,LABEL,Split", f"{CAFE[0]}.png,{CAFE[0]},Train ", f"b.png, {CAFE[1]},train", "c.png,x,TEST", "d.png,X,"
    )
    with pytest.raises(ValueError, match="has 1 problem:\nline 5: split '' is no part: write one of"):
        read(table=table)
    table = write(" File ,LABEL", f"{CAFE[0]}.png,{CAFE[0]}", f"b.png, {CAFE[1]}", "c.png,x", "d.png,X")
    source = read(table=table)
    assert source.images.class_names == ["X", CAFE[0]]
    assert sorted(source.names) == ["B.PNG", "c.png", f"{CAFE[1]}.png", "d.png"]


@pytest.mark.parametrize(
    ("folders", "remedy"),
    [
        (["training_set/cats", "test_set/cats"], "training_set to train, test_set to test"),
        (["Train-Images/cats", "validation set/cats"], "Train-Images to train, validation set to validation"),
        (["train/cats", "vaildation/cats"], "vaildation to validation"),
        (["seg_train/cats", "seg_test/cats", "docs"], "seg_test to test, seg_train to train"),
        (["train", "test1"], "test1 to test"),
        (["cats", "dogs", "unlabeled_images"], "unlabeled_images to unlabelled"),
        (["train2017/cats", "val2017/cats"], "train2017 to train, val2017 to validation"),
        (["TrainingData/cats", "testset/cats"], "TrainingData to train, testset to test"),
        (["train/cats", "Holdout/cats"], "Holdout to test"),
    ],
)
def test_near_misses_of_parts_are_refused_with_the_right_name(put, read, root, folders, remedy):
    put(*(f"{folder}/a.png" for folder in folders))
    with pytest.raises(ValueError, match=" may be parts of a split: rename ") as error:
        read()
    named = str(error.value).split("rename ")[1].split(", ")
    assert sorted(named) == sorted(remedy.split(", "))
    for one in named:  # as the message says
        old, new = one.split(" to ")
        (root / old).rename(root / new)
    if all("/" in folder for folder in folders):
        assert read().images.class_names == ["cats"]


@pytest.mark.parametrize("folders", [("test tube", "train station"), ("valid ticket", "forged"), ("brain", "grain")])
def test_classes_that_sound_like_parts_are_classes(put, read, folders):
    put(*(f"{folder}/a.png" for folder in folders), *(f"{folder}/b.png" for folder in folders))
    assert read().images.class_names == sorted(folders)


def test_a_class_that_is_called_like_a_part_is_noted(put, read):
    put("cats/a.png", "dogs/b.png", "test/c.png")
    assert read().notes == ["the folder test counts as a class, not as a part of a split"]


@pytest.mark.parametrize("part", ["", "train/"])
def test_a_folder_in_the_way_is_named(put, read, root, part):
    put(f"{part}dataset/cats/a.png", f"{part}dataset/dogs/b.png", "unlabelled/c.png")
    with pytest.raises(ValueError, match=f"{part}dataset is a single folder with all images in folders below it") as e:
        read()
    if not part:
        inner = str(e.value).split("set data.root=")[1].split(";")[0]
        assert read(root=inner).images.class_names == ["cats", "dogs"]
        assert read(group_by=r"cats|dogs|unlabelled").images.class_names == ["dataset"]  # the user knows the folders
    else:
        target = str(e.value).split("move them up into ")[1].split(";")[0]
        for name in ("cats", "dogs"):
            (root / part / "dataset" / name).rename(f"{target}/{name}")
        (root / part / "dataset").rmdir()
        assert read().images.class_names == ["cats", "dogs"]


def test_parts_below_the_classes_are_refused(put, read, root):
    put("images/train/cats/a.png", "images/val/cats/b.png", "docs/c.png")
    with pytest.raises(ValueError, match="images has parts of a split in it, such as train: if it holds the data") as e:
        read()
    assert read(root=str(e.value).split("set data.root=")[1].split(";")[0]).validation.tolist() == [1]


def test_test_images_without_class_folders_count_as_unlabelled(put, read):
    put("train/cats/a.png", "train/dogs/b.png", "test/c.png", "test/d.png")
    source = read()
    assert dict(zip(source.names, source.images.labels.tolist(), strict=True)) == {
        **{"train/cats/a.png": 0, "train/dogs/b.png": 1, "test/c.png": -1, "test/d.png": -1}
    }
    assert source.test is None
    assert source.notes == ["test has no class folders: its images count as unlabelled, and test nothing"]


# ------------------------------------------------------------------------------------------------ tables of others


def test_the_columns_that_hold_file_and_label_are_guessed_by_their_names(put, read, write):
    put(*"ab")
    with pytest.raises(ValueError, match=r"such as 'data\.columns={file: image_id, label: dx}'$"):
        read(table=write("lesion_id,image_id,sex,localized,dx", "L1,a,0,1,cat", "L2,b,1,1,dog"))
    with pytest.raises(
        ValueError, match=r"such as 'data\.columns={file: \"Image Index\", label: \"Finding Labels\"}'$"
    ):
        read(table=write("Finding Labels,Image Index", "cat,a", "dog,b"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_columns_of_a_table_may_have_other_names(put, read, write, delimiter):
    put("images/x1.jpg", "images/x2.jpg", "images/x3.jpg")
    lines = ["image_id,Finding Label,part", "x1,cat,train", "x2,dog,train", "x3,cat,test"]
    table = write(*(line.replace(",", delimiter) for line in lines))
    with pytest.raises(ValueError, match=r"has the columns \['image_id', 'Finding Label', 'part'\]") as error:
        read(table=table)
    columns = plain_override(str(error.value).split("such as '")[1].removesuffix("'"))
    assert columns == {"file": "image_id", "label": "Finding Label"}
    source = read(table=table, columns=columns | {"split": "part"})
    assert {file: label for file, (label, _) in seen(source).items()} == {
        "images/x1.jpg": "cat",
        "images/x2.jpg": "dog",
        "images/x3.jpg": "cat",
    }
    assert source.test.tolist() == [2]


def plain_override(text):
    """Read a setting of the command line as Hydra does."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([text])
    return override.value()


def test_one_hot_columns_are_labels(put, read, write):
    put(*"abc")
    table = write("image,cat,dog,age", "a,1.0,0.0,7", "b,0,1,8", "c,1,,9")
    with pytest.raises(ValueError, match="say which is which") as error:
        read(table=table)
    columns = plain_override(str(error.value).split("such as '")[1].removesuffix("'"))
    assert columns == {"file": "image", "label": ["cat", "dog"]}
    assert {file: label for file, (label, _) in seen(read(table=table, columns=columns)).items()} == {
        **{"a": "cat", "b": "dog", "c": "cat"}
    }
    both = write("image,cat,dog", "a,1,1", "b,0,0", "c,0.4,0.6")
    with pytest.raises(ValueError, match="has 3 problems") as error:
        read(table=both, columns=columns)
    assert str(error.value).split("\n")[1:] == [
        "line 2: the labels cat, dog: an image has one label here, and several are not supported",
        "line 3: no label",
        "line 4: cat is '0.4': use 0 or 1 in each column of a one-hot label",
    ]


def test_several_labels_in_one_cell_are_refused(put, read, write):
    put(*"abc")
    with pytest.raises(
        ValueError, match=r"'cat\|dog' names 2 classes: an image has one label here, and several are not"
    ):
        read(table=write("file,label", "a,cat", "b,dog", "c,cat|dog"))
    assert read(table=write("file,label", "a,cat", "b,dog|wolf", "c,emu")).images.num_classes == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"file": "a", "class": "b"}, r"data\.columns={.*}: use some of file, label, split, group"),
        ({"label": "dx"}, r"data\.columns names dx, but data\.table=.* has file, label"),
        ({"file": ["file", "label"]}, r"data\.columns: file is .*: use one column; only a one-hot label has several"),
        ("file", r"data\.columns=file: use some of"),
    ],
)
def test_columns_that_are_none_are_refused(put, read, write, columns, message):
    put("a")
    with pytest.raises(ValueError, match=message):
        read(table=write("file,label", "a,cat"), columns=columns)
    with pytest.raises(ValueError, match=r"data\.columns={'file': 'a'} names the columns of a table: set data\.table"):
        read(columns={"file": "a"})


def test_a_file_that_a_name_leaves_open_is_named(put, read, write):
    put("x/a.png", "y/a.png", "b.jpg", "b.png")
    with pytest.raises(ValueError, match="has 2 problems") as error:
        read(table=write("file,label", "a.png,cat", "b,dog", "x\\A.png,cat"))
    assert str(error.value).split("\n")[1:] == [
        "line 2: 'a.png' may be x/a.png or y/a.png: write the whole name",
        "line 3: 'b' may be b.jpg or b.png: write the whole name",
    ]
    assert read(table=write("file,label", "x/a.png,cat", "b.jpg,dog")).names == ["b.jpg", "x/a.png"]


def test_labels_of_stylegan_are_read(put, read, root):
    put("00000/a.png", "00000/b.png", "00001/c.png")
    table = root / "dataset.json"
    table.write_text('{"labels": [["00000/a.png", 3], ["00000/b.png", [0, 1]], ["00001/c.png", 3]]}')
    with pytest.raises(ValueError, match=r"dataset\.json, and not the folders, has the labels") as error:
        read()
    source = read(table=str(error.value).split("data.table=")[1].split(",")[0])
    assert source.images.class_names == ["1", "3"]
    assert source.images.labels.tolist() == [1, 0, 1]
    for labels, message in (
        ("null", "it has no labels"),
        *((f'[["00000/a.png", {label}]]', "one class is due") for label in ("[1, 1]", "[0.5, 0.5]", "null", "0.5")),
        ("[" * 5000, "maximum recursion depth"),
    ):
        table.write_text(f'{{"labels": {labels}}}')
        with pytest.raises(ValueError, match=rf"cannot be read as the dataset\.json of StyleGAN: .*{message}"):
            read(table=str(table))


def test_ink_on_transparent_ground_is_not_lost(read, root):
    for number, name in enumerate(("cats", "dogs")):
        (root / name).mkdir()
        drawing = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
        drawing.putpixel((number, 0), (0, 0, 0, 255))
        drawing.save(root / name / "a.png")
    with pytest.raises(ValueError, match="2 files cannot be read") as error:
        read(image_size=8)
    assert "cats/a.png (it is invisible on black: set data.background, such as data.background=white)" in str(
        error.value
    )
    white = read(image_size=8, background="white").images.images
    assert white[:, 0, 0].tolist() == [[0] + [255] * 7, [255, 0] + [255] * 6]
    with pytest.raises(ValueError, match=r"data\.background=paper: use a colour, such as white or '#ff8000'"):
        read(background="paper")


def test_a_table_that_cannot_be_read_is_named(put, read, write, tmp_path):
    put("a")
    with pytest.raises(ValueError, match=r"data\.table=.*none\.csv cannot be read .*No such file"):
        read(table=str(tmp_path / "none.csv"))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-32"])
def test_a_table_in_another_encoding_is_refused_with_the_right_one(put, read, write, encoding):
    put("a")
    with pytest.raises(
        ValueError, match=r"^data\.table=.*table\.csv is not in UTF-8: save it so, in Excel as 'CSV UTF-8'$"
    ):
        read(table=write("file,label", "a,größe", encoding=encoding))


def test_a_table_leads_out_of_the_folder_on_demand(put, read, write, root, tmp_path):
    put("cats/a.png")
    put("x.png", "y.png", "z.png", at=tmp_path / "elsewhere")
    (root / "cats" / "link.png").symlink_to(tmp_path / "elsewhere" / "z.png")
    files = ["cats/a.png", "../elsewhere/x.png", str(tmp_path / "elsewhere" / "y.png"), "cats/link.png"]
    table = write("file,label", *(f"{file},cat" for file in files))
    with pytest.raises(
        ValueError, match=r"3 paths outside of .*: \.\./elsewhere/x\.png, \.\./elsewhere/y\.png, cats/link"
    ):
        read(table=table)
    assert len(read(table=table, follow_links=True).names) == 4


# ------------------------------------------------------------------------------------------------------- groups


def test_groups_come_from_a_column_or_from_the_files(put, read, write):
    put("cats/p1_1.png", "cats/p2_1.png", "dogs/p1_2.png", "dogs/old/p3_1.png")
    assert read().groups is None
    assert read(group_by=r"(p\d)_").groups == ["p1", "p2", "p3", "p1"]
    table = write("file,label,group", "cats/p2_1.png,cat,ann", "dogs/p1_2.png,dog,ann", "cats/p1_1.png,cat,")
    source = read(table=table)
    assert (source.names, source.groups) == (["cats/p1_1.png", "cats/p2_1.png", "dogs/p1_2.png"], ["", "ann", "ann"])
    with pytest.raises(
        ValueError, match=r"^data\.group_by=p, but data\.table=.* has a column group: use one of the two"
    ):
        read(table=table, group_by="p")


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        ("p(", r"^data\.group_by=p\(: this is no regular expression"),
        ("q", r"^data\.group_by=q: 3 of 3 files do not match, for example 'cats/p1_1\.png', 'cats/p2_1\.png', 'dogs/"),
        ("cats", r"^data\.group_by=cats: 1 of 3 files do not match, for example 'dogs/old/p3_1\.png': rename them, or"),
        (
            "folder",
            r"^data\.group_by=folder: 2 of 3 files are in no folder below that of a class, for example 'cats/p1_",
        ),
        (5, r"^data\.group_by=5: use folder or a regular expression"),
    ],
)
def test_files_without_a_group_are_refused_before_they_are_read(put, read, monkeypatch, group_by, message):
    put("cats/p1_1.png", "cats/p2_1.png", "dogs/old/p3_1.png")
    monkeypatch.setattr(module, "decode_files", None)
    with pytest.raises(ValueError, match=message):
        read(group_by=group_by)


def test_names_that_look_like_groups_are_noted_unless_groups_are_told(put, read):
    put(
        *(f"{label}s/{label}{patient}_{number}.png" for label in ("cat", "dog") for patient in "abc" for number in "12")
    )
    (said,) = read().notes
    assert said.startswith("file names look as if 12 images belong together in 6 groups: cata (2 images), catb")
    expression = said.split('data.group_by="')[1].removesuffix("\"'")
    told = read(group_by=expression)
    assert (told.groups[::2], list(told.notes)) == (["cata", "catb", "catc", "doga", "dogb", "dogc"], [])


def test_the_configuration_has_every_setting(put, root, tmp_path):
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from gan_augment.app import CONF
    from gan_augment.data.source import Source
    from gan_augment.settings import build

    put("cats/a.png", "dogs/b.png")
    with initialize_config_dir(str(CONF)):
        overrides = ["data=image_folder", f"data.root={root}", f"paths.output_dir={tmp_path}"]
        node = OmegaConf.to_container(compose("config", overrides=overrides).data, resolve=True)
    node = {key: value for key, value in node.items() if key not in ("test_share", "classical")}
    source = build(node, "data", Source)
    assert source.images.images.shape == (2, 3, 32, 32)
    assert (tmp_path / "store" / "images" / "listings").is_dir()


def test_a_table_that_is_no_file_of_a_sensible_size_is_refused(put, read, root, tmp_path, nothing_hangs):
    put("a")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**33)
    (tmp_path / "zeros").symlink_to("/dev/zero")
    for name, reason in (
        ("pipe", "is not a regular file"),
        ("zeros", "is not a regular file"),
        ("huge", "has more than"),
    ):
        with pytest.raises(ValueError, match=rf"^data\.table=.*{name} cannot be read as CSV: .*{reason}"):
            read(table=tmp_path / name)
