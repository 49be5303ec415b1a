from collections import Counter

import pytest
import torch

from gan_augment.data.batches import ImageBatches, Part, ShuffledIndices, StepIndices
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


@pytest.fixture
def parts(image_set):
    return [Part(image_set(), 5, "order"), Part(image_set(per_class=4, seed=1), 3, "order/extra")]


def test_every_batch_has_the_exact_number_from_each_part(parts):
    steps = StepIndices(parts, num_steps=20, seed=0)
    assert len(steps) == 20
    for step in range(20):
        indices = steps[step]
        assert (indices < 30).sum() == 5
        assert ((indices >= 30) & (indices < 42)).sum() == 3


def test_a_batch_is_a_function_of_the_step(parts):
    batches = list(StepIndices(parts, num_steps=20, seed=0))
    assert len(batches) == 20
    assert torch.equal(StepIndices(parts, num_steps=20, seed=0)[13], batches[13])
    assert not torch.equal(StepIndices(parts, num_steps=20, seed=1)[13], batches[13])


def test_the_real_images_do_not_move_when_others_are_mixed_in(parts):
    alone, mixed = (StepIndices(chosen, num_steps=20, seed=0) for chosen in (parts[:1], parts))
    assert all(torch.equal(mixed[step][:5], alone[step]) for step in range(20))


def test_indices_become_normalised_images_and_labels(parts):
    data = ImageBatches(parts, num_steps=3, seed=0)
    (indices, *_) = data.train_dataloader()
    batch = data.on_after_batch_transfer(indices, 0)
    images = torch.cat([part.images.images for part in parts])
    labels = torch.cat([part.images.labels for part in parts])
    assert torch.equal(batch.images, to_float(images[indices]))
    assert torch.equal(batch.labels, labels[indices])
    assert batch.images.dtype == torch.float32
    assert batch.images.abs().max() <= 1


def test_validation_batches_hold_the_validation_images_in_their_order(parts, image_set):
    validation = image_set(per_class=5, seed=2)
    data = ImageBatches(parts, num_steps=3, seed=0, validation=validation, validation_batch_size=4)
    batches = [data.on_after_batch_transfer(indices, 0) for indices in data.val_dataloader()]
    assert [len(batch.images) for batch in batches] == [4, 4, 4, 3]
    assert torch.equal(torch.cat([batch.images for batch in batches]), to_float(validation.images))
    assert torch.equal(torch.cat([batch.labels for batch in batches]), validation.labels)


def test_training_batches_hold_no_validation_image(parts, image_set):
    data = ImageBatches(parts, num_steps=50, seed=0, validation=image_set(per_class=5, seed=2))
    assert torch.cat(list(data.train_dataloader())).max() < 42
