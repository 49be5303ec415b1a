from gan_augment.records.findings import Findings


def test_findings_are_put_together_in_every_part():
    one = Findings({"gan": {"recall": 0.5}, "test": {}}, ("first",), {"a.b": "b in words"})
    other = Findings({"gan": {"precision": 0.7}, "a": {"b": 0.1}}, ("second",), {"a.c": "c in words"})
    both = one | other
    assert both.metrics == {"gan": {"recall": 0.5, "precision": 0.7}, "test": {}, "a": {"b": 0.1}}
    assert both.warnings == ("first", "second")
    assert both.compared == {"a.b": "b in words", "a.c": "c in words"}
    assert Findings() | one == one
