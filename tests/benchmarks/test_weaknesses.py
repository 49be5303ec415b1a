import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from weaknesses import main, share, tenths


def test_a_tenth_of_each_class_has_the_smallest_and_the_largest_values():
    labels = torch.arange(2).repeat_interleave(20)
    values = torch.cat([torch.arange(20.0), 100 - torch.arange(20.0)])
    lowest, highest = tenths(values, labels)
    assert lowest.nonzero()[:, 0].tolist() == [0, 1, 38, 39]
    assert highest.nonzero()[:, 0].tolist() == [18, 19, 20, 21]


def test_shares_have_the_interval_of_wilson():
    assert share(torch.arange(10) < 8) == "80.0 % (49.0 to 94.3)"


def test_a_trial_is_tested_on_its_real_test_images(cli, tmp_path, monkeypatch, capsys):
    cli("classifier.num_steps=5", "measures=[]", f"paths.output_dir={tmp_path}", "seed=100", "open_test=false")
    (trial,) = tmp_path.glob("studies/*/trials/*")
    monkeypatch.setattr(sys, "argv", ["weaknesses.py", str(trial)])
    main()
    said = capsys.readouterr().out
    assert "of 360 test images" in said
    assert "| slant | " in said
    assert len(said.split("| class | answer | share of the class |")[1].splitlines()) == 6
