"""A real Slurm on this one machine, from Debian's packages, for tests: two nodes of its own, gone when it is left.

`python tests/slurm_cluster.py <command …>` runs a command with it, as `sbatch` and `squeue` then find it.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

NODES = ("node0", "node1")
CPUS = 2  # of each node, whatever the machine has
SECONDS_TO_START, SECONDS_TO_STOP = 60, 20
SECONDS_TO_QUEUE_AGAIN = 5  # before a requeued job may start, which Slurm wants: as long as credentials live

# No systemd, no cgroups, no accounting: what works in a container, and what the smallest of clusters have.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge/socket,cred_expire={again}
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmctldPidFile={directory}/slurmctld.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdPidFile={directory}/slurmd-%n.pid
SlurmdLogFile={directory}/slurmd-%n.log
SlurmdSpoolDir={directory}/spool-%n
StateSaveLocation={directory}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,batch_sched_delay=1
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=20
MinJobAge=300
GresTypes=gpu
{nodes}
PartitionName=plain Nodes=node0 Default=YES PriorityTier=1 State=UP
PartitionName=low Nodes=ALL PriorityTier=1 State=UP
PartitionName=graceful Nodes=ALL PriorityTier=1 GraceTime=20 State=UP
PartitionName=gpu Nodes=node1 PriorityTier=1 State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP
"""


class Cluster:
    """As a context manager, a cluster that the commands of Slurm in this process's environment belong to."""

    def __enter__(self) -> Self:
        install()
        self.directory = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.before = os.environ.get("SLURM_CONF")
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        self._start_munge()
        ports = _free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={name} NodeAddr=127.0.0.1 NodeHostname={socket.gethostname()} Port={port} CPUs={CPUS}"
            + (" Gres=gpu:2" if name == NODES[1] else "")  # which nothing can compute with
            for name, port in zip(NODES, ports[1:], strict=True)
        )
        configuration = self.directory / "slurm.conf"
        configuration.write_text(
            CONFIGURATION.format(
                host=socket.gethostname(), directory=self.directory, ports=ports, nodes=nodes,
                again=SECONDS_TO_QUEUE_AGAIN,
            )
        )  # fmt: skip
        (self.directory / "gres.conf").write_text(f"NodeName={NODES[1]} Name=gpu File={self.directory}/gpu[0-1]\n")
        for name in ("gpu0", "gpu1"):
            (self.directory / name).touch()
        os.environ["SLURM_CONF"] = str(configuration)
        (self.directory / "state").mkdir()
        self._run("slurmctld")
        for name in NODES:
            (self.directory / f"spool-{name}").mkdir()
            self._run("slurmd", "-N", name)
        give_up = time.monotonic() + SECONDS_TO_START
        while subprocess.run(["sinfo", "-h", "-o", "%T %D"], capture_output=True, text=True).stdout.split() != [
            "idle", str(len(NODES)),
        ]:  # fmt: skip
            if time.monotonic() > give_up:
                logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in self.directory.glob("*.log"))
                raise RuntimeError(f"Slurm does not start:\n{logs}")
            time.sleep(0.2)

    def _start_munge(self) -> None:
        directory = self.directory / "munge"
        directory.mkdir()
        key = directory / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        for path in (directory, key):
            shutil.chown(path, "munge", "munge")
        options = [
            f"--{name}={directory}/{name.split('-')[0]}"
            for name in ("key-file", "socket", "pid-file", "log-file", "seed-file")
        ]
        self._run("runuser", "-u", "munge", "--", "munged", *options)

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_START)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")

    def _stop(self) -> None:
        if "SLURM_CONF" in os.environ and os.environ["SLURM_CONF"].startswith(str(self.directory)):
            subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=SECONDS_TO_STOP)
            give_up = time.monotonic() + SECONDS_TO_STOP
            while subprocess.run(["squeue", "-h"], capture_output=True).stdout and time.monotonic() < give_up:
                time.sleep(0.2)
        names = [*(f"slurmd-{name}.pid" for name in NODES), "slurmctld.pid", "munge/pid"]
        for path in (self.directory / name for name in names):
            with contextlib.suppress(OSError, ValueError):
                _end(int(path.read_text()))
        os.environ.pop("SLURM_CONF", None)
        if self.before is not None:
            os.environ["SLURM_CONF"] = self.before
        shutil.rmtree(self.directory, ignore_errors=True)


def install() -> None:
    """Installs Debian's packages where they are missing, for which one must be root."""
    missing = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name)]
    if not missing:
        return
    if os.getuid() or not shutil.which("apt-get"):
        raise RuntimeError(f"a Slurm for tests needs {', '.join(missing)}: as root, apt-get install slurm-wlm munge")
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]):
        subprocess.run(["apt-get", "-q", *arguments], env=quiet, check=True, stdout=subprocess.DEVNULL)


def _end(process: int) -> None:
    """Ends a daemon, and waits until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, 15)
        for _ in range(SECONDS_TO_STOP * 10):
            os.kill(process, 0)
            time.sleep(0.1)
        os.kill(process, 9)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


if __name__ == "__main__":
    with Cluster():
        sys.exit(subprocess.run(sys.argv[1:]).returncode)
