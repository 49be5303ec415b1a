"""A study on a Slurm cluster, with jobs that are cancelled and run out of time: are its results those of one machine?

    apt-get install slurmctld slurmd munge        # Debian; then as root:
    python benchmarks/slurm.py [--folder /tmp/slurm]

Starts Slurm with this machine as its only node, in a folder of its own, and stops it at the end. A study of 12 trials
then runs with `hydra/launcher=slurm`. Its GANs need more time than a job has, and one job is cancelled. The same
command again runs what is missing. The results must be those of the same study without a cluster.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from racing import machine

CONFIGURATION = """
ClusterName=gan-augment
SlurmctldHost={host}
SlurmUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=5
NodeName={host} CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=60 State=UP
"""
STUDY = (
    *("augmentation=none,gan,gan_classical", "seed=range(0,4)", "generator.images_seen=200000", "measures=[]"),
    *("classifier.num_steps=200", "trainer.num_threads=1", "trainer.checkpoint_every=5", "study=cluster"),
)
LAUNCHER = (
    *("hydra/launcher=slurm", "hydra.launcher.timeout_min=1", "hydra.launcher.warning_s=20"),
    *("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=3"),
)


@contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Run Slurm on this machine, with its files in a folder."""
    if os.getuid() or not all(map(shutil.which, ("munged", "slurmctld", "slurmd"))):
        sys.exit("this needs root, and slurmctld, slurmd and munge")
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    node = {"host": socket.gethostname(), "cores": os.cpu_count(), "memory": int(0.8 * memory)}
    path = folder / "slurm.conf"
    path.write_text(CONFIGURATION.format(folder=folder, **node))
    os.environ["SLURM_CONF"] = str(path)
    subprocess.run(["service", "munge", "start"], check=True, capture_output=True)
    try:
        for daemon in ("slurmctld", "slurmd"):
            subprocess.run([daemon], check=True)
        until(lambda: "idle" in asked("sinfo", "--noheader"))
        yield
    finally:
        for daemon in ("slurmd", "slurmctld"):
            subprocess.run(["pkill", "--pidfile", f"{folder}/{daemon}.pid"], check=False)


def asked(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def until(happened: object, seconds: float = 600) -> None:
    """Wait until something has happened."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError("it did not happen")
        time.sleep(0.5)


def start(output: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start a study."""
    program = [sys.executable, "-m", "gan_augment", "-m", *words, f"paths.output_dir={output}"]
    return subprocess.Popen(program)


def trials(output: Path) -> dict[str, tuple[str, bytes]]:
    """Return the status and the predictions of each trial that has a result."""
    found = {}
    for path in sorted(output.glob("studies/cluster/trials/*/record.json")):
        record = json.loads(path.read_text())
        (predictions,) = path.parent.glob("predictions*")
        found[path.parent.name] = record["status"], predictions.read_bytes()
    return found


def main() -> None:
    """Run the study on the cluster, disturb it, run it again, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="where everything is written")
    folder = parser.parse_args().folder or Path(tempfile.mkdtemp())
    with cluster(folder / "slurm"):
        study = start(folder / "cluster", *STUDY, *LAUNCHER)
        until(lambda: len(asked("squeue", "--noheader", "--array", "--states=RUNNING").splitlines()) >= 2)
        until(lambda: [*(folder / "cluster").glob("store/gan/*.partial/checkpoints/*.ckpt")])
        victim = asked("squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i").split()[-1]
        subprocess.run(["scancel", victim], check=True)
        print(f"cancelled job {victim}", flush=True)
        code = study.wait()
        missing = 12 - len(trials(folder / "cluster"))
        print(f"the launch ended with {code}; {missing} of 12 trials have no result", flush=True)
        again = start(folder / "cluster", *STUDY, *LAUNCHER).wait()
    basic = start(folder / "basic", *STUDY).wait()
    on_cluster, alone = trials(folder / "cluster"), trials(folder / "basic")
    same = len(alone) == 12 and on_cluster == alone
    print(json.dumps({"machine": machine(), "ended": [code, again, basic], "missing": missing, "same": same}, indent=1))
    sys.exit(not (same and code == 1 and missing and again == basic == 0))


if __name__ == "__main__":
    main()
