"""The copy audit: which training images a generator repeats, found against decoys that it has never seen.

Seen images and equally many decoys of the same classes are pooled, and each generated image goes to its nearest one. A
generator that copies nothing has no reason to come closer to seen images than to decoys. So the number of decoys above
a threshold estimates how many seen images are above it by chance: the target-decoy rule of proteomics (Elias and Gygi
2007), and of knockoffs (Barber and Candès 2015). Blurred or collapsed images are near to both kinds, and no copies.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

import torch
from scipy.stats import beta
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, normalize, pad

from gan_augment.data.image_set import ImageSet
from gan_augment.randomness import Stream

FEWEST = 20  # decoys: with fewer, no copy can be told from chance

SIDE, LARGE = 14, 24  # images from 24 pixels a side on are compared at 14x14
SHIFTS = (-1, 0, 1)  # in pixels, down and to the right
FLAT = 0.1  # length of an image around its mean, in [0, 1], below which it has no contrast to compare
CHANCE = 0.1  # largest expected share of the named images that are named by chance
DRAWS = 10  # of seen images and decoys, at least, if there are more of one kind
PLANTED = (0.01, 0.02, 0.05)  # shares of the generated images
AT_ONCE = 111  # permutations
COMPARED = 1000  # images at a time
PLANTINGS = 20  # of each share
NOISE, GAIN = 0.1, 0.2  # of planted copies: standard deviation, and largest change of the contrast


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit of M generated images found.

    Attributes:
        is_copy: Which generated images are copies, bool `[M]`.
        nearest: The nearest seen image of each generated one, int64 `[M]`.
        detection_limit: The smallest share of `PLANTED` that was found in all plantings; None if none was.
        lean: Share of the generated images whose nearest image of the first draw is a seen one; by chance .5.
        lean_p: p value of the lean, by permutation of seen images and decoys within each class.
        decoys: Number of decoys in each draw.
    """

    is_copy: Tensor
    nearest: Tensor
    detection_limit: float | None
    lean: float
    lean_p: float
    decoys: int

    @property
    def named(self) -> list[int]:
        """The seen images that were copied."""
        return self.nearest[self.is_copy].unique().tolist()

    @property
    def share(self) -> float:
        """The share of the generated images that are copies."""
        return float(self.is_copy.double().mean())

    @property
    def share_low(self) -> float:
        """The lower bound of the share: one-sided 95 % (Clopper and Pearson), less a tenth named by chance."""
        number, of = int(self.is_copy.sum()), len(self.is_copy)
        return (1 - CHANCE) * float(beta.ppf(0.05, number, of - number + 1)) if number else 0.0


@dataclass(frozen=True, eq=False)
class Attached:
    """Where M generated images belong.

    Attributes:
        nearest: The nearest seen image of each, int64 `[M]`.
        chosen: In each of D draws, the place of the nearest drawn image, int64 `[D, M]`.
        ratio: In each draw, how much nearer it is than all others, float32 `[D, M]`.
    """

    nearest: Tensor
    chosen: Tensor
    ratio: Tensor

    def at(self, places: Tensor) -> "Attached":
        """Return only the images at some places, int64 `[N]`."""
        return Attached(*(one[..., places] for one in vars(self).values()))

    def replaced(self, places: Tensor, others: "Attached") -> "Attached":
        """Return the same with other images at some places, int64 `[N]`: the first N of the others."""
        new = vars(others.at(torch.arange(len(places)))).values()
        return Attached(*(one.index_copy(-1, places, n) for one, n in zip(vars(self).values(), new, strict=True)))


