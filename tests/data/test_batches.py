from collections import Counter

import pytest
import torch

from gan_augment.data.batches import BalancedIndices, Batch, ImageBatches, Part, ShuffledIndices, TrainingSteps
from gan_augment.data.image_set import to_float


def test_every_epoch_is_a_permutation_of_its_own():
    order = ShuffledIndices(7, seed=0, stream="order")
    epochs = [order.between(7 * epoch, 7 * epoch + 7).tolist() for epoch in range(5)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 5


def test_the_sequence_does_not_depend_on_how_it_is_cut():
    whole = ShuffledIndices(7, seed=0, stream="order").between(0, 40)
    order = ShuffledIndices(7, seed=0, stream="order")
    assert torch.equal(order.between(30, 40), whole[30:])  # going back is allowed
    assert torch.equal(torch.cat([order.between(start, start + 3) for start in range(0, 39, 3)]), whole[:39])


def test_a_batch_may_be_longer_than_an_epoch():
    indices = ShuffledIndices(3, seed=0, stream="order").between(0, 10)
    assert sorted(Counter(indices.tolist()).values()) == [3, 3, 4]


def test_seed_and_stream_decide_the_order():
    def first(seed, stream):
        return ShuffledIndices(50, seed, stream).between(0, 50).tolist()

    assert first(0, "order") == first(0, "order")
    assert len({tuple(first(*names)) for names in [(0, "order"), (1, "order"), (0, "order/extra")]}) == 3


UNEQUAL = torch.tensor([0, 1, 1, 1, 0, 1, 3, 1, 1, 1])  # two, seven and one; of class 2 there is none


def test_balanced_every_class_comes_once_a_round_and_so_do_the_images_of_a_class():
    indices = BalancedIndices(UNEQUAL, seed=0, stream="order").between(0, 3 * 14)
    rounds = UNEQUAL[indices].view(14, 3)
    assert all(sorted(one) == [0, 1, 3] for one in rounds.tolist())
    assert len(set(map(tuple, rounds.tolist()))) > 1
    assert Counter(indices.tolist()) == {0: 7, 4: 7, 6: 14} | dict.fromkeys((1, 2, 3, 5, 7, 8, 9), 2)


def test_a_balanced_sequence_does_not_depend_on_how_it_is_cut():
    whole = BalancedIndices(UNEQUAL, seed=0, stream="order").between(0, 40)
    order = BalancedIndices(UNEQUAL, seed=0, stream="order")
    assert torch.equal(order.between(30, 40), whole[30:])
    assert torch.equal(torch.cat([order.between(start, start + 5) for start in range(0, 40, 5)]), whole)
    assert not torch.equal(BalancedIndices(UNEQUAL, seed=1, stream="order").between(0, 40), whole)


def test_batches_of_a_balanced_part_have_equal_classes(image_set):
    images = image_set(per_class=10).subset(torch.arange(13))  # ten and three
    steps = TrainingSteps([Part(images, 6, "order", balanced=True)], num_steps=20, seed=0)
    assert all(images.labels[selection[0]].bincount().tolist() == [3, 3] for selection in steps)


@pytest.fixture
def parts(image_set):
    return [Part(image_set(), 5, "order"), Part(image_set(per_class=4, seed=1), 3, "order/extra")]


def flat(selection):
    return [(number, index) for number, indices in selection.items() for index in indices.tolist()]


def test_every_batch_has_the_exact_number_from_each_part(parts):
    steps = TrainingSteps(parts, num_steps=20, seed=0)
    assert len(steps) == 20
    for step in range(20):
        real, extra = steps[step][0], steps[step][1]
        assert (len(real), len(extra)) == (5, 3)
        assert real.max() < 30
        assert extra.max() < 12


def test_a_batch_is_a_function_of_the_step(parts):
    batches = [flat(selection) for selection in TrainingSteps(parts, num_steps=20, seed=0)]
    assert len(batches) == 20
    assert flat(TrainingSteps(parts, num_steps=20, seed=0)[13]) == batches[13]
    assert flat(TrainingSteps(parts, num_steps=20, seed=1)[13]) != batches[13]


def test_the_real_images_do_not_move_when_others_are_mixed_in(parts):
    alone, mixed = (TrainingSteps(chosen, num_steps=20, seed=0) for chosen in (parts[:1], parts))
    assert all(torch.equal(mixed[step][0], alone[step][0]) for step in range(20))


def test_a_loader_goes_on_with_the_step_that_was_not_taken(parts):
    loader, resumed = (TrainingSteps(parts, num_steps=20, seed=0) for _ in range(2))
    whole = [flat(selection) for selection in loader]
    for _, _ in zip(range(8), loader, strict=False):  # hands out 0 to 7, and the eighth is about to be taken
        pass
    assert loader.state_dict() == {"step": 7}
    resumed.load_state_dict(loader.state_dict())
    assert len(resumed) == 20
    assert [flat(selection) for selection in resumed] == whole[7:]
    assert [flat(selection) for selection in resumed] == whole  # once


def through(data, selection):
    """Take a selection the way that Lightning takes it."""
    return data.transfer_batch_to_device(selection, torch.device("cpu"), 0)


def test_indices_become_normalised_images_and_labels(parts):
    data = ImageBatches(parts, num_steps=3, seed=0)
    (selection, *_) = data.train_dataloader()
    batch = through(data, selection)
    chosen = [(part.images, selection[number]) for number, part in enumerate(parts)]
    assert torch.equal(batch.images, to_float(torch.cat([images.images[indices] for images, indices in chosen])))
    assert torch.equal(batch.labels, torch.cat([images.labels[indices] for images, indices in chosen]))
    assert batch.images.dtype == torch.float32
    assert batch.images.abs().max() <= 1


def test_images_in_a_file_make_the_same_batches(parts, mapped):
    in_file = [part._replace(images=mapped(part.images)) for part in parts[:1]] + parts[1:]
    one, other = (ImageBatches(chosen, num_steps=3, seed=0, validation=chosen[0].images) for chosen in (parts, in_file))
    for loader in (ImageBatches.train_dataloader, ImageBatches.val_dataloader):
        for selection in loader(one):
            expected, found = through(one, selection), through(other, selection)
            assert torch.equal(found.images, expected.images)
            assert torch.equal(found.labels, expected.labels)


def test_validation_batches_hold_the_validation_images_in_their_order(parts, image_set):
    validation = image_set(per_class=5, seed=2)
    data = ImageBatches(parts, num_steps=3, seed=0, validation=validation, validation_batch_size=4)
    batches = [through(data, selection) for selection in data.val_dataloader()]
    assert [len(batch.images) for batch in batches] == [4, 4, 4, 3]
    assert torch.equal(torch.cat([batch.images for batch in batches]), to_float(validation.images))
    assert torch.equal(torch.cat([batch.labels for batch in batches]), validation.labels)


def test_training_batches_hold_no_validation_image(parts, image_set):
    data = ImageBatches(parts, num_steps=50, seed=0, validation=image_set(per_class=5, seed=2))
    assert {number for selection in data.train_dataloader() for number in selection} == {0, 1}
    assert {number for selection in data.val_dataloader() for number in selection} == {2}


def test_a_batch_names_the_images_of_its_parts():
    images = torch.arange(6.0).reshape(6, 1, 1, 1)
    parts = {"labelled": slice(0, 3), "extra": slice(3, 5), "pool": slice(5, 6)}
    batch = Batch(images, torch.tensor([0, 1, 2, 0, 1, -1]), parts)
    assert [part.images.flatten().tolist() for part in (batch.labelled, batch.extra, batch.pool)] == [
        [0, 1, 2],
        [3, 4],
        [5],
    ]
    assert batch.extra.labels.tolist() == [0, 1]
