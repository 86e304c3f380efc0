"""Memory, and machines that differ."""

import gc
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from children import tiny_config

from laseg_lib.cli import main
from laseg_lib.data.phantom import write_phantoms
from laseg_lib.data.volumes import read_volume, write_volume
from laseg_lib.errors import LasegError
from laseg_lib.runtime import machine
from laseg_lib.training import Trainer
from laseg_lib.vnet import VNet

SPACES = "Vorhöfe & Söhne 左心房"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Volumes below a folder as home folders are outside of California."""
    return write_phantoms(tmp_path_factory.mktemp(SPACES) / "data", train=8, test=1, size=(24, 20, 12), seed=0)


# -- memory -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("error", [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    RuntimeError("could not create a primitive"), MemoryError("Unable to allocate 20.0 GiB for an array")],
    ids=["GPU", "Linux", "Windows", "oneDNN", "NumPy"])
@pytest.mark.parametrize("where", ["student", "train_set"])
def test_running_out_of_memory_names_the_settings_to_change(root, error, where):
    trainer = Trainer(tiny_config(root))

    def fail(*_):
        raise error

    if where == "student":
        trainer.student.block_five.register_forward_pre_hook(fail)
    else:
        trainer.train_set._read = fail
    with pytest.raises(LasegError) as told:
        trainer.step()
    settings = ("patch_size", "batch_size", "n_filters", "downsample", "cache")
    assert all(f"--{name}" in str(told.value) for name in settings)


def test_another_error_is_not_taken_for_want_of_memory():
    with pytest.raises(RuntimeError, match="a bug"), machine.explain_memory():
        raise RuntimeError("a bug")


def test_a_truly_impossible_tensor_becomes_the_sentence():
    with pytest.raises(LasegError, match="--patch_size"), machine.explain_memory():
        torch.empty(2**50)


@pytest.mark.parametrize("changes, named", [(dict(patch_size=(16000, 16000, 8000)), "--patch_size"),
                                            (dict(n_filters=100_000), "--n_filters")])
def test_a_training_beyond_the_machine_is_refused_before_it_takes_anything(root, changes, named):
    """The system would let it start, and kill the process without a word."""
    with pytest.raises(LasegError, match=f"not enough memory.*GB.*{named}"):
        Trainer(tiny_config(root, **changes))


def test_the_least_that_a_training_takes_is_no_more_than_it_takes():
    """Otherwise the check would refuse what would have run: weights and activations, counted."""
    config = tiny_config("", n_filters=4, patch_size=(32, 32, 16), has_dropout=False)
    network, taken = VNet(1, 2, 4, "batchnorm"), []

    def keep(tensor):
        taken.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.randn(2, 1, 32, 32, 16))
    weights = 16 * sum(parameter.numel() for parameter in network.parameters())
    assert 0.3 * (weights + sum(taken)) < machine.training_bytes(config) < weights + sum(taken)


def test_a_cache_says_what_it_will_take_and_is_refused_when_there_is_too_little(root, tmp_path, monkeypatch):
    trainer = Trainer(tiny_config(root, snapshot_path=str(tmp_path / "run")))
    assert trainer.cache_bytes == sum(5 * read_volume(trainer.train_set.path(name))[0].size
                                      for name in trainer.train_set.image_list)
    assert not trainer.train_set._kept  # said before anything is taken
    assert "the cache takes up to" in (tmp_path / "run/log.txt").read_text()
    needed = machine.training_bytes(trainer.config)
    monkeypatch.setattr(machine, "available_memory", lambda device: needed + 1)
    monkeypatch.setattr(type(trainer.train_set), "cache_bytes", lambda self: needed + 2)
    with pytest.raises(LasegError, match="a cache of 7 volumes needs .* GB.*--cache none"):
        Trainer(tiny_config(root))
    assert Trainer(tiny_config(root, cache="none")).cache_bytes == 0


def test_the_free_memory_is_known():
    assert 1e8 < machine.available_memory(torch.device("cpu")) < 1e15


def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def tensors():
    """How many are alive, whoever holds them."""
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_iterations_take_no_more_memory(root):
    """Every arm's parts at work; what remains is the history, a row of numbers an iteration.

    What leaks grows in stretch after stretch, but for the first, where it fills what was free; an allocator takes more
    now and then.
    """
    trainer = Trainer(tiny_config(root, val_every=20))
    trainer.run(60, progress=False)  # libraries are imported, caches filled
    alive, grown = tensors(), []
    for _ in range(4):
        before = megabytes()
        trainer.run(40, progress=False)
        grown.append(megabytes() - before)
    assert tensors() == alive and sorted(grown)[1] < 0.25, grown  # 6 kB an iteration


# -- machines ---------------------------------------------------------------------------------------

TRAIN = ["--labelnum", "3", "--batch_size", "2", "--labeled_bs", "1", "--patch_size", "16", "16", "8",
         "--n_filters", "1", "--max_iterations", "2", "--val_every", "2"]


def test_spaces_and_letters_beyond_ascii_in_every_path(root, tmp_path, capsys):
    run = tmp_path / SPACES / "Läufe"
    arguments = ["train", "--root_path", str(root), *TRAIN, "--snapshot_path", str(run), "--device", "cpu"]
    assert main(arguments) == 0
    assert main([*arguments[:-2], "--max_iterations", "3", "--resume"]) == 0
    assert main(["evaluate", str(run / "last.pth"), "--root_path", str(root), "--window", "fast",
                 "--csv", str(run / "Maße.csv"), "--device", "cpu"]) == 0
    assert (run / "Maße.csv").read_text(encoding="utf-8").count("\n") == 2
    assert str(run) in capsys.readouterr().out


def test_an_ascii_terminal_is_no_reason_to_fail(root, tmp_path):
    """A bare cluster node, or a console of Windows, that has no letter for what the path says."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1",
                   "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-m", "laseg_lib", "train", "--root_path", str(root), *TRAIN, "--snapshot_path",
               str(tmp_path / SPACES)]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=400)
    assert done.returncode == 0, done.stderr[-1000:]


