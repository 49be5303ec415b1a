"""Worker processes of a parallel launch."""

import multiprocessing
import os
import time
from functools import cache
from threading import Thread

SECONDS_BETWEEN_CHECKS = 0.5


@cache
def end_with_parent() -> None:
    """End this worker process as soon as its launch has ended in any way; do nothing in other processes.

    A killed launch cannot end its workers, and a surviving worker would write the same files as the next launch.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == parent.pid:
            time.sleep(SECONDS_BETWEEN_CHECKS)
        os._exit(1)  # no clean-up needed: files are written whole or not at all

    Thread(target=watch, daemon=True).start()
