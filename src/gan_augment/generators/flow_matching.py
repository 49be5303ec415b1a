"""Flow matching: a network learns the velocity with which noise becomes an image (Lipman et al. 2023)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from gan_augment.generators.single import SingleSettings, SingleTraining, TrainSingle
from gan_augment.networks.flow import FlowNetwork
from gan_augment.networks.generative import GenerativeNetwork
from gan_augment.settings import check_number

UNIFORM = 0.2  # share of the times that are uniform


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainFlow(TrainSingle):
    """Trains a flow."""

    name, version = "flow", 1


class FlowTraining(SingleTraining):
    r"""Conditional flow matching on the straight path.

    With noise $x_0$, an image $x_1$ and a time $t$, the network learns the velocity $x_1 - x_0$ at
    $x_t = (1 - t) x_0 + t x_1$ by least squares (Lipman et al. 2023, equation 23, with the smallest deviation 0). Times
    are logit-normal, so that the middle of the way is learned most (Esser et al. 2024, section 3.1), but for a share
    that is uniform: a logit-normal time is hardly ever near 0 or 1, where the solver starts and ends.
    """

    STREAMS = (*SingleTraining.STREAMS, "time", "dropout")

    settings: "FlowMatching"

    def terms(self, images: Tensor, labels: Tensor, changes: Tensor | None, step: int) -> dict[str, Tensor]:
        """Return the loss."""
        count, draws = len(images), {name: self.draws[name].at(step) for name in ("noise", "time", "dropout")}
        noise = torch.randn(images.shape, generator=draws["noise"], device=self.device)
        times = torch.randn(count, generator=draws["time"], device=self.device).sigmoid()
        uniform = torch.rand(2, count, generator=draws["time"], device=self.device)
        times = uniform[0].where(uniform[1] < UNIFORM, times)
        if self.settings.label_dropout:
            dropped = torch.rand(count, generator=draws["dropout"], device=self.device) < self.settings.label_dropout
            labels = labels.where(~dropped, self.network.num_classes)
        between = torch.lerp(noise, images, times[:, None, None, None])
        return {
            "loss/generator": mse_loss(self.network.velocity(between, times, labels, changes).float(), images - noise)
        }


@dataclass(frozen=True)
class FlowMatching(SingleSettings):
    """How a flow is trained.

    Attributes:
        label_dropout: Share of the images whose label the network is not told, so that it can be guided.

    Raises:
        ValueError: If a value is out of range, or there is guidance without label dropout.
    """

    kind: ClassVar[type[TrainSingle]] = TrainFlow
    of: ClassVar[type[GenerativeNetwork]] = FlowNetwork
    trains: ClassVar[type[SingleTraining]] = FlowTraining

    label_dropout: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("generator.label_dropout", self.label_dropout, 0, 1)
        guidance = self.network.get("guidance", 1)
        if guidance != 1 and not self.label_dropout:
            raise ValueError(
                f"generator.network.guidance={guidance} compares with a network without labels, but "
                "generator.label_dropout=0 trains none: set it to 0.1, or guidance to 1"
            )
