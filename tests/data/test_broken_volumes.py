"""Broken volumes: they hold nothing, point to a file that is gone, or were cut off by a full disk."""

import os

import h5py
import numpy as np
import pytest

from laseg_lib.data import atomic
from laseg_lib.data.volumes import LAHeart, read_volume, write_volume
from laseg_lib.errors import LasegError

IMAGE = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
LABEL = (IMAGE > 1).astype(np.uint8)


@pytest.fixture
def case(tmp_path):
    """(path of a sound volume, path of a volume to spoil)."""
    write_volume(tmp_path / "sound.h5", IMAGE, LABEL)
    return tmp_path / "sound.h5", tmp_path / "mri_norm2.h5"


def lost_link(file, sound):
    file["image"] = h5py.ExternalLink("gone.h5", "image")


def null(file, sound):
    file["image"] = h5py.Empty("f4")


def group(file, sound):
    file.create_group("image")


@pytest.mark.parametrize("make, told", [
    (lost_link, "holds no image"), (null, "holds no voxels"), (group, "holds no voxels")],
    ids=["lost link", "null", "group"])
def test_a_volume_must_be_whole_in_itself(case, make, told):
    sound, path = case
    with h5py.File(path, "w") as file:
        make(file, sound)
        file["label"] = LABEL
    with pytest.raises(LasegError, match=told) as error:
        read_volume(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes")
def test_a_pipe_in_place_of_a_volume_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "mri_norm2.h5")
    with pytest.raises(LasegError, match="no such file"):
        read_volume(tmp_path / "mri_norm2.h5")
    (tmp_path / "set").mkdir()
    os.mkfifo(tmp_path / "set" / "settings.json")
    with pytest.raises(LasegError, match="is no file"):
        atomic.require_same_settings(tmp_path / "set", {"seed": 0})


def test_a_full_disk_leaves_no_part_of_a_volume(tmp_path, monkeypatch):
    """HDF5 writes to memory; the disk sees one file, whole or not at all."""
    def full(self, data):
        with open(self, "wb") as file:
            file.write(bytes(data)[:10])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_volume(tmp_path / "case" / "mri_norm2.h5", IMAGE, LABEL)
    assert list((tmp_path / "case").iterdir()) == []


@pytest.mark.parametrize("make", [null, lost_link], ids=["null", "lost link"])
def test_a_full_cache_is_counted_from_sound_volumes_alone(tmp_path, case, make):
    """Training asks for shapes before it reads anything."""
    with h5py.File(case[1], "w") as file:
        make(file, case[0])
    (tmp_path / "set" / "A").mkdir(parents=True)
    case[1].rename(tmp_path / "set" / "A" / "mri_norm2.h5")
    with pytest.raises(LasegError, match="holds no voxels|holds no image"):
        LAHeart(tmp_path / "set", names=["A"]).cache_bytes()