class Auditor:
    """Audits generated images against the images that their generator has seen, and decoys.

    Args:
        seen: The images that the generator has seen, uint8 `[S, C, H, W]`.
        decoys: Images that it has never seen, uint8 `[D, C, H, W]`, none of them identical to a seen one.
        labels: Classes of the seen images and then of the decoys, int64 `[S + D]`.
        seed: Of the draws and of the planted copies.
        embed: Images, uint8 `[N, C, H, W]` -> features `[N, F]` in which they are compared; None for their pixels.
    """

    def __init__(
        self,
        seen: Tensor,
        decoys: Tensor,
        labels: Tensor,
        seed: int = 0,
        embed: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.seen, self.labels, self.seed, self.embed = seen, labels, seed, embed
        self.is_seen = torch.arange(len(labels)) < len(seen)
        self.draws = draw_pairs(labels, self.is_seen, seed)
        parts = [self._views(some, -1) for some in torch.cat([seen, decoys]).split(COMPARED)]
        self._real = [torch.cat(view) for view in zip(*parts, strict=True)]

    @classmethod
    def of(
        cls, seen: ImageSet, decoys: ImageSet, seed: int = 0, embed: Callable[[Tensor], Tensor] | None = None
    ) -> Self:
        """Return an auditor for the images of two sets, by their labels."""
        return cls(seen.images[:], decoys.images[:], torch.cat([seen.labels, decoys.labels]), seed, embed)

    def attach(self, generated: Tensor) -> Attached:
        """Find the nearest real images of generated ones, uint8 `[M, C, H, W]`."""
        parts = [vars(self._attach(some)).values() for some in generated.split(COMPARED)]
        return Attached(*(torch.cat(one, dim=-1) for one in zip(*parts, strict=True)))

    def _attach(self, generated: Tensor) -> Attached:
        far = self.distances(generated)
        pairs = [attachments(far[:, drawn]) for drawn in self.draws]
        chosen, ratio = (torch.stack(one) for one in zip(*pairs, strict=True))
        return Attached(far[:, self.is_seen].argmin(dim=1), chosen, ratio)

    def distances(self, generated: Tensor) -> Tensor:
        """Return the distances of generated images, uint8 `[M, C, H, W]`, to all real ones, float32 `[M, S + D]`."""
        return distances(self._views(generated, 1), self._real)

    def _views(self, images: Tensor, sign: int) -> list[Tensor]:
        """Return images as vectors of length 1: one view for each shift, or one in features, which bear shifts."""
        return _views(images, sign) if self.embed is None else [normalize(self.embed(images).flatten(1))]

    def copies(self, attached: Attached, by_any: bool = False) -> Tensor:
        """Return which images are copies, bool `[M]`: most of the draws with their nearest seen image call them so.

        Or, to be cautious, any of all draws.
        """
        votes, possible = torch.zeros_like(attached.nearest), torch.zeros_like(attached.nearest)
        for number, drawn in enumerate(self.draws):
            has_nearest = torch.isin(attached.nearest, drawn) | by_any
            votes += has_nearest & copied(attached.chosen[number], attached.ratio[number], self.is_seen[drawn])
            possible += has_nearest
        return votes > 0 if by_any else 2 * votes > possible

    def audit(self, generated: Tensor) -> Audit:
        """Audit generated images, uint8 `[M, C, H, W]`, and find out by planted copies what the audit can detect."""
        attached = self.attach(generated)
        is_copy = self.copies(attached)
        drawn = self.draws[0]
        lean = lean_to(attached.chosen[0], self.is_seen[drawn], self.labels[drawn], self.seed)
        limit = self.detection_limit(attached.at((~is_copy).nonzero()[:, 0]))
        return Audit(is_copy, attached.nearest, limit, *lean, decoys=len(drawn) // 2)

    def detection_limit(self, attached: Attached) -> float | None:
        """Return the smallest share of copies that is found each time, planted among images that are no copies."""
        number = attached.nearest.shape[0]
        sizes = {share: size for share in PLANTED if (size := round(share * number))}
        found = dict.fromkeys(sizes, 0)
        for planting in range(PLANTINGS if sizes else 0):
            random = Stream(self.seed, "copies/planted").at(planting)
            originals = self.seen[torch.randint(len(self.seen), (max(sizes.values()),), generator=random)]
            planted = self.attach(disturbed(originals, random))
            places = torch.randperm(number, generator=random)
            for share, size in sizes.items():
                at = places[:size]
                found[share] += bool(self.copies(attached.replaced(at, planted))[at].any())
        return min((share for share, times in found.items() if times == PLANTINGS), default=None)


def distances(generated: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Return the distances between M generated images and R real ones, float32 `[M, R]`, the least of all shifts.

    Both are views, `[M, F]` and `[R, F]`, one for each shift. The distance of two images is the root of 2 less twice
    the correlation of their pixels, so brightness and contrast do not matter.
    """
    least = torch.cdist(generated[0], real[0])
    for here, there in zip(generated[1:], real[1:], strict=True):
        torch.minimum(least, torch.cdist(here, there), out=least)
    return least


def attachments(far: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest real image of each generated one, int64 `[M]`, and how much nearer it is than all others.

    That is the ratio of the distances to the second nearest and to the nearest, float32 `[M]`, at least 1.

    Example:
        >>> attachments(torch.tensor([[4.0, 1.0, 2.0]]))
        (tensor([1]), tensor([2.]))
    """
    near = far.topk(2, largest=False)
    return near.indices[:, 0], near.values[:, 1] / near.values[:, 0].clamp_min(1e-6)


def copied(chosen: Tensor, ratio: Tensor, is_seen: Tensor) -> Tensor:
    """Return which of M generated images are copies, bool `[M]`.

    The score of a real image is the largest ratio of the generated images that chose it. The threshold is the smallest
    score at which the decoys with such a score or more, and one, are at most a tenth of the seen images with it.

    Args:
        chosen: The nearest real image of each, int64 `[M]`.
        ratio: How much nearer it is than all others, float32 `[M]`.
        is_seen: Which real images the generator has seen, bool `[R]`; the others are decoys.
    """
    score = ratio.new_zeros(len(is_seen)).scatter_reduce(0, chosen, ratio, "amax")
    order = score.argsort(descending=True)
    of_seen, of_decoys = is_seen[order].cumsum(0), (~is_seen[order]).cumsum(0)
    allowed = ((1 + of_decoys <= CHANCE * of_seen) & (score[order] > 1)).nonzero()[:, 0]
    if not len(allowed):
        return torch.zeros_like(chosen, dtype=torch.bool)
    return is_seen[chosen] & (ratio >= score[order[allowed[-1]]])


def draw_pairs(labels: Tensor, is_seen: Tensor, seed: int) -> list[Tensor]:
    """Draw equally many seen images and decoys of each class, as indices.

    If there are more of one kind, draw several times, each time those that were drawn least often, until each seen
    image had its turn. The classes are int64 `[R]`.
    """
    kinds = [
        [((labels == label) & which).nonzero()[:, 0] for which in (is_seen, ~is_seen)] for label in labels.unique()
    ]
    pairs = [(kind, size) for pair in kinds if (size := min(map(len, pair))) for kind in pair]
    least = 1 if all(len(kind) == size for kind, size in pairs) else DRAWS
    times, draws = torch.zeros(len(labels)), list[Tensor]()
    while len(draws) < least or any(not times[seen].all() for seen, _ in pairs[::2]):
        random = Stream(seed, "copies/draws").at(len(draws))
        drawn = [kind[(times[kind] + torch.rand(len(kind), generator=random)).argsort()[:size]] for kind, size in pairs]
        draws.append(torch.cat(drawn))
        times[draws[-1]] += 1
    return draws


def number_of_decoys(seen: ImageSet, decoys: ImageSet) -> int:
    """Return how many decoys there are for as many seen images of the same classes."""
    return int(seen.class_counts.minimum(decoys.class_counts).sum())


def too_few_decoys(what: str, number: int, seen: ImageSet) -> str:
    """Return, in a sentence, why an audit, or something else that needs decoys, is refused."""
    if len(seen) < FEWEST:
        return f"{what} is refused: it needs {FEWEST} images that the generator has seen, and there are {len(seen)}"
    return (
        f"{what} is refused: it needs {FEWEST} decoys, which are images of the same classes that the generator has "
        f"not seen, and has {number}; set validation_per_class to more, or label fewer"
    )


def lean_to(chosen: Tensor, is_seen: Tensor, labels: Tensor, seed: int, permutations: int = 999) -> tuple[float, float]:
    """Return the share of generated images that chose a seen image, and its p value (Phipson and Smyth 2010).

    Seen images and decoys, `[R]`, are permuted within each class, int64 `[R]`.
    """
    weights = chosen.bincount(minlength=len(is_seen)).double()
    p_value = permutation_p(weights, is_seen, labels, Stream(seed, "copies/lean").at(0), permutations)
    return float(weights[is_seen].sum()) / len(chosen), p_value


def permutation_p(
    weights: Tensor, is_seen: Tensor, labels: Tensor, random: torch.Generator, permutations: int = 999
) -> float:
    """Return the p value of the sum of the seen images' weights, float64 `[R]`, against equal chances in each class."""
    as_large, in_classes = 0, is_seen[labels.argsort(stable=True)]
    for chunk in torch.arange(permutations).split(AT_ONCE):
        draws = torch.rand(len(chunk), len(labels), generator=random, dtype=torch.float64)
        shuffled = torch.zeros(draws.shape, dtype=torch.bool)
        shuffled.scatter_(1, (draws + labels).argsort(dim=1), in_classes.expand(draws.shape))
        as_large += int((shuffled.double() @ weights >= weights[is_seen].sum()).sum())
    return (1 + as_large) / (1 + permutations)


def disturbed(
    images: Tensor, random: torch.Generator, shift: int = 1, gain: float = GAIN, noise: float = NOISE
) -> Tensor:
    """Return images, uint8 `[N, C, H, W]`, shifted by up to so many pixels, brighter or darker, and noisy."""
    height, width = images.shape[2:]
    wider = pad(images.float(), (shift,) * 4, mode="replicate")
    corners = torch.randint(2 * shift + 1, (len(images), 2), generator=random).tolist()
    moved = torch.stack([one[:, y : y + height, x : x + width] for one, (y, x) in zip(wider, corners, strict=True)])
    gains = 1 + gain * (2 * torch.rand(len(images), 1, 1, 1, generator=random) - 1)
    pixels = gains * moved + 255 * noise * torch.randn(moved.shape, generator=random)
    return pixels.round().clamp(0, 255).to(torch.uint8)


def _views(images: Tensor, sign: int) -> list[Tensor]:
    """Return images as vectors `[N, F]` around a mean of 0, of length 1, without the edge that each shift moves out."""
    height, width = images.shape[2:]
    is_large, pixels = min(height, width) >= LARGE, images.float() / 255
    rows, columns = ([_pooling(side, sign * by, is_large) for by in SHIFTS] for side in (height, width))
    found = []
    for lower, across in product((some @ pixels for some in rows), columns):
        flat = (lower @ across.T).flatten(1)
        flat = flat - flat.mean(dim=1, keepdim=True)
        found.append(flat / flat.norm(dim=1, keepdim=True).clamp_min(FLAT))
    return found


def _pooling(side: int, shift: int, is_large: bool) -> Tensor:
    """Return the matrix, `[K, side]`, that leaves out the edge that a shift moves out, and shrinks a large image."""
    kept = torch.eye(side)[max(shift, 0) : side + min(shift, 0)]
    return adaptive_avg_pool1d(kept.T, SIDE).T if is_large else kept
