import torch

from gan_augment.artefacts.pseudo_labels import PseudoLabels


def test_pseudo_labels_name_images_and_come_back_from_a_file(image_set, tmp_path, mapped):
    some = PseudoLabels(torch.tensor([4, 1]), torch.tensor([2, 0]), torch.tensor([0.9, 0.99]))
    some.write(tmp_path)
    found = PseudoLabels.read(tmp_path)
    assert found.confidence.tolist() == some.confidence.tolist()
    images = image_set(per_class=2).without_labels()
    for pool in (images, mapped(images)):
        labelled = found.of(pool)
        assert labelled.labels.tolist() == [2, 0]
        assert torch.equal(labelled.images[torch.arange(2)], images.images[[4, 1]])
        assert labelled.class_names == images.class_names
