"""A trained encoder."""

from pathlib import Path

from torch import nn

from gan_augment.artefacts.weights import load_weights, read_about


def load_encoder(checkpoint: Path, network: nn.Module) -> nn.Module:
    """Give a network, images -> features, the weights of an encoder; return it.

    Raises:
        ValueError: If the file is no checkpoint of an encoder, or its weights do not fit the network.
    """
    read_about(checkpoint, "encoder", ())
    return load_weights(checkpoint, "encoder", network)
