"""Broken volumes: they point to a file that is gone, or were cut off by a full disk."""

import h5py
import numpy as np
import pytest

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


def test_a_volume_must_be_whole_in_itself(case):
    sound, path = case
    with h5py.File(path, "w") as file:
        lost_link(file, sound)
        file["label"] = LABEL
    with pytest.raises(LasegError, match="can.t be read") as error:
        read_volume(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


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


def test_a_full_cache_is_counted_from_sound_volumes_alone(tmp_path, case):
    """Training asks for shapes before it reads anything."""
    with h5py.File(case[1], "w") as file:
        lost_link(file, case[0])
    (tmp_path / "set" / "A").mkdir(parents=True)
    case[1].rename(tmp_path / "set" / "A" / "mri_norm2.h5")
    with pytest.raises(LasegError, match="mri_norm2.h5: can't be read"):
        LAHeart(tmp_path / "set", names=["A"]).cache_bytes()
