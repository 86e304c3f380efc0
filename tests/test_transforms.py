"""Augmentation: symmetries, offsets, padding, copies, noise."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from laseg_lib import CenterCrop, RandomCrop, RandomRotFlip, ToTensor, transforms
from laseg_lib.perturbations import teacher_noise
from laseg_lib.transforms import Compose, RandomAffine, pad_to

KINDS = ["array", "tensor"]


def sample_of(shape, kind="array"):
    """Voxels that tell where they were; the label is the same numbers, so that the two can be compared."""
    image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    label = image.astype(np.int32)
    return {"image": image, "label": label} if kind == "array" else {
        "image": torch.from_numpy(image), "label": torch.from_numpy(label)}


def square_symmetries():
    """The 8 of them on a 2 x 2 square, as tuples; the first 4 are turns, the last 4 mirror images."""
    square = np.arange(4).reshape(2, 2)
    turns = [np.rot90(square, k) for k in range(4)]
    return [tuple(t.ravel()) for t in turns], [tuple(t[::-1].ravel()) for t in turns]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_flip_probability_decides_which_of_the_8_symmetries_come_up(kind, probability):
    turns, mirrored = square_symmetries()
    turn = RandomRotFlip(flip_probability=probability, rng=np.random.default_rng(0))
    counts = {}
    for _ in range(800):
        image = turn(sample_of((2, 2, 1), kind))["image"]
        counts[tuple(int(v) for v in image.ravel())] = counts.get(tuple(int(v) for v in image.ravel()), 0) + 1
    allowed = {0.0: turns, 1.0: mirrored, 0.5: turns + mirrored}[probability]
    assert set(counts) == set(allowed) and len(allowed) == (8 if probability == 0.5 else 4)
    assert min(counts.values()) > 0.6 * 800 / len(allowed)  # and about equally often


def test_the_default_gives_all_8():
    turn = RandomRotFlip(rng=np.random.default_rng(1))
    assert len({tuple(turn(sample_of((2, 2, 1)))["image"].ravel()) for _ in range(200)}) == 8


def test_the_slices_stay_in_order_and_label_goes_with_image():
    for kind in KINDS:
        turn = RandomRotFlip(rng=np.random.default_rng(2))
        for _ in range(20):
            out = turn(sample_of((4, 3, 5), kind))
            image, label = np.asarray(out["image"]), np.asarray(out["label"])
            assert np.array_equal(image, label)
            assert np.array_equal(np.diff(image, axis=2), np.ones_like(image)[..., 1:])
            assert image.shape in ((4, 3, 5), (3, 4, 5))


def offsets(walkthrough_offsets, size=9, patch=4, draws=400):
    crop = RandomCrop((patch, 1, 1), walkthrough_offsets=walkthrough_offsets, rng=np.random.default_rng(0))
    return {int(crop(sample_of((size, 1, 1)))["image"][0, 0, 0]) for _ in range(draws)}


def test_walkthrough_offsets_never_reach_the_last_one():
    assert offsets(walkthrough_offsets=True) == {0, 1, 2, 3, 4}
    assert offsets(walkthrough_offsets=False) == {0, 1, 2, 3, 4, 5}


def test_a_volume_of_the_patchs_size_works_either_way():
    for walkthrough_offsets in (True, False):
        assert offsets(walkthrough_offsets, size=4) == {0}


def walkthrough_draws(sample, size):
    """The walkthrough's turn, mirror and crop, drawing from NumPy's global state."""
    def both(f):
        sample.update(image=f(sample["image"]), label=f(sample["label"]))

    k = np.random.randint(0, 4)
    both(lambda v: np.rot90(v, k))
    axis = np.random.randint(0, 2)
    both(lambda v: np.flip(v, axis))
    corner = [np.random.randint(0, have - want) for have, want in zip(sample["image"].shape, size)]
    both(lambda v: v[tuple(slice(c, c + s) for c, s in zip(corner, size))])
    return sample


def test_the_walkthroughs_patches_number_for_number():
    augment = Compose([RandomRotFlip(flip_probability=1.0), RandomCrop((6, 6, 4), walkthrough_offsets=True)])
    for seed in range(20):
        np.random.seed(seed)
        want = walkthrough_draws(sample_of((11, 9, 8)), (6, 6, 4))
        np.random.seed(seed)
        got = augment(sample_of((11, 9, 8)))
        assert np.array_equal(got["image"], want["image"]) and np.array_equal(got["label"], want["label"])


@pytest.mark.parametrize("shape", [(8, 9, 10), (11, 6, 4), (7, 8, 5)])
def test_center_crop_is_the_walkthroughs(shape):
    size = (6, 6, 4)
    corner = [int(round((have - want) / 2.0)) for have, want in zip(shape, size)]
    want = sample_of(shape)["image"][tuple(slice(c, c + s) for c, s in zip(corner, size))]
    assert np.array_equal(CenterCrop(size)(sample_of(shape))["image"], want)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("crop", [RandomCrop((6, 6, 4)), CenterCrop((6, 6, 4)), RandomCrop(6), RandomCrop([6,
    6, 4], walkthrough_offsets=True)])
def test_a_smaller_volume_is_padded_with_zeros_alike_on_both_sides(kind, crop):
    sample = sample_of((3, 8, 2), kind)
    sample["image"] += 1
    sample["label"] += 1
    out = crop(sample)
    image = np.asarray(out["image"])
    assert image.shape == ((6, 6, 6) if crop.output_size == 6 else (6, 6, 4)) == tuple(out["label"].shape)
    assert (image[0] == 0).all() and (image[1:4, :, image.shape[2] // 2] != 0).all() and (image[4:] == 0).all()
    assert np.array_equal(image, np.asarray(out["label"]))


def test_padding_is_the_same_for_arrays_and_tensors():
    image = sample_of((3, 4, 5))["image"]
    want = np.pad(image, [(1, 1), (0, 0), (1, 2)])
    assert np.array_equal(pad_to(image, (5, 4, 8)), want)
    assert np.array_equal(pad_to(torch.from_numpy(image), (5, 4, 8)).numpy(), want)


@pytest.mark.parametrize("kind", KINDS)
def test_to_tensor_gives_what_the_network_takes(kind):
    out = ToTensor()(RandomRotFlip(flip_probability=1.0)(sample_of((4, 3, 2), kind)))
    assert out["image"].dtype == torch.float32 and out["image"].ndim == 4 and out["image"].shape[0] == 1
    assert out["label"].dtype == torch.int64 and out["label"].shape == out["image"].shape[1:]
    assert out["image"].is_contiguous() and out["label"].is_contiguous()


@pytest.mark.parametrize("kind", KINDS)
def test_a_patch_is_never_a_window_on_the_cached_volume(kind):
    sample = sample_of((4, 3, 2), kind)
    out = ToTensor()(CenterCrop((4, 3, 2))(sample))
    out["image"].zero_()
    out["label"].zero_()
    assert np.asarray(sample["image"]).any() and np.asarray(sample["label"]).any()


def test_arrays_and_tensors_are_augmented_alike():
    results = []
    for kind in KINDS:
        rng = np.random.default_rng(5)
        augment = Compose([RandomRotFlip(rng=rng), RandomCrop((4, 4, 4), rng=rng), ToTensor()])
        results.append([augment(sample_of((6, 5, 3), kind))["image"] for _ in range(12)])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_a_generator_leaves_numpys_state_alone():
    before = np.random.get_state()[1].copy()
    rng = np.random.default_rng(0)
    Compose([RandomRotFlip(rng=rng), RandomCrop((2, 2, 2), rng=rng)])(sample_of((4, 4, 4)))
    assert (np.random.get_state()[1] == before).all()


def test_other_entries_of_a_sample_stay():
    sample = {**sample_of((4, 4, 4)), "case": "a"}
    assert transforms.Compose([RandomRotFlip(), RandomCrop(2), ToTensor()])(sample)["case"] == "a"


def test_teacher_noise_is_the_walkthroughs():
    image = torch.zeros(2, 1, 32, 32, 16)
    torch.manual_seed(3)
    want = torch.clamp(torch.randn_like(image) * 0.1, -0.2, 0.2)
    torch.manual_seed(3)
    noise = teacher_noise(image)
    assert torch.equal(noise, want)
    assert noise.abs().max() == pytest.approx(0.2) and noise.std() == pytest.approx(0.096, abs=0.003)
    assert 0.03 < (noise.abs() == noise.abs().max()).float().mean() < 0.06  # 4.6 % beyond two sigma


def test_teacher_noise_by_a_generator():
    image = torch.zeros(1, 1, 8, 8, 8)
    first, second = (teacher_noise(image, torch.Generator().manual_seed(1)) for _ in range(2))
    state = torch.get_rng_state()
    assert torch.equal(first, second) and not first.equal(teacher_noise(image, torch.Generator().manual_seed(2)))
    assert torch.equal(state, torch.get_rng_state())
    assert teacher_noise(image, sigma=0.5, bound=0.3).abs().max() == pytest.approx(0.3)


def drawn_in_workers(start, epochs):
    """Where the crops of six samples begin, by one seed in two workers: a list an epoch."""
    crop = RandomCrop((8, 8, 8), rng=np.random.default_rng(0))
    loader = DataLoader(Cropped(crop), 1, num_workers=2, multiprocessing_context=start,
                        generator=torch.Generator().manual_seed(0))
    return [[int(corner) for corner in loader] for _ in range(epochs)]


STARTS = torch.multiprocessing.get_all_start_methods()  # the system's own first


def test_a_generator_draws_differently_in_each_worker_and_epoch_and_alike_from_a_seed():
    first, second = drawn_in_workers(STARTS[0], 2)
    assert first[::2] != first[1::2] and first != second
    assert [first, second] == drawn_in_workers(STARTS[0], 2)


@pytest.mark.parametrize("start", STARTS[1:])
def test_however_a_worker_starts_it_draws_the_same(start):
    assert drawn_in_workers(start, 1) == drawn_in_workers(STARTS[0], 1)


@pytest.mark.parametrize("given", [3, np.random.RandomState(3), torch.Generator()], ids=["seed", "legacy", "torch's"])
@pytest.mark.parametrize("transform", [RandomRotFlip, RandomAffine, partial(RandomCrop, 2)])
def test_what_is_no_generator_is_refused_and_not_left_unused(given, transform):
    with pytest.raises(TypeError, match="default_rng"):
        transform(rng=given)


class Cropped:
    """Six times the same volume, cropped; where the crop begins."""

    def __init__(self, crop):
        self.crop = crop

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return self.crop(sample_of((32, 32, 32)))["image"][0, 0, 0]


@pytest.mark.parametrize("transform", [RandomRotFlip(), RandomAffine(probability=1), RandomCrop(4), CenterCrop(4),
                                       ToTensor()])
@pytest.mark.parametrize("image, label", [((3, 8, 8), (8, 8)), ((1, 8, 8, 8), (8, 8, 8)), ((8, 8, 8), (8, 8, 7))])
def test_an_image_and_a_label_of_other_shapes_are_refused(transform, image, label):
    """They would be turned about different axes, silently."""
    with pytest.raises(ValueError, match="differ in shape"):
        transform({"image": np.zeros(image, np.float32), "label": np.zeros(label, np.uint8)})


@pytest.mark.parametrize("transform", [RandomAffine(probability=1), ToTensor()])
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_a_label_of_probabilities_is_refused(transform, convert):
    label = convert(np.full((8, 8, 8), 0.7, np.float32))
    with pytest.raises(ValueError, match="whole numbers"):
        transform({"image": convert(np.zeros((8, 8, 8), np.float32)), "label": label})


@pytest.mark.parametrize("crop", [RandomCrop, CenterCrop])
@pytest.mark.parametrize("size", [0, (16, 0, 16), (16, 16, -1)])
def test_a_crop_without_voxels_is_refused(crop, size):
    with pytest.raises(ValueError, match="each side must be 1 voxel or more"):
        crop(size)
