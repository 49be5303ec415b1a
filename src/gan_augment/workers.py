"""Worker processes of a launch in parallel."""

import multiprocessing
import os
import time
from functools import cache
from threading import Thread

SECONDS_BETWEEN_LOOKS = 0.5


@cache
def end_with_parent() -> None:
    """End this process as soon as the launch that it works for has ended, however it ended; in others do nothing.

    A killed launch cannot end its workers, and a worker that lives on would write what the next launch writes too.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def look() -> None:
        while os.getppid() == parent.pid:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)  # nothing to tidy up: whatever is being written is whole or not there at all

    Thread(target=look, daemon=True).start()
