import re

import pytest
from torch import nn

from gan_augment.networks.architecture import Architecture
from gan_augment.networks.conditioning import Conditioning
from gan_augment.networks.mlp import MLP
from gan_augment.settings import (
    build,
    build_chosen,
    build_later,
    check_betas,
    check_boolean,
    check_choice,
    check_integer,
    check_names,
    check_number,
    errors_of,
)


def test_build_makes_the_object_that_a_node_names():
    node = {"_target_": "gan_augment.networks.mlp.MLP", "latent_dim": 3, "width": 5}
    assert build(node, "architecture", Architecture) == MLP(latent_dim=3, width=5)


def test_build_passes_on_what_the_object_says_of_its_settings():
    with pytest.raises(ValueError, match=r"^architecture\.width=0: use a whole number of at least 1$"):
        build({"_target_": "gan_augment.networks.mlp.MLP", "width": 0}, "architecture", Architecture)


def test_build_names_an_unknown_setting():
    with pytest.raises(ValueError, match=r"^architecture has no setting depth: use latent_dim, width, "):
        build({"_target_": "gan_augment.networks.mlp.MLP", "depth": 3}, "architecture", Architecture)


def test_build_names_a_missing_setting():
    node = {"_target_": "gan_augment.augmentation.classical.ClassicalTransform", "shift": 0.1, "flip": False}
    with pytest.raises(ValueError, match=r"^data\.classical lacks rotation, scale$"):
        build(node, "data.classical", object)


def test_build_refuses_another_kind_of_thing():
    node = {"_target_": "gan_augment.networks.mlp.MLP", "width": 5}
    message = (
        r"^conditioning\._target_=gan_augment\.networks\.mlp\.MLP: use one of type Conditioning that a file of conf/"
    )
    with pytest.raises(ValueError, match=message):
        build(node, "conditioning", Conditioning)


def test_build_later_leaves_a_call_to_its_user():
    node = {"_target_": "gan_augment.networks.cnn.CNN", "_partial_": True, "channels": 4}
    made = build_later(node, "classifier.network", nn.Module)
    assert made.keywords == {"channels": 4}
    with pytest.raises(ValueError, match=r"^classifier\.network has no setting depth: use "):
        build_later(node | {"depth": 3}, "classifier.network", nn.Module)
    with pytest.raises(ValueError, match=r"^architecture has no setting _partial_: use "):
        build({"_target_": "gan_augment.networks.mlp.MLP", "_partial_": True}, "architecture", Architecture)


@pytest.mark.parametrize("node", [3, "cat", [], None, True])
def test_a_value_in_the_place_of_a_node_is_refused(node):
    message = rf"^data\.classical={re.escape(str(node))}: this is a node with settings, such as those in conf/$"
    checks = (lambda: build(node, "data.classical", nn.Module), lambda: build_later(node, "data.classical", nn.Module))
    for check in (
        *checks,
        lambda: build_chosen("data.classical", node),
        lambda: check_names("data.classical", node, ()),
    ):
        with pytest.raises(ValueError, match=message):
            check()


def test_check_names_takes_known_settings_of_which_some_may_be_missing():
    check_names("oven", {"degrees": 200, "minutes": 30}, ("degrees", "minutes"))
    check_names("oven", {"degrees": 200}, ("degrees", "minutes"), needed=("degrees",))


@pytest.mark.parametrize(
    ("node", "wrong"),
    [
        ({"degrees": 200}, "lacks minutes"),
        ({"degrees": 200, "minutes": 30, "fan": True}, "has no setting fan: use degrees, minutes"),
        ({"degrees": 200, "minute": 30}, "has no setting minute: use degrees, minutes"),
    ],
)
def test_check_names_refuses_unknown_and_missing_settings(node, wrong):
    with pytest.raises(ValueError, match=f"^oven {wrong}$"):
        check_names("oven", node, ("degrees", "minutes"))


@pytest.mark.parametrize("said", ["width=0 is too small", "oven: width=0 is too small"])
def test_errors_of_a_node_start_with_its_name(said):
    with pytest.raises(ValueError, match=r"^oven: width=0 is too small$"), errors_of("oven"):
        raise ValueError(said)


@pytest.mark.parametrize("value", [2, 5, 9])
def test_check_integer_takes_the_whole_range(value):
    assert check_integer("n", value, low=2, high=9) is None


@pytest.mark.parametrize("value", [1, 10, 5.0, "5", True, None])
def test_check_integer_refuses_everything_else(value):
    with pytest.raises(ValueError, match=f"^n={value}: use a whole number from 2 to 9$"):
        check_integer("n", value, low=2, high=9)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), "1", True, None])
def test_check_number_refuses_what_is_out_of_range_or_no_number(value):
    with pytest.raises(ValueError, match=f"^x={value}: use a number from 0 to 1$"):
        check_number("x", value, 0, 1)


def test_check_number_may_leave_out_the_lower_end():
    check_number("x", 0, 0, 1)
    with pytest.raises(ValueError, match=r"^x=0: use a number above 0 and at most 1$"):
        check_number("x", 0, 0, 1, open_low=True)


@pytest.mark.parametrize("value", [[0.5], [0.5, 0.9, 0.99], "ab", None])
def test_check_betas_refuses_anything_but_two(value):
    check_betas("betas", (0.5, 0.999))
    with pytest.raises(ValueError, match=rf"^betas={re.escape(str(value))}: use a list of two numbers$"):
        check_betas("betas", value)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_check_boolean_refuses_everything_else(value):
    check_boolean("x", False)
    with pytest.raises(ValueError, match=f"^x={value}: use true or false$"):
        check_boolean("x", value)


def test_check_choice_lists_what_is_allowed():
    check_choice("x", "b", ("a", "b"))
    with pytest.raises(ValueError, match=r"^x=c: use one of a, b$"):
        check_choice("x", "c", ("a", "b"))
