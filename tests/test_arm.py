import pytest

from gan_augment.arm import Arm
from gan_augment.plan import plan_trial

GAN = {"sees": "labelled", "extra": "synthetic", "share": 0.5, "transform": "none", "method": "classifier"}


PSEUDO = {
    **{"sees": "pool_images", "extra": "pseudo_labelled", "share": 0.5, "transform": "classical"},
    **{"method": "classifier", "teacher": "classifier"},
}
SEMI = PSEUDO | {"extra": "none", "share": None, "method": "semi_supervised", "teacher": None}
MATCHED = PSEUDO | {"extra": "matched", "share": 1.0, "transform": "none", "teacher": None}


@pytest.fixture
def planned(plain_settings):
    """Plan a trial of an arm that is given as a row; half of the fours are kept."""
    settings = plain_settings("imbalance.classes=['4']", "imbalance.share=0.5")
    target = {"_target_": "gan_augment.arm.Arm"}
    return lambda **row: plan_trial(settings | {"augmentation": target | row})


def test_an_arm_with_synthetic_images_needs_a_gan(planned):
    assert "gan" in planned(**GAN).stages
    assert "gan" in planned(**GAN | {"extra": "shuffled_synthetic"}).stages
    assert "gan" not in planned(**GAN | {"extra": "left_out"}).stages
    assert "gan" not in planned(**GAN | {"extra": "none", "share": None}).stages


@pytest.mark.parametrize("share", [0.001, 1, 1.0])
def test_a_batch_may_be_wholly_synthetic_but_not_without(share):
    assert Arm(**GAN | {"share": share}).share == share


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sees": "everything"}, "augmentation.sees=everything: use one of labelled, pool_images, pool_labels"),
        ({"extra": "real"}, "augmentation.extra=real: use one of none, .*"),
        ({"transform": "flip"}, "augmentation.transform=flip: use one of none, classical, mixup, cutmix"),
        (
            {"method": "svm"},
            "augmentation.method=svm: use one of encoded, consistency, batch_norm, classifier, semi_supervised",
        ),
        ({"share": 0}, "augmentation.share=0: use a number above 0 and at most 1"),
        ({"share": -0.1}, "augmentation.share=-0.1: use a number above 0 and at most 1"),
        ({"share": 1.5}, "augmentation.share=1.5: use a number above 0 and at most 1"),
        ({"share": None}, "augmentation.share=None: use a number above 0 and at most 1"),
        (
            {"sees": "pool_labels"},
            "augmentation.sees=pool_labels with augmentation.extra=synthetic: synthetic is for .*=labelled or .*",
        ),
        (
            {"extra": "pool_labelled"},
            "augmentation.sees=labelled with augmentation.extra=pool_labelled: pool_labelled is for .*=pool_labels",
        ),
        ({"extra": "none"}, "augmentation.share=0.5, but this arm has no extra images: leave share null"),
    ],
    ids=str,
)
def test_rows_that_mean_nothing_are_refused(planned, change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        planned(**GAN | change)


@pytest.mark.parametrize(
    ("row", "change", "message"),
    [
        (PSEUDO, {"teacher": None}, r".* augmentation\.teacher=None: name the method that labels the pool"),
        (
            PSEUDO,
            {"teacher": "me"},
            r"augmentation\.teacher=me: use one of encoded, consistency, batch_norm, classifier, semi_supervised",
        ),
        (
            PSEUDO,
            {"sees": "labelled"},
            ".*sees=labelled with augmentation.extra=pseudo_labelled: .* is for .*sees=pool_images",
        ),
        (
            PSEUDO,
            {"extra": "labelled"},
            ".*sees=pool_images with augmentation.extra=labelled: labelled is for .*sees=labelled",
        ),
        (
            PSEUDO,
            {"extra": "none", "share": None},
            ".*sees=pool_images .*extra=none and augmentation.method=classifier: classifier is for .*=labelled",
        ),
        (GAN, {"sees": "pool_images"}, r".* augmentation\.teacher=None: name the method that labels the pool"),
        (GAN, {"teacher": "classifier"}, r".* augmentation\.teacher=classifier: leave teacher null"),
        (
            SEMI,
            {"sees": "labelled"},
            ".*sees=labelled .* augmentation.method=semi_supervised: semi_supervised is for .*=pool_images",
        ),
        (
            SEMI,
            {"transform": "mixup"},
            ".*method=semi_supervised labels the images of the pool itself, and mixes none: use .*",
        ),
        (
            SEMI,
            {"extra": "synthetic", "share": 0.5, "teacher": "classifier"},
            ".*use sees=pool_images, teacher=null and transform=none or classical",
        ),
        (
            SEMI | {"method": "consistency"},
            {"transform": "cutmix"},
            "augmentation.method=consistency labels the images of the pool itself, and mixes none: .*",
        ),
        (SEMI, {"teacher": "classifier"}, r".* augmentation\.teacher=classifier: leave teacher null"),
        (MATCHED, {"teacher": "classifier"}, r".* augmentation\.teacher=classifier: leave teacher null"),
        (MATCHED, {"sees": "labelled"}, ".*extra=matched: matched is for augmentation.sees=pool_images"),
        (MATCHED, {"sees": "pool_labels"}, ".*extra=matched: matched is for augmentation.sees=pool_images"),
    ],
    ids=str,
)
def test_rows_about_the_pool_that_mean_nothing_are_refused(planned, row, change, message):
    assert planned(**row).stages
    with pytest.raises(ValueError, match=f"^{message}$"):
        planned(**row | change)
