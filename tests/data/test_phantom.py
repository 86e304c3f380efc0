import json

import h5py
import nrrd
import numpy as np
import pytest
from scipy import ndimage

from laseg_lib.data.phantom import DEFAULTS, FIELD_MM, Patient, make_phantom, write_phantoms
from laseg_lib.data.shapes import column, ellipsoid, smooth_union, tube, waves
from laseg_lib.data.volumes import LAHeart, find_root, read_list, read_volume
from laseg_lib.errors import LasegError

SMALL = (32, 24, 16)


@pytest.fixture(scope="module")
def thirty():
    return [make_phantom(seed, (48, 32, 16)) for seed in range(30)]


def test_same_seed_same_phantom():
    for a, b in zip(make_phantom(5, SMALL), make_phantom(5, SMALL)):
        np.testing.assert_array_equal(a, b)


def test_another_seed_another_patient():
    (image, label), (other_image, other_label) = make_phantom(5, SMALL), make_phantom(6, SMALL)
    assert (label != other_label).mean() > 0.01
    assert np.corrcoef(image.ravel(), other_image.ravel())[0, 1] < 0.95


def test_default_shape_and_types():
    image, label = make_phantom(0)
    assert image.shape == label.shape == (64, 48, 32)
    assert image.dtype == np.float32 and label.dtype == np.uint8
    assert np.unique(label).tolist() == [0, 1]
    assert len(np.unique(image)) < 256    # as the real ones


def test_normalised(thirty):
    for image, _ in thirty:
        assert abs(image.mean()) < 1e-4 and abs(image.std() - 1) < 1e-3


def test_foreground_like_real(thirty):
    share = [label.mean() for _, label in thirty]
    assert 0.07 < np.mean(share) < 0.095    # the 80 real training volumes: 0.084 on average
    assert 0.045 < min(share) and max(share) < 0.13


def test_atrium_is_in_one_piece(thirty):
    assert all(ndimage.label(label)[1] == 1 for _, label in thirty)


@pytest.mark.parametrize("seed", [51, 62, 74])
def test_coarse_atrium_is_in_one_piece(seed):
    """These three fall apart in coarse voxels if nothing puts that right."""
    assert ndimage.label(make_phantom(seed, SMALL)[1])[1] == 1


def test_orientation(thirty):
    """As in the public files: left veins and appendage lie high, the right veins on the low side of x."""
    mean = np.mean([label for _, label in thirty], axis=0)
    x, y, z = (np.arange(n) / n for n in mean.shape)
    top = mean[:, :, z > 0.75].sum((1, 2))
    assert top[x > 0.7].sum() > 0.6 * top[(x > 0.5) & (x <= 0.7)].sum()    # left superior vein, appendage
    assert mean[x < 0.2].sum() > 0 and mean[:, y < 0.15].sum() < 0.01 * mean.sum()
    brightness = np.mean([image for image, _ in thirty], axis=0)
    assert brightness[(x > 0.52) & (x < 0.68)][:, (y > 0.76) & (y < 0.86)].mean() > 0.5    # descending aorta
    assert brightness[x < 0.25][:, (y > 0.8)][:, :, z > 0.6].mean() < -0.5    # right lung


def test_atrium_as_bright_as_its_neighbours(thirty):
    """Otherwise a threshold would segment it: bright voxels must mostly be something else."""
    for image, label in thirty[:10]:
        bright = image > np.median(image[label == 1]) - 0.3
        assert label[bright].mean() < 0.5
        assert image[label == 1].mean() > image[label == 0].mean() + 0.3


def test_size_changes_detail_not_anatomy():
    _, coarse = make_phantom(3, (32, 24, 16))
    _, fine = make_phantom(3, (64, 48, 32))
    shrunk = fine.reshape(32, 2, 24, 2, 16, 2).mean((1, 3, 5)) >= 0.5
    assert 2 * (shrunk & (coarse > 0)).sum() / (shrunk.sum() + coarse.sum()) > 0.95


def test_variability_zero_is_the_average_patient():
    labels = [make_phantom(seed, SMALL, variability=0)[1] for seed in (1, 2)]
    differ = [(labels[0] != label).mean() for label in (labels[1], make_phantom(2, SMALL, variability=1)[1])]
    assert differ[0] < 0.25 * differ[1]    # only which vein is missing may differ


def test_variability_leaves_the_scanner_alone_and_grows():
    average = make_phantom(7, SMALL, variability=0)[1]
    half, double = ((make_phantom(7, SMALL, variability=v)[1] != average).mean() for v in (0.5, 2))
    assert half < double


def _separation(**options):
    """How many standard deviations of its noise the atrium stands above its surroundings, on average."""
    values = []
    for seed in range(5):
        image, label = make_phantom(seed, SMALL, **options)
        inside, outside = image[label == 1], image[label == 0]
        values.append((inside.mean() - outside.mean()) / inside.std())
    return np.mean(values)


