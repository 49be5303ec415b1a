"""MLflow: a study is an experiment, a trial is a run of it, and a further run has the report."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from gan_augment.trackers.run import Run
from gan_augment.trackers.tracker import Tracker

AT_ONCE = 1000  # metrics, or 100 parameters, in one request
MOST_CHARACTERS = 5000  # of a parameter
CONTENT, ORIGIN = "gan_augment.content", "gan_augment.origin"
# A server that does not answer must not hold up trials for long.
ENVIRONMENT = {
    **{"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"},
    "MLFLOW_DISABLE_AGENT_HINTS": "1",
}


class MLflow(Tracker):
    """Writes to the server of `MLFLOW_TRACKING_URI`; without it, to `mlflow.db` and `mlflow/` in the folder."""

    needs = "mlflow"

    def __init__(self, folder: Path) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        folder = folder.absolute()
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
        self.artefacts = None if "MLFLOW_TRACKING_URI" in os.environ else (folder / "mlflow").as_uri()
        self.client = MlflowClient(self.uri)
        self.known: dict[str, dict[str, dict[str, tuple[str, str]]]] = {}

    @property
    def place(self) -> str:
        """The command that shows the runs."""
        return f"mlflow ui --backend-store-uri {self.uri}"

    def has(self, run: Run) -> bool:
        """Whether a run has this content."""
        return any(content == run.content for content, _ in self.runs(run.study).get(run.trial, {}).values())

    def add(self, run: Run) -> None:
        """Add a run with its parameters, metrics, curves and files."""
        from mlflow.entities import Metric, Param

        earlier = self.runs(run.study).get(run.trial, {})
        ended = None if run.ended is None else round(1000 * run.ended)
        started = None if ended is None else ended - round(1000 * run.seconds)
        number = self.client.create_run(self.experiment(run.study), started, run.tags, run.trial).info.run_id
        parameters = (Param(name, value[:MOST_CHARACTERS]) for name, value in run.parameters.items())
        for some in chunks(parameters, AT_ONCE // 10):
            self.client.log_batch(number, params=some)
        results = (Metric(name, value, ended or 0, 0) for name, value in run.metrics.items())
        points = ((name, one) for name, curve in run.curves() for one in curve)
        curves = (Metric(name, one.value, round(1000 * one.seconds), one.step) for name, one in points)
        for metrics in (results, curves):
            for some in chunks(metrics, AT_ONCE):
                self.client.log_batch(number, metrics=some)
        for path in run.files:
            assert run.folder is not None
            folder = path.parent.relative_to(run.folder).as_posix()
            self.client.log_artifact(number, str(path), None if folder == "." else folder)
        self.client.set_terminated(number, "FINISHED" if run.is_ok else "FAILED", ended)
        self.client.set_tag(number, CONTENT, run.content)  # last: a run without it is not whole
        for one, (_, origin) in earlier.items():
            if origin == run.origin:
                self.client.delete_run(one)
        others = {one: known for one, known in earlier.items() if known[1] != run.origin}
        self.runs(run.study)[run.trial] = others | {number: (run.content, run.origin)}

    def report(self, study: str, page: Path) -> None:
        """Add the report to a run that has nothing else."""
        found = next(self.search(study, "`gan_augment.is_report` = 'true'"), None)
        if found is None:
            tags = {"gan_augment.is_report": "true"}
            found = self.client.create_run(self.experiment(study), tags=tags, run_name="report")
        self.client.log_artifact(found.info.run_id, str(page))
        self.client.set_terminated(found.info.run_id)

    def experiment(self, study: str) -> str:
        """Return the experiment of a study, and create it if it is not there."""
        from mlflow import MlflowException

        if self.client.get_experiment_by_name(study) is None:
            with suppress(MlflowException):  # another process creates it at this moment
                self.client.create_experiment(study, self.artefacts and f"{self.artefacts}/{study}")
        found = self.client.get_experiment_by_name(study)
        assert found is not None
        return str(found.experiment_id)

    def runs(self, study: str) -> dict[str, dict[str, tuple[str, str]]]:
        """Return content and origin of a study's runs, by trial and run; the content is "" if a run is not whole."""
        if study not in self.known:
            self.known[study] = {}
            for one in self.search(study, "`gan_augment.trial` != ''"):
                tags: Mapping[str, str] = one.data.tags
                of_trial = self.known[study].setdefault(tags["gan_augment.trial"], {})
                of_trial[str(one.info.run_id)] = tags.get(CONTENT, ""), tags.get(ORIGIN, "")
        return self.known[study]

    def search(self, study: str, tag: str) -> Iterator[Any]:
        """Yield the runs of a study with a tag, by a condition in MLflow's words, the latest first."""
        asked: dict[str, Any] = {
            "experiment_ids": [self.experiment(study)],
            "filter_string": f"tags.{tag}",
            "order_by": ["attributes.start_time DESC"],
        }
        page = self.client.search_runs(**asked)
        yield from page
        while page.token:
            page = self.client.search_runs(**asked, page_token=page.token)
            yield from page


def chunks(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Yield the items, so many at a time."""
    while some := [*islice(items, size)]:
        yield some
