import pytest

from gan_augment.arm import Arm

GAN = {"sees": "labelled", "extra": "synthetic", "share": 0.5, "transform": "none", "method": "classifier"}


PSEUDO = {
    **{"sees": "pool_images", "extra": "pseudo_labelled", "share": 0.5, "transform": "classical"},
    **{"method": "classifier", "teacher": "classifier"},
}
SEMI = PSEUDO | {"extra": "none", "share": None, "method": "semi_supervised", "teacher": None}


def test_an_arm_with_synthetic_images_needs_a_gan():
    assert Arm(**GAN).needs_gan
    assert Arm(**GAN | {"extra": "shuffled_synthetic"}).needs_gan
    assert not Arm(**GAN | {"extra": "left_out"}).needs_gan
    assert not Arm(**GAN | {"extra": "none", "share": None}).needs_gan


@pytest.mark.parametrize("share", [0.001, 1, 1.0])
def test_a_batch_may_be_wholly_synthetic_but_not_without(share):
    assert Arm(**GAN | {"share": share}).share == share


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sees": "everything"}, "augmentation.sees=everything: use one of labelled, pool_images, pool_labels"),
        ({"extra": "real"}, "augmentation.extra=real: use one of none, left_out, labelled, synthetic, .*"),
        ({"transform": "flip"}, "augmentation.transform=flip: use one of none, classical, mixup, cutmix"),
        ({"method": "svm"}, "augmentation.method=svm: use one of classifier, semi_supervised"),
        ({"share": 0}, "augmentation.share=0: use a number above 0 and at most 1"),
        ({"share": -0.1}, "augmentation.share=-0.1: use a number above 0 and at most 1"),
        ({"share": 1.5}, "augmentation.share=1.5: use a number above 0 and at most 1"),
        ({"share": None}, "augmentation.share=None: use a number above 0 and at most 1"),
        ({"sees": "pool_labels"}, "augmentation.sees=pool_labels with augmentation.extra=synthetic: .*"),
        ({"extra": "pool_labelled"}, "augmentation.sees=labelled with augmentation.extra=pool_labelled: .*"),
        ({"extra": "none"}, "augmentation.share=0.5, but this arm has no extra images: leave share null"),
    ],
    ids=str,
)
def test_rows_that_mean_nothing_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Arm(**GAN | change)


@pytest.mark.parametrize(
    ("row", "change", "message"),
    [
        (PSEUDO, {"teacher": None}, r".* augmentation\.teacher=None: say who labels the pool, classifier or semi_.*"),
        (PSEUDO, {"teacher": "me"}, r"augmentation\.teacher=me: use one of classifier, semi_supervised"),
        (
            PSEUDO,
            {"sees": "labelled"},
            ".*sees=labelled with augmentation.extra=pseudo_labelled: pool_images is .*",
        ),
        (PSEUDO, {"extra": "labelled"}, ".*sees=pool_images with augmentation.extra=labelled: pool_images is for .*"),
        (GAN, {"sees": "pool_images"}, r".* augmentation\.teacher=None: say who labels the pool, .*"),
        (GAN, {"teacher": "classifier"}, r".* augmentation\.teacher=classifier: leave teacher null"),
        (SEMI, {"sees": "labelled"}, ".*learner=semi_supervised learns from labelled images and those of the pool, .*"),
        (SEMI, {"transform": "mixup"}, ".*learner=semi_supervised learns from labelled images and those of the .*"),
        (SEMI, {"extra": "synthetic", "share": 0.5}, ".*use sees=pool_images, extra=none, share=null, teacher=null .*"),
        (SEMI, {"teacher": "classifier"}, ".*use sees=pool_images, extra=none, share=null, teacher=null and .*"),
    ],
    ids=str,
)
def test_rows_about_the_pool_that_mean_nothing_are_refused(row, change, message):
    Arm(**row)
    with pytest.raises(ValueError, match=f"^{message}$"):
        Arm(**row | change)