def test_contrast_and_noise():
    usual = _separation()
    assert _separation(contrast=0.5) < usual
    assert _separation(noise=2.0) < usual < _separation(noise=0.2)
    assert abs(_separation(contrast=0)) < 0.2 * usual


def test_scanner_spreads_brightness():
    def spread(scanner):
        means = []
        for seed in range(8):
            image, label = make_phantom(seed, SMALL, variability=0, noise=0, scanner=scanner)
            means.append(image[label == 1].mean())
        return np.std(means)
    assert spread(0) < 0.8 * spread(1) < 0.7 * spread(2)    # at 0 some is left: shading and texture have a seed


def test_about_is_bounded():
    draws = Patient(0).about(np.full(5000, 10.0), 3)
    assert draws.dtype == np.float32 and 4 <= draws.min() < 4.1 and 15.9 < draws.max() <= 16


# --- shapes ---------------------------------------------------------------------------------------

GRID = np.stack(np.meshgrid(*[np.arange(-8, 9, dtype=np.float32)] * 3, indexing="ij"))


def test_sphere_is_an_exact_distance():
    expected = np.sqrt(((GRID - column((1, 2, 3))) ** 2).sum(0)) - 4
    np.testing.assert_allclose(ellipsoid(GRID, (1, 2, 3), (4, 4, 4)), expected, atol=1e-4)


def test_ellipsoid_surface_and_sign():
    d = ellipsoid(GRID, (0, 0, 0), (3, 4, 6))
    inside = (GRID[0] / 3) ** 2 + (GRID[1] / 4) ** 2 + (GRID[2] / 6) ** 2
    clear = np.abs(inside - 1) > 1e-3
    assert ((d < 0) == (inside < 1))[clear].all()
    assert d[8, 8, 8] == pytest.approx(-3, abs=1e-3) and d[8 + 3, 8, 8] == pytest.approx(0, abs=1e-5)


def test_tube_widens_and_is_round_at_its_ends():
    d = tube(GRID, [(-4, 0, 0), (4, 0, 0)], [1, 3])
    at = lambda x, y, z: d[x + 8, y + 8, z + 8]    # noqa: E731
    assert at(0, 2, 0) == pytest.approx(0) and at(4, 3, 0) == pytest.approx(0) and at(7, 0, 0) == pytest.approx(0)
    assert d.dtype == np.float32


def test_join_fills_the_crease_only():
    a, b = ellipsoid(GRID, (-4, 0, 0), (4, 4, 4)), ellipsoid(GRID, (4, 0, 0), (4, 4, 4))
    both = smooth_union(a, b, 3)
    assert (both <= np.minimum(a, b)).all() and both[8, 8, 8] < -0.5 and both[0, 8, 8] == a[0, 8, 8]


def test_waves_do_not_depend_on_the_grid():
    coarse, fine = np.linspace(-50, 50, 11, dtype=np.float32), np.linspace(-50, 50, 21, dtype=np.float32)
    a = waves(np.random.default_rng(1), [coarse] * 3, 20)
    b = waves(np.random.default_rng(1), [fine] * 3, 20)
    np.testing.assert_allclose(a, b[::2, ::2, ::2], atol=1e-4)
    assert 0.8 < b.std() < 1.2


# --- files ----------------------------------------------------------------------------------------

def test_files_as_the_public_data_lie(tmp_path):
    root = write_phantoms(tmp_path, train=3, test=2, size=SMALL, seed=4)
    assert root == tmp_path / "phantoms" == find_root(tmp_path)
    assert read_list(tmp_path / "train.list") == ["PHANTOM_0000", "PHANTOM_0001", "PHANTOM_0002"]
    assert read_list(tmp_path / "test.list") == ["PHANTOM_0003", "PHANTOM_0004"]
    assert len(LAHeart(root, "train")) == 3
    for wrote, made in zip(read_volume(root / "PHANTOM_0003/mri_norm2.h5"), make_phantom(40_003, SMALL)):
        np.testing.assert_array_equal(wrote, made)
    assert not list(tmp_path.rglob("*.partial"))


def test_options_reach_the_phantoms(tmp_path):
    root = write_phantoms(tmp_path, 1, 1, SMALL, noise=0.1)
    np.testing.assert_array_equal(read_volume(root / "PHANTOM_0000/mri_norm2.h5")[0],
                                  make_phantom(0, SMALL, noise=0.1)[0])
    with pytest.raises(TypeError, match="wobble"):
        write_phantoms(tmp_path / "other", 1, 1, SMALL, wobble=1)
    assert not (tmp_path / "other").exists()


