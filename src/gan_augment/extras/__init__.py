"""Extras: sources of further images in a batch. Each is a class in a file of this folder."""

from importlib import import_module
from pkgutil import iter_modules

from gan_augment.contracts import Extra, Method, NoExtra, Plan
from gan_augment.settings import check_choice


def extras() -> dict[str, type[Extra]]:
    """Return every extra by name."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return {kind.name: kind for kind in _below(Extra)}


def plan_extra(plan: Plan) -> Extra:
    """Plan the extra of the arm; raise a ValueError if it is unknown, or the arm sees too little or too much for it."""
    arm, known, methods = plan.config.arm, extras(), plan.config.names(Method)
    check_choice("augmentation.extra", arm.extra, known)
    check_choice("augmentation.method", arm.method, methods)
    if arm.teacher is not None:
        check_choice("augmentation.teacher", arm.teacher, methods)
    kind, row = known[arm.extra], f"augmentation.sees={arm.sees} with augmentation.extra={arm.extra}"
    method, sees, name = plan.config.parts[arm.method], kind.sees, arm.extra
    if kind is NoExtra and method is not None:
        sees, row, name = (method.sees,), f"{row} and augmentation.method={arm.method}", arm.method
    if arm.sees not in sees:
        raise ValueError(f"{row}: {name} is for augmentation.sees={' or '.join(sees)}")
    if (arm.teacher is not None) != (arm.sees == "pool_images" and kind.needs_teacher):
        advice = "name the method that labels the pool" if arm.teacher is None else "leave teacher null"
        raise ValueError(f"{row} and augmentation.teacher={arm.teacher}: {advice}")
    return kind.plan(plan)


def _below(kind: type[Extra]) -> list[type[Extra]]:
    return [one for child in kind.__subclasses__() for one in (child, *_below(child))]
