import pytest
import torch

from gan_augment.data.standard_sets import digits
from gan_augment.metrics.copies import (
    Audit,
    Auditor,
    _views,
    attachments,
    copied,
    distances,
    disturbed,
    draw_pairs,
    lean_to,
)


def random_at(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def parts():
    """Seen digits, decoys and fresh ones in any order, 5 of each class of the first two."""
    images = digits().images
    images = images.subset(torch.randperm(len(images), generator=random_at(1)))
    found = ([], [], [])
    for label in range(10):
        for part, some in zip(found, images.members(label).tensor_split([5, 10]), strict=True):
            part.append(some)
    seen, decoys, fresh = map(torch.cat, found)
    return [images.subset(part) for part in (seen, decoys, fresh.sort().values)]


@pytest.fixture(scope="module")
def auditor(parts):
    seen, decoys, _ = parts
    return Auditor(seen.images, decoys.images, torch.cat([seen.labels, decoys.labels]))


def some_fresh(parts, number=1000):
    return parts[2].images[:number]


def test_fresh_images_are_no_copies_and_the_audit_says_what_it_would_have_found(parts, auditor):
    found = auditor.audit(some_fresh(parts))
    assert not found.named
    assert (found.share, found.share_low) == (0, 0)
    assert found.detection_limit == 0.05
    assert found.lean == pytest.approx(0.5, abs=0.15)
    assert found.lean_p > 0.01
    assert found.decoys == 50


@pytest.mark.parametrize(("shift", "gain", "noise"), [(0, 0, 0), (1, 0, 0), (0, 0.3, 0), (1, 0.2, 0.05)])
def test_copies_are_named(parts, auditor, shift, gain, noise):
    originals = torch.arange(25).repeat(2)
    copies = disturbed(parts[0].images[originals], random_at(0), shift, gain, noise)
    found = auditor.audit(torch.cat([copies, some_fresh(parts, 950)]))
    assert len(found.named) >= 20
    assert found.is_copy[:50].sum() > 40
    assert found.is_copy[50:].sum() <= 2  # a tenth of the named ones may be named by chance
    assert torch.equal(found.nearest[:50][found.is_copy[:50]], originals[found.is_copy[:50]])
    assert 0 < found.share_low < found.share == pytest.approx(0.05, abs=0.01)


def test_copies_of_decoys_are_none(parts, auditor):
    made = torch.cat([parts[1].images.repeat(2, 1, 1, 1), some_fresh(parts, 900)])
    assert not auditor.audit(made).named


def test_blurred_and_collapsed_images_are_no_copies(parts, auditor):
    fresh = some_fresh(parts)
    blurred = torch.nn.functional.avg_pool2d(fresh.float(), 3, 1, 1).to(torch.uint8)
    collapsed = disturbed(fresh[:20].repeat(50, 1, 1, 1), random_at(0))
    flat = torch.full_like(fresh, 128)
    for made in (blurred, collapsed, flat):
        assert not auditor.audit(made).named


def test_everything_copied_leaves_no_room_to_plant(parts, auditor):
    found = auditor.audit(parts[0].images.repeat(10, 1, 1, 1))
    assert (found.share, len(found.named), found.detection_limit) == (1, 50, None)
    assert (found.lean, found.lean_p) == (1, 0.001)


def test_the_lower_bound_is_that_of_clopper_and_pearson_less_a_tenth():
    is_copy = torch.arange(100) < 10
    found = Audit(is_copy, torch.arange(100), None, 0.5, 1, 20)
    assert found.share_low == pytest.approx(0.9 * 0.0552, abs=1e-3)


def test_the_threshold_is_the_smallest_at_which_few_decoys_are_above():
    """Seen images with scores 3 to 2 in steps of .1, decoys at 2.05 and below."""
    ratio = torch.cat([torch.linspace(3, 2, 11), torch.tensor([2.05, 1.5])])
    is_seen = torch.arange(13) < 11
    # Ten seen images are above 2.05, and with no decoy above, (1 + 0) / 10 is allowed; the eleventh is below a decoy.
    assert copied(torch.arange(13), ratio, is_seen).tolist() == [True] * 10 + [False] * 3
    assert not copied(torch.arange(13), ratio, is_seen & (torch.arange(13) < 9)).any()


def test_a_shift_does_not_change_the_distance(parts):
    images = parts[0].images[:4]
    moved = torch.zeros_like(images)
    moved[:, :, 1:, :-1] = images[:, :, :-1, 1:]
    far = distances(_views(moved, 1), _views(images, -1))
    assert far.diagonal().max() < 1e-3
    assert far.fill_diagonal_(9).min() > 0.1


def test_several_draws_have_equal_counts_of_each_class():
    labels = torch.tensor([0] * 4 + [1] * 2 + [0] * 2 + [1] * 5)
    is_seen = torch.arange(13) < 6
    draws = draw_pairs(labels, is_seen, seed=0)
    assert len(draws) == 10
    for drawn in draws:
        assert len(drawn.unique()) == len(drawn) == 8
        for which in (is_seen, ~is_seen):
            assert labels[drawn[which[drawn]]].bincount().tolist() == [2, 2]
    assert any(not torch.equal(draws[0], other) for other in draws)
    (only,) = draw_pairs(labels[[0, 1, 6, 7]], is_seen[[0, 1, 6, 7]], seed=0)
    assert sorted(only.tolist()) == [0, 1, 2, 3]


def test_copies_are_found_although_each_draw_has_only_some_of_the_seen_images(parts):
    seen, decoys, fresh = parts
    seen = seen.joined(fresh.subset(torch.cat([fresh.members(label)[-10:] for label in range(10)])))
    auditor = Auditor(seen.images, decoys.images, torch.cat([seen.labels, decoys.labels]))
    assert len(auditor.draws) == 10
    copies = disturbed(seen.images, random_at(0), noise=0)
    found = auditor.audit(torch.cat([copies, fresh.images[:500]]))
    assert len(found.named) > 120
    assert found.is_copy[150:].sum() <= 5


def test_lean_is_exact_where_there_is_one_class():
    chosen = torch.tensor([0, 0, 0, 1])
    is_seen = torch.tensor([True, False])
    lean, p = lean_to(chosen, is_seen, torch.zeros(2, dtype=torch.int64), seed=0, permutations=9999)
    assert lean == 0.75
    assert p == pytest.approx(0.5, abs=0.02)


def test_attachments():
    chosen, ratio = attachments(torch.tensor([[4.0, 1.0, 2.0], [0.0, 3.0, 3.0]]))
    assert chosen.tolist() == [1, 0]
    assert ratio[0] == 2
    assert ratio[1] > 1e6


def test_mirrored_copies_are_found_in_features_that_bear_mirroring(parts):
    seen, decoys, _ = parts
    labels = torch.cat([seen.labels, decoys.labels])
    made = torch.cat([seen.images[:25].flip(-1), some_fresh(parts, 475)])
    by_pixels = Auditor(seen.images, decoys.images, labels).audit(made)
    by_features = Auditor(
        seen.images, decoys.images, labels, embed=lambda some: some.flatten(1).float().sort(dim=1).values
    ).audit(made)
    assert len(by_pixels.named) < 5
    assert len(by_features.named) >= 20
    assert by_features.is_copy[:25].sum() >= 20


@pytest.mark.parametrize(("seen", "decoys"), [(300, 20), (21, 20), (20, 300), (2, 2000)])
def test_every_seen_image_has_its_turn_in_some_draw(seen, decoys):
    labels = torch.cat([torch.arange(seen), torch.arange(decoys)]) % 2
    is_seen = torch.arange(seen + decoys) < seen
    draws = draw_pairs(labels, is_seen, seed=0)
    fewer = min(seen, decoys)
    for drawn in draws:
        assert len(drawn.unique()) == len(drawn)
        assert all(int(is_seen[drawn][labels[drawn] == label].sum()) == fewer // 2 for label in range(2))
    times = torch.cat(draws).bincount(minlength=seen + decoys)
    assert len(draws) >= 10
    assert (times[is_seen] >= 1).all()
    assert times[is_seen].max() - times[is_seen].min() <= 1


def test_the_cautious_rule_names_all_that_the_other_names(parts):
    seen, decoys, fresh = parts
    auditor = Auditor.of(seen, decoys.joined(fresh.subset(torch.arange(300))))  # of these, some in each draw
    made = auditor.attach(torch.cat([disturbed(seen.images[:30], random_at(0)), fresh.images[300:]]))
    by_most, by_any = auditor.copies(made), auditor.copies(made, by_any=True)
    assert by_any[by_most].all()
    assert by_any.sum() >= by_most.sum() > 0