def test_goes_on_where_it_was_and_mends_what_is_damaged(tmp_path):
    root = write_phantoms(tmp_path, 2, 1, SMALL)
    kept, cut, gone = (root / f"PHANTOM_000{k}" / "mri_norm2.h5" for k in range(3))
    before = kept.stat().st_mtime_ns
    cut.write_bytes(cut.read_bytes()[:1000])
    gone.unlink()
    (tmp_path / "test.list").unlink()
    write_phantoms(tmp_path, 2, 1, SMALL)
    assert kept.stat().st_mtime_ns == before
    assert read_volume(cut)[0].shape == read_volume(gone)[0].shape == SMALL
    assert read_list(tmp_path / "test.list") == ["PHANTOM_0002"]


def test_a_run_that_is_cut_off_leaves_no_list(tmp_path, monkeypatch):
    def cut(seed, *args, **kwargs):
        if seed == 2:
            raise KeyboardInterrupt
        return make_phantom(seed, *args, **kwargs)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("laseg_lib.data.phantom.make_phantom", cut)
        write_phantoms(tmp_path, 2, 1, SMALL)
    assert not list(tmp_path.glob("*.list"))
    assert len(LAHeart(write_phantoms(tmp_path, 2, 1, SMALL), "test")) == 1


@pytest.mark.parametrize("other", [{"seed": 1}, {"size": (24, 24, 16)}, {"train": 3}, {"raw": True}, {"noise": 2.0}])
def test_other_settings_in_the_same_folder(tmp_path, other):
    settings = {"train": 2, "test": 1, "size": SMALL, "seed": 0}
    write_phantoms(tmp_path, **settings)
    with pytest.raises(LasegError, match=f"{next(iter(other))}.*choose another folder"):
        write_phantoms(tmp_path, **{**settings, **other})
    write_phantoms(tmp_path, **settings, **DEFAULTS)    # a default spelt out is the same setting


def test_unreadable_settings(tmp_path):
    root = write_phantoms(tmp_path, 1, 1, SMALL)
    for text in ("{", "[]", "3"):
        (root / "settings.json").write_text(text)
        with pytest.raises(LasegError, match="settings.json.*delete"):
            write_phantoms(tmp_path, 1, 1, SMALL)


@pytest.mark.parametrize("numbers", [{"train": 0}, {"test": 0}, {"seed": -1}, {"size": (32, 24)},
                                     {"size": (32, 24, 4)}, {"train": 10_000}])
def test_numbers_that_can_not_work(tmp_path, numbers):
    with pytest.raises(LasegError, match="give"):
        write_phantoms(tmp_path, **{"train": 1, "test": 1, "size": SMALL, **numbers})
    assert not list(tmp_path.iterdir())


def test_raw_pairs(tmp_path):
    root = write_phantoms(tmp_path, 1, 1, SMALL, raw=True)
    image, header = nrrd.read(str(root / "PHANTOM_0000/lgemri.nrrd"))
    label, _ = nrrd.read(str(root / "PHANTOM_0000/laendo.nrrd"))
    assert image.shape == label.shape == (96, 66, 16)
    assert image.dtype == label.dtype == np.uint8 and np.unique(label).tolist() == [0, 255]
    np.testing.assert_allclose(np.diag(header["space directions"]), np.divide(FIELD_MM, SMALL))
    where = np.argwhere(label)
    assert (where.min(0)[:2] > 10).all() and (np.array(label.shape) - where.max(0))[:2].min() > 10
    assert not (root / "PHANTOM_0000/mri_norm2.h5").exists()


def test_raw_is_the_same_patient(tmp_path):
    root = write_phantoms(tmp_path, 1, 1, SMALL, raw=True)
    raw = nrrd.read(str(root / "PHANTOM_0000/laendo.nrrd"))[0][32:64, 21:45] > 0
    label = make_phantom(0, SMALL)[1] > 0
    assert 2 * (raw & label).sum() / (raw.sum() + label.sum()) > 0.98


def test_settings_say_how_they_were_made(tmp_path):
    root = write_phantoms(tmp_path, 1, 1, SMALL, seed=9)
    settings = json.loads((root / "settings.json").read_text())
    assert settings["seed"] == 9 and settings["size"] == list(SMALL) and settings["variability"] == 1.0


def test_image_in_file_is_float32(tmp_path):
    root = write_phantoms(tmp_path, 1, 1, SMALL)
    with h5py.File(root / "PHANTOM_0000/mri_norm2.h5") as file:
        assert file["image"].dtype == np.float32 and file["label"].dtype == np.uint8


@pytest.mark.parametrize(("size", "words"), [
    ((5000, 5000, 5000), "not enough memory: a phantom of 5000 x 5000 x 5000"),
    ((10**400, 8, 8), "give three sizes of 8 to 10000"),
    ((64, 48, 4), "give three sizes of 8 to 10000")])
@pytest.mark.parametrize("raw", [False, True])
def test_a_phantom_that_no_machine_can_hold_is_told(size, words, raw, tmp_path):
    with pytest.raises(LasegError, match=words):
        write_phantoms(tmp_path / "data", 1, 1, size, raw=raw)
    assert not (tmp_path / "data").exists()
