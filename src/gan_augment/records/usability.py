"""Whether the images of a generator are usable: the thresholds, and the reasons in words. Imports no torch."""

from collections.abc import Mapping

# Share of the images that are told apart, above which they are not usable: in a judge's features, or else by pixels,
# where a trace of blur tells images apart that a classifier learns well from.
MOST_TOLD, MOST_TOLD_BY_PIXELS = 0.9, 0.95
LEAST_VARIETY = 0.6  # below are one or two different images of a class, in any number of copies
# Variance of the Laplacian. Real images under a Gaussian of 2 pixels have at most .010, under one of 1.5 pixels .008 to
# .025, and enlarged twofold .02 to .05 (six data sets, 8 to 64 pixels); the GANs of the recipes have .8 and more.
LEAST_SHARPNESS = 0.03
# Photographs with their pixels in another order have 22 and more, photographs under noise of 20 grey levels 4.
MOST_SHARPNESS = 8.0
# Of each kind. With fewer, even all images told apart would not exclude such a share: .05 ** (1 / 29) = .902. Of 800
# draws of 30 against 30 fresh real images (digits, MNIST) none had more than .8 told apart; of those of 200 against 200
# none had more than .61. The standard deviation is 1.2 to 1.3 times that of a binomial count.
FEWEST, FEWEST_BY_PIXELS = 29, 59
CONFIDENCE = 0.95  # one-sided
NOT_USABLE = "not usable yet"


def reasons(found: Mapping[str, float | None]) -> list[str]:
    """Return why generated images are not usable, in words; an empty list if they are.

    `found` has the metrics of the measure `usable`; None for those that are unknown.

    Example:
        >>> reasons({"told_apart": 1.0, "told_apart_of": 60, "variety": 0.02})
        ['100 % are told from real ones', 'the images of a class are alike: variety 0.02, of real ones 1']
        >>> reasons({"told_apart": 0.95, "told_apart_of": 60, "variety": 0.9})
        []
    """
    told, agreement, majority, variety, sharpness = (
        found.get(name) for name in ("told_apart", "agreement", "majority", "variety", "sharpness")
    )
    said = []
    most = MOST_TOLD_BY_PIXELS if found.get("told_apart_features") is None else MOST_TOLD
    if told is not None and lowest(told, found["told_apart_of"]) > most:
        said.append(f"{100 * told:.0f} % are told from real ones")
    if agreement is not None and majority is not None and lowest(agreement, found["agreement_of"]) <= majority:
        said.append(
            f"the judge sees the class that they should show in {100 * agreement:.0f} %, and the largest "
            f"class alone has {100 * majority:.0f} %"
        )
    if variety is not None and variety < LEAST_VARIETY:
        said.append(f"the images of a class are alike: variety {variety:.2f}, of real ones 1")
    if sharpness is not None and sharpness < LEAST_SHARPNESS:
        said.append(f"they are blurred: sharpness {sharpness:.3f}, of real ones 1")
    if sharpness is not None and sharpness > MOST_SHARPNESS:
        said.append(f"they are noisy: sharpness {sharpness:.1f}, of real ones 1")
    return said


def in_words(which: str, why: list[str], trained: bool) -> str:
    """Return the sentence on images that are not usable; `which` names them and is a plural.

    `trained` is whether their generator was trained here, and not given.
    """
    advice = "train longer (generator.images_seen)" if trained else "improve the generator"
    return f"{which} are {NOT_USABLE} ({'; '.join(why)}): {advice}, and look at samples.png first"


def lowest(share: float, number: float | None) -> float:
    """Return the one-sided 95 % lower bound of a share of some images (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    right = share * (number or 0)
    return float(beta.ppf(1 - CONFIDENCE, right, (number or 0) - right + 1)) if right else 0.0
