"""A study on a Ray cluster of two nodes, one of which is lost: are its results those of one machine?

    pip install 'gan-augment[ray]'
    python benchmarks/ray_cluster.py [--folder /tmp/ray]

Both nodes are processes of this machine. A study of six trials runs with `hydra/launcher=ray`. As soon as a GAN has a
checkpoint, the second node is taken away, with all that runs on it. Its trials must go on upon the other node, and the
results must be those of the same study without a cluster.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from racing import machine
from ray.cluster_utils import Cluster
from slurm import start, trials, until

STUDY = (
    *("augmentation=none,gan,gan_classical", "seed=0,1", "generator.images_seen=100000", "measures=[]"),
    *("classifier.num_steps=200", "trainer.num_threads=1", "trainer.checkpoint_every=3", "study=cluster"),
)


def main() -> None:
    """Run the study on the cluster, take a node away, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="where everything is written")
    folder = (parser.parse_args().folder or Path(tempfile.mkdtemp())).absolute()
    os.environ.setdefault("RAY_worker_niceness", "0")  # or they wait for whatever else runs here
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = cluster.address
        study = start(folder / "cluster", *STUDY, "hydra/launcher=ray")
        until(lambda: len([*(folder / "cluster").glob("store/gan/*.partial/checkpoints/*.ckpt")]) > 1)
        cluster.remove_node(second, allow_graceful=False)
        print("a node is lost", flush=True)
        ended = study.wait()
    finally:
        cluster.shutdown()
    alone = start(folder / "basic", *STUDY).wait()
    on_cluster, here = trials(folder / "cluster"), trials(folder / "basic")
    same = len(here) == 6 and on_cluster == here
    print(json.dumps({"machine": machine(), "ended": [ended, alone], "same": same}, indent=1))
    sys.exit(not (same and ended == alone == 0))


if __name__ == "__main__":
    main()
