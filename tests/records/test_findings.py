from gan_augment.records.findings import Findings, Section


def test_metrics_of_one_name_are_put_together_and_warnings_follow_each_other():
    one = Findings({"gan": {"training": {"loss": 1.0}, "diversity": 0.9}, "test": {"accuracy": 0.5}}, ("first",))
    other = Findings({"gan": {"recall": 0.3, "training": {"norm": 2.0}}, "pseudo_labels": {"share": 1.0}}, ("second",))
    both = one | other
    assert both.metrics == {
        "gan": {"training": {"loss": 1.0, "norm": 2.0}, "diversity": 0.9, "recall": 0.3},
        "test": {"accuracy": 0.5},
        "pseudo_labels": {"share": 1.0},
    }
    assert both.warnings == ("first", "second")
    assert one.metrics["gan"] == {"training": {"loss": 1.0}, "diversity": 0.9}  # as it was


def test_no_findings_change_nothing():
    found = Findings({"test": {}}, ("first",))
    assert found | Findings() == Findings() | found == found


def test_the_later_value_of_a_metric_counts():
    assert (Findings({"gan": {"recall": 0.1}}) | Findings({"gan": {"recall": 0.2}})).metrics == {"gan": {"recall": 0.2}}


def test_findings_are_put_together_in_every_part():
    first, second = (Section(name, {f"a.{name}": name}) for name in "bc")
    one = Findings({"gan": {"recall": 0.5}, "test": {}}, ("first",), {"a.b": "b in words"}, {"B": first})
    other = Findings({"gan": {"precision": 0.7}, "a": {"b": 0.1}}, ("second",), {"a.c": "c in words"}, {"C": second})
    both = one | other
    assert both.metrics == {"gan": {"recall": 0.5, "precision": 0.7}, "test": {}, "a": {"b": 0.1}}
    assert both.warnings == ("first", "second")
    assert both.compared == {"a.b": "b in words", "a.c": "c in words"}
    assert both.sections == {"B": first, "C": second}
    assert Findings() | one == one
