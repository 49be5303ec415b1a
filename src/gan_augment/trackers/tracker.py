"""The contract of a tracker."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from gan_augment.trackers.run import Run


class Tracker(ABC):
    """Where runs go. A run that is there is left alone; one whose trial has changed since is replaced.

    Args:
        folder: Where it keeps its files, unless a variable of the environment names a server.

    Attributes:
        needs: The package that it needs, which is an extra of the same name; "" for none.
    """

    needs: ClassVar[str] = ""

    @abstractmethod
    def __init__(self, folder: Path) -> None: ...

    @property
    @abstractmethod
    def place(self) -> str:
        """How to look at the runs: a command or a path."""

    @abstractmethod
    def has(self, run: Run) -> bool:
        """Whether the run is there as it is."""

    @abstractmethod
    def add(self, run: Run) -> None:
        """Add a run, in place of an older one of the same trial."""

    def report(self, study: str, page: Path) -> None:  # noqa: B027  # some have no place for it
        """Add the report of a study, in place of an older one."""

    def close(self) -> None:  # noqa: B027  # most write each run at once
        """Write what is not written yet."""
