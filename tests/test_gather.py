"""What each process of a run has reaches all of them."""

import subprocess
import sys
from pathlib import Path

from leyden.gather import num_ranks, of_all_ranks

RANK = """
import sys
import torch.distributed
from leyden.gather import num_ranks, of_all_ranks
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
print(num_ranks(), of_all_ranks({"rank": int(sys.argv[2])}))
torch.distributed.destroy_process_group()
"""


def test_each_part_is_on_every_rank(tmp_path: Path) -> None:
    words = [[sys.executable, "-c", RANK, str(tmp_path / "meet"), str(rank)] for rank in range(2)]
    processes = [subprocess.Popen(each, stdout=subprocess.PIPE, text=True) for each in words]
    told = [process.communicate(timeout=100)[0] for process in processes]
    assert told == ["2 [{'rank': 0}, {'rank': 1}]\n"] * 2


def test_process_by_itself_has_its_own_part() -> None:
    assert num_ranks() == 1
    assert of_all_ranks("mine") == ["mine"]
