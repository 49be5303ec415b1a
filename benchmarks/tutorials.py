"""What a user would otherwise run: the training loops of tutorials, as they stand in a hundred notebooks.

The GAN loop has the shape of yunjey/pytorch-tutorial's: real and generated images go through the discriminator one
after the other, both fakes are made with gradients and none is detached, nothing is frozen. Losses are read and printed
at every step, as many notebooks do; that one prints every 200th. Networks and rates are ours, so that the loops alone
differ.
"""

from pathlib import Path

import torch
from racing import Ticker
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST


def train_gan(
    tick: Ticker,
    generator: nn.Module,
    discriminator: nn.Module,
    root: Path,
    batch_size: int,
    latent_dim: int,
    device: str,
) -> None:
    """Train a GAN the way tutorials do.

    Args:
        tick: Called after each step.
        generator: (Latents `[B, latent_dim]`, labels, which it ignores) -> images `[B, 1, 28, 28]`.
        discriminator: (Images, labels, which it ignores) -> logits `[B]`.
        root: Folder that holds `MNIST/`.
        batch_size: Real images a step.
        latent_dim: Length of a latent vector.
        device: Where.
    """
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean=[0.5], std=[0.5])])
    loader = DataLoader(MNIST(root, transform=transform), batch_size=batch_size, shuffle=True, drop_last=True)
    generator, discriminator = generator.to(device), discriminator.to(device)
    criterion = nn.BCELoss()
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=0.0002, betas=(0.5, 0.999))
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=0.0002, betas=(0.5, 0.999))
    while True:
        for step, (images, _) in enumerate(loader):
            images = images.to(device)
            real_labels, fake_labels = torch.ones(batch_size).to(device), torch.zeros(batch_size).to(device)

            d_loss_real = criterion(torch.sigmoid(discriminator(images, None)), real_labels)
            fake_images = generator(torch.randn(batch_size, latent_dim).to(device), None)
            d_loss_fake = criterion(torch.sigmoid(discriminator(fake_images, None)), fake_labels)
            d_loss = d_loss_real + d_loss_fake
            d_optimizer.zero_grad()
            g_optimizer.zero_grad()
            d_loss.backward()
            d_optimizer.step()

            fake_images = generator(torch.randn(batch_size, latent_dim).to(device), None)
            g_loss = criterion(torch.sigmoid(discriminator(fake_images, None)), real_labels)
            d_optimizer.zero_grad()
            g_optimizer.zero_grad()
            g_loss.backward()
            g_optimizer.step()

            print(f"Step [{step}/{len(loader)}], d_loss: {d_loss.item():.4f}, g_loss: {g_loss.item():.4f}")
            tick()


def train_classifier(tick: Ticker, network: nn.Module, root: Path, batch_size: int, device: str) -> None:
    """Train a classifier the way tutorials do: torchvision transforms, a loader with two workers.

    Args:
        tick: Called after each step.
        network: Images `[B, 1, 28, 28]` -> logits `[B, 10]`.
        root: Folder that holds `MNIST/`.
        batch_size: Images a step.
        device: Where.
    """
    transform = transforms.Compose(
        [
            transforms.RandomAffine(
                15, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=transforms.InterpolationMode.BILINEAR
            ),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.5], std=[0.5]),
        ]
    )
    loader = DataLoader(MNIST(root, transform=transform), batch_size, shuffle=True, num_workers=2, drop_last=True)
    network = network.to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.002, weight_decay=0.01)
    while True:
        for step, (images, labels) in enumerate(loader):
            images, labels = images.to(device), labels.to(device)
            loss = criterion(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(f"Step [{step}/{len(loader)}], loss: {loss.item():.4f}")
            tick()