def test_a_data_folder_that_can_only_be_read(tmp_path):
    root = Path(write_phantoms(tmp_path / "data", train=8, test=1, size=(24, 20, 12), seed=0))
    places = [root.parent, *root.parent.rglob("*")]
    for path in places:
        path.chmod(stat.S_IRUSR | (stat.S_IXUSR if path.is_dir() else 0))
    before = {path: path.stat().st_mtime_ns for path in places}
    try:
        trainer = Trainer(tiny_config(root, val_every=1, snapshot_path=str(tmp_path / "run")))
        trainer.run(1, progress=False)
        # The administrator may write in spite of the modes: so look that nothing was.
        assert {path: path.stat().st_mtime_ns for path in [root.parent, *root.parent.rglob("*")]} == before
    finally:
        for path in places:
            path.chmod(0o755)


@pytest.mark.parametrize("name", ["cuda", "cuda:7"])
def test_a_gpu_that_is_not_there_is_told(root, name, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["train", "--root_path", str(root), *TRAIN, "--device", name]) == 1
    told = capsys.readouterr().err
    assert "--device cuda: PyTorch finds no GPU; use --device cpu" in told and told.count("\n") == 1


@pytest.mark.parametrize("name", ["mps", "meta", "gpu", "", "cuda:x", "xpu"])
def test_a_device_that_is_none_of_ours_is_told(name):
    with pytest.raises(LasegError, match="--device"):
        machine.pick_device(name)


def test_bf16_is_used_only_where_the_hardware_has_it(monkeypatch):
    cpu = torch.device("cpu")
    for has in (False, True):
        monkeypatch.setattr(machine, "has_fast_bf16", lambda device, has=has: has)
        with machine.autocast(cpu, "auto"):
            assert torch.is_autocast_enabled("cpu") == has
    monkeypatch.setattr(machine, "has_fast_bf16", lambda device: False)
    with machine.autocast(cpu, "bf16"):  # slower than float32, but what was asked for
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_one_core_and_either_precision_train(root, precision):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        history = Trainer(tiny_config(root, precision=precision, patch_size=(48, 16, 8), val_every=2)).run(
            2, progress=False)
    finally:
        torch.set_num_threads(before)
    assert all(0 < row["loss"] < 10 for row in history)


def test_a_volume_beyond_the_memory_is_told(tmp_path, monkeypatch):
    label = np.zeros((8, 8, 8), np.uint8)
    label[2, 2, 2] = 1
    write_volume(tmp_path / "x.h5", np.random.default_rng(0).random((8, 8, 8)), label)
    monkeypatch.setattr(machine, "available_memory", lambda device: 1000)
    with pytest.raises(LasegError, match="x.h5.*not enough memory|not enough memory.*x.h5"):
        read_volume(tmp_path / "x.h5")


def test_threads_do_not_spin_for_long_where_others_want_the_processor():
    code = """if True:
        import os, sys
        class Watch:
            def find_spec(self, name, *rest):
                if name == "torch":
                    print(os.environ.get("GOMP_SPINCOUNT"))
        sys.meta_path.insert(0, Watch())
        import laseg_lib
        laseg_lib.VNet"""
    for given, want in ((None, "1000"), ("5", "5")):
        environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
        environment |= {} if given is None else {"GOMP_SPINCOUNT": given}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [want], "read when torch is imported"
