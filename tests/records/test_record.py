import json
import re

import pytest

from gan_augment.records.record import SCHEMA, flatten, read_record, write_json


def test_a_record_reads_back_as_written_with_fields_of_a_newer_minor_version(tmp_path):
    record = {"schema": "1.8", "trial": "none-seed0", "status": "ok", "metrics": {"test": {"accuracy": 0.9}}}
    record |= {"factors": {}, "provenance": {}, "new": {"field": None}}
    write_json(record, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_a_newer_major_schema_is_refused(tmp_path):
    write_json({"schema": "2.0"}, tmp_path / "record.json")
    with pytest.raises(ValueError, match=re.escape(f"has schema 2.0, this version reads up to {SCHEMA}")):
        read_record(tmp_path / "record.json")


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", "", "[" * 5000, '{"schema": "1.8"}', '{"schema": "x"}', '{"schema": null}']
)
def test_what_is_not_a_record_is_named(tmp_path, content):
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(ValueError, match=r"record\.json is not a readable record"):
        read_record(tmp_path / "record.json")


def test_flatten_keeps_nulls_and_drops_lists_and_what_differs_between_two_runs():
    record = {
        "factors": {"augmentation.share": None, "seeds.split": 3},
        "confusion_matrix": [[1, 0], [0, 1]],
        "notes": ["the images have no labels"],
        "compared": {"robustness.corruption": "accuracy under corruption"},
        "provenance": {"split": "ab", "command": "gan-augment", "test_opened": "2026-01-01T00:00:00"},
    }
    assert json.dumps(flatten(record)) == json.dumps(
        {"factors.augmentation.share": None, "factors.seeds.split": 3, "provenance.split": "ab"}
    )
