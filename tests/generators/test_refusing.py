import math

import pytest
import torch

from gan_augment.artefacts.synthetic_set import Refused, SyntheticSet
from gan_augment.data.image_set import ImageSet
from gan_augment.data.standard_sets import digits
from gan_augment.data.toy import ring
from gan_augment.generators.refusing import AuditedAgainst, without_copies
from gan_augment.plan import plan_trial
from gan_augment.recording import saw_further

FIRST = torch.tensor([100] * 10)


@pytest.fixture(scope="module")
def parts():
    """Digits: what a generator has seen, validation, and fresh ones."""
    images = digits().images
    seen, validation, fresh = (images.subset(torch.arange(first, 1797, 3)) for first in range(3))
    return seen.subset(torch.arange(100)), validation, fresh


def maker(seen, fresh, every):
    """Make the first images of each class: fresh ones, and at each `every`-th place a copy."""
    calls = []

    def make(wanted):
        calls.append(wanted)
        places = []
        for label, count in enumerate(wanted.tolist()):
            new, old = fresh.members(label), seen.members(label) + len(fresh)
            numbers = torch.arange(count)
            places.append(torch.where(numbers % every == 0, old[numbers % len(old)], new[numbers % len(new)]))
        images = fresh.joined(seen).subset(torch.cat(places))
        numbers = torch.cat([torch.arange(count) for count in wanted.tolist()])
        return SyntheticSet(images, numbers, torch.full((len(images),), math.nan), len(images))

    return make, calls


def test_copies_are_replaced_by_later_images(parts):
    seen, validation, fresh = parts
    auditor = AuditedAgainst.of([seen], validation).auditor()
    make, calls = maker(seen, fresh, every=4)
    made = without_copies(make, FIRST, auditor)
    assert made.images.class_counts.tolist() == FIRST.tolist()
    assert (made.numbers % 4 == 0).sum() < 10  # copies of fewer seen images than an audit can name
    for label in range(10):
        numbers = made.numbers[made.images.labels == label].tolist()
        assert numbers == sorted(numbers)
    assert len(calls) > 1
    assert made.refused.copies >= 0.95 * len(FIRST) * (made.numbers.max() + 1) / 4
    assert not auditor.audit(made.images.images).named


def test_honest_images_are_kept_as_they_are(parts):
    seen, validation, fresh = parts
    make, _ = maker(seen, fresh, every=10**6)
    honest = make(FIRST)
    honest.images.images[honest.numbers == 0] = fresh.images[:10]
    made = without_copies(lambda wanted: honest, FIRST, AuditedAgainst.of([seen], validation).auditor())
    assert torch.equal(made.images.images, honest.images.images)
    assert made.refused in [Refused(0, limit) for limit in (0.01, 0.02, 0.05)]


def test_a_generator_that_only_copies_is_refused(parts):
    seen, validation, fresh = parts
    make, calls = maker(seen, fresh, every=1)
    auditor = AuditedAgainst.of([seen], validation).auditor()
    with pytest.raises(ValueError, match=r"are copies of training images, and the others are too few: train the"):
        without_copies(make, FIRST, auditor)
    assert [int(one[0]) for one in calls] == [100, 200, 400, 800, 1000]


def test_images_of_the_pool_are_seen_too_and_their_classes_stay_hidden(parts):
    seen, validation, _ = parts
    pool = digits().images.subset(torch.arange(300, 900, 3)).without_labels()
    audited = AuditedAgainst.of([seen, pool], validation)
    assert len(audited.seen) == len(seen) + len(pool)
    assert len(audited.seen.class_names) == 1
    assert audited.seen.labels.unique().tolist() == audited.decoys.labels.unique().tolist() == [0]


def test_copies_of_images_that_are_twice_in_the_data_are_refused_too(parts):
    seen, validation, fresh = parts
    audited = AuditedAgainst.of([seen.joined(seen)], validation.joined(validation))
    assert (len(audited.seen), len(audited.decoys)) == (len(seen), len(validation))
    make, _ = maker(seen, fresh, every=4)
    assert without_copies(make, FIRST, audited.auditor()).refused.copies > 200


def test_images_in_a_file_are_audited_alike(parts, mapped):
    seen, validation, fresh = parts
    whole = mapped(seen.joined(validation))
    of_file = AuditedAgainst.of([whole.subset(torch.arange(100))], whole.subset(torch.arange(100, len(whole))))
    in_memory = AuditedAgainst.of([seen], validation)
    one, other = (audited.auditor().attach(fresh.images) for audited in (of_file, in_memory))
    assert torch.equal(one.ratio, other.ratio)


def test_decoys_are_validation_images_that_are_no_copies(parts):
    seen, validation, _ = parts
    audited = AuditedAgainst.of([seen], validation.joined(seen))
    assert len(audited.decoys) == len(validation)


@pytest.mark.parametrize(("number", "of"), [(19, "validation"), (19, "seen")])
def test_too_few_images_are_refused(parts, number, of):
    seen, validation, _ = parts
    sets = {"seen": seen, "validation": validation}
    sets[of] = sets[of].subset(torch.arange(number))
    with pytest.raises(ValueError, match=r"synthesis.refuse_copies=true is refused: it needs 20"):
        AuditedAgainst.of([sets["seen"]], sets["validation"])


def test_points_are_refused():
    points = ring().images
    with pytest.raises(ValueError, match="nothing to copy"):
        AuditedAgainst.of([points], points)


def test_it_is_a_factor_only_where_it_is_on_and_counts_validation_images(plain_settings):
    usual, refusing = (
        plan_trial(plain_settings("augmentation=gan", f"synthesis.refuse_copies={one}")) for one in ("false", "true")
    )
    assert "synthesis.refuse_copies" not in usual.factors
    assert refusing.factors["synthesis.refuse_copies"] is True
    assert usual.stages["synthesis"].key != refusing.stages["synthesis"].key
    assert usual.stages["gan"].key == refusing.stages["gan"].key
    assert (saw_further(usual)["validation"], saw_further(refusing)["validation"]) == (0, len(usual.split.validation))


def test_labels_hidden_by_one_class_are_compared_in_one_class(parts):
    seen, validation, _ = parts
    audited = AuditedAgainst.of([seen.as_one_class()], validation)
    assert isinstance(audited.seen, ImageSet)
    assert audited.decoys.num_classes == 1
