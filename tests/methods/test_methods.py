"""The methods against what can be computed by hand, and the trainer that takes any of them."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from laseg_lib.config import METHODS, STRONG_RECIPE, TrainConfig
from laseg_lib.data.volumes import FILE, case_names, read_geometry, read_patients, read_volume, write_volume
from laseg_lib.errors import LasegError
from laseg_lib.inference import largest_component, predict_volume
from laseg_lib.losses import segmentation_loss
from laseg_lib.methods import copy_paste, cross_teaching, find, method_name, self_training, uncertainty
from laseg_lib.runtime.checkpoints import load_checkpoint
from laseg_lib.training import Trainer
from laseg_lib.vnet import VNet

SIZE = (16, 16, 8)


class Voxelwise(nn.Module):
    """A network whose answer for a voxel depends on that voxel alone: pasting must change nothing for it."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(float(slope)))

    def forward(self, x):
        return torch.cat([-self.slope * x, self.slope * x], dim=1)


def config_of(**settings):
    return TrainConfig(**{**STRONG_RECIPE, "intensity": 0.0, "noise_on": "none", "student_affine": 0.0, "model": "MT",
                          "labelnum": 2, "patch_size": (32, 32, 16), "consistency_rampup": 0, **settings})


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(4, 1, *SIZE), torch.randint(2, (4, *SIZE))


def test_a_mask_by_hand():
    """Two voxels, of which the first counts: ((.8 - .5)^2 + (.2 - .5)^2) / 2."""
    p, target = torch.tensor([[[0.8, 0.1], [0.2, 0.9]]]), torch.tensor([[[0.5, 0.9], [0.5, 0.1]]])
    assert uncertainty.masked_mse(p, target, torch.tensor([[True, False]])).item() == pytest.approx(0.09)
    assert uncertainty.masked_mse(p, target, torch.tensor([[False, False]])).item() == 0
    assert uncertainty.entropy(torch.tensor([[[0.5], [0.5]]])).item() == pytest.approx(0.6931, abs=1e-4)
    assert uncertainty.entropy(torch.tensor([[[1.0], [0.0]]])).item() == pytest.approx(0, abs=1e-4)


def test_the_threshold_ends_at_the_most_that_entropy_can_be():
    config = config_of(consistency_rampup=10.0, ramp_every=1)
    assert uncertainty.threshold(config, 10) == pytest.approx(0.6931, abs=1e-4)
    assert uncertainty.threshold(config, 0) == pytest.approx(0.6931 * (0.75 + 0.25 * 0.0067), abs=1e-4)


def test_where_the_teacher_is_sure_the_mask_changes_nothing(batch):
    """Answers near 0 and 1 everywhere: the distance is the plain mean of the squared differences."""
    image, label = batch
    student, teacher = Voxelwise(1.0), Voxelwise(1.0)
    image = image.sign()  # sigmoid(2) = .88: an entropy of .37, below the threshold
    teacher.slope.data += 0.5
    parts = uncertainty.uncertainty_loss(student, teacher, image, label, config_of(consistency=2.0), 0)[1]
    one, other = student(image[2:]).softmax(1), teacher(image[2:]).softmax(1)
    assert parts["consistency_dist"].item() == pytest.approx(F.mse_loss(one, other).item(), rel=1e-4)
    unsure = uncertainty.uncertainty_loss(student, Voxelwise(0.05), image, label,
                                          config_of(consistency_rampup=10.0), 0)[1]
    assert unsure["consistency_dist"] == 0  # .69 of at most .6931 everywhere


def test_boxes_have_two_thirds_of_each_side_and_a_second_swap_undoes_the_first(batch):
    boxes = copy_paste.random_boxes(50, (12, 9, 6), torch.Generator().manual_seed(0), "cpu")
    assert boxes.shape == (50, 1, 12, 9, 6) and (boxes.sum((1, 2, 3, 4)) == 8 * 6 * 4).all()
    assert boxes[:, 0, 0].any() and boxes[:, 0, -1].any() and boxes[..., 0].any() and boxes[..., -1].any()
    boxes = copy_paste.random_boxes(2, SIZE, None, "cpu")
    mixed = copy_paste.swap(batch[0], boxes)
    assert torch.equal(mixed[0][boxes[0]], batch[0][2][boxes[0]]) and not torch.equal(mixed, batch[0])
    assert torch.equal(copy_paste.swap(mixed, boxes), batch[0])


def test_logits_are_sorted_back_to_the_volumes_they_come_from(batch):
    """For a network that looks at one voxel at a time the loss is that of volumes which nobody mixed."""
    image, label = batch
    student, teacher = Voxelwise(1.0), Voxelwise(2.0)
    loss, parts = copy_paste.copy_paste_loss(student, teacher, image, label, config_of(consistency=0.5), 0)
    pseudo = copy_paste.pseudo_labels(teacher(image[2:]))
    logits = student(image)
    wanted = segmentation_loss(logits[:2], label[:2])[0] + 0.5 * segmentation_loss(logits[2:], pseudo)[0]
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_the_largest_component_of_the_teachers_answer_is_kept():
    logits = torch.zeros(1, 2, 8, 8, 8)
    logits[0, 0] += 1
    logits[0, 1, 1:4, 1:4, 1:4] = logits[0, 1, 6, 6, 6] = 2
    assert copy_paste.pseudo_labels(logits).sum() == 27


def test_copy_paste_needs_pairs(batch):
    with pytest.raises(LasegError, match="--batch_size"):
        copy_paste.copy_paste_loss(Voxelwise(1), Voxelwise(1), batch[0][:3], batch[1][:3], config_of(), 0)


def test_each_network_learns_from_the_others_answer(batch):
    image, label = batch
    student = Voxelwise(1.0)
    method = cross_teaching.CrossTeaching(config_of(n_filters=4))
    method.second = Voxelwise(-0.5)  # it says the contrary everywhere
    loss, parts = method(student, None, image, label, config_of(consistency=1.5), 0)
    one, two = student(image), method.second(image)
    distance = (segmentation_loss(one[2:], (image[2:, 0] < 0).long())[0]
                + segmentation_loss(two[2:], (image[2:, 0] > 0).long())[0])
    supervised = segmentation_loss(one[:2], label[:2])[0] + segmentation_loss(two[:2], label[:2])[0]
    assert parts["consistency_dist"].item() == pytest.approx(distance.item(), rel=1e-5)
    assert loss.item() == pytest.approx((supervised + 1.5 * distance).item(), rel=1e-5)
    loss.backward()
    assert student.slope.grad is not None and method.second.slope.grad is not None


@pytest.mark.parametrize("name", METHODS)
def test_with_weight_0_each_is_labels_only(name, batch):
    """With InstanceNorm, which takes no statistics from company: gradients of the supervised loss alone."""
    torch.manual_seed(1)
    image, label = torch.randn(4, 1, 32, 32, 16), torch.randint(2, (4, 32, 32, 16))
    student = VNet(1, 2, 4, "instancenorm")
    teacher = VNet(1, 2, 4, "instancenorm")

    def gradients(method, config, seen):
        student.zero_grad()
        method(student, teacher, image[:seen], label[:seen], config, 0)[0].backward()
        return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])

    config = config_of(consistency=0.0, method=name, n_filters=4)
    method = find(config)
    ours = gradients(method(config) if isinstance(method, type) else method, config, 4)
    alone = config_of(model="supervised", n_filters=4)
    assert torch.allclose(ours, gradients(find(alone), alone, 2), rtol=1e-3, atol=1e-6)


def test_names():
    assert method_name(copy_paste.copy_paste_loss) == "copy_paste"
    assert method_name(cross_teaching.CrossTeaching) == "cross_teaching"
    assert method_name(cross_teaching.CrossTeaching(config_of(n_filters=4))) == "cross_teaching"
    assert method_name(my_method) == "my_method" and method_name(Own) == "Own"
    assert method_name(find(config_of())) == "mean_teacher"
    with pytest.raises(LasegError, match="function"):
        method_name("copy_paste")
    with pytest.raises(LasegError, match="Trainer.config, method="):
        find(config_of(method="mine"))
    with pytest.raises(LasegError, match="--model MT"):
        find(TrainConfig(method="copy_paste", model="supervised"))


def my_method(student, teacher, image, label, config, iteration, generator):
    """A reader's: agree on the mean of the image's two halves; draws from the generator, as it must."""
    n = config.labelled_in_batch
    noise = torch.empty_like(image[n:]).normal_(generator=generator)
    logits = student(torch.cat([image[:n], image[n:] + 0.1 * noise])).float()
    with torch.no_grad():
        target = teacher(image[n:]).float().softmax(1)
    loss = segmentation_loss(logits[:n], label[:n])[0] + F.mse_loss(logits[n:].softmax(1), target)
    return loss, {}


class Own(nn.Module):
    """A method with a parameter and an average of its own."""

    def __init__(self, config, n_classes):
        super().__init__()
        self.scale, self.average = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, student, teacher, image, label, config, iteration, generator=None):
        n = config.labelled_in_batch
        logits = student(image[:n]).float()
        return segmentation_loss(self.scale * logits, label[:n])[0], {"something": self.scale.detach()}

    def after_step(self, config, iteration):
        self.average.data.lerp_(self.scale.data, 0.5)


def small(phantom_root, **settings):
    return TrainConfig(**{"root_path": str(phantom_root), "patch_size": (32, 32, 16), "n_filters": 4, "labelnum": 4,
                          "max_iterations": 6, "val_num": 0, "precision": "fp32", "save_every": 3, **settings})


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("method", [None, "uncertainty", "copy_paste", "cross_teaching", my_method, Own],
                         ids=["mean_teacher", "uncertainty", "copy_paste", "cross_teaching", "function", "module"])
def test_any_method_is_resumed_bit_for_bit(method, phantom_root, tmp_path):
    named = {"method": method} if isinstance(method, str) else {}
    given = {} if isinstance(method, str) or method is None else {"method": method}
    whole = Trainer(small(phantom_root, **named), **given)
    whole.run(progress=False)
    first = Trainer(small(phantom_root, snapshot_path=str(tmp_path / "run"), **named), **given)
    first.run(3, progress=False)
    first.log.close()
    second = Trainer(small(phantom_root, snapshot_path=str(tmp_path / "run"), **named), **given, resume=True)
    assert second.iteration == 3
    second.run(progress=False)
    assert same(whole.student.state_dict(), second.student.state_dict())
    assert same(whole.teacher.state_dict(), second.teacher.state_dict())
    assert all(same(one.state_dict(), other.state_dict())
               for one, other in zip(whole.own_networks, second.own_networks, strict=True))
    if method is Own:
        assert 0 < whole.method.average.item() != whole.method.scale.item() != 1
        assert whole.history[-1]["something"] != 1
    assert load_checkpoint(tmp_path / "run/last.pth")["config"]["method"] == whole.config.method


def test_a_checkpoint_of_another_method_is_refused(phantom_root, tmp_path):
    run = str(tmp_path / "run")
    first = Trainer(small(phantom_root, snapshot_path=run), method=my_method)
    first.run(3, progress=False)
    first.log.close()
    with pytest.raises(LasegError, match="--method my_method"):
        Trainer(small(phantom_root, snapshot_path=run, method="copy_paste"), resume=True)


def test_a_teacher_labels_what_has_no_label(phantom_root, tmp_path):
    names = case_names(phantom_root, "train")[:4]
    trainer = Trainer(TrainConfig(root_path=str(phantom_root), labelnum=2, max_samples=4, val_num=0, n_filters=2,
                                  patch_size=(16, 16, 8), max_iterations=2, device="cpu", precision="fp32",
                                  batch_size=2, labeled_bs=1, snapshot_path=str(tmp_path / "run")))
    trainer.run(progress=False)
    bare = tmp_path / "bare"
    for name in names:
        image, label = read_volume(phantom_root / name / FILE)
        write_volume(bare / name / FILE, image, label if name in names[:2] else None, spacing=(1, 2, 3),
                     centre=(4, 5, 6))
    (tmp_path / "patients.list").write_text("".join(f"{name}\tone\n" for name in names))
    quality = self_training.label_by_teacher(tmp_path / "run/last.pth", bare, names, 2, tmp_path / "new",
                                             patch_size=(16, 16, 8))
    assert math.isnan(quality) and case_names(tmp_path / "new/cases", "train") == names
    for i, name in enumerate(names):
        mine, label = read_volume(tmp_path / "new/cases" / name / FILE)
        image, true = read_volume(phantom_root / name / FILE)
        found = largest_component(predict_volume(trainer.teacher.eval(), image, (16, 16, 8))[0])
        assert (mine == image).all() and (label == (true if i < 2 else found)).all()
        geometry = read_geometry(tmp_path / "new/cases" / name / FILE)
        assert (geometry["spacing"] == (1, 2, 3)).all() and (geometry["centre"] == (4, 5, 6)).all()
    assert set(read_patients(tmp_path / "new/cases").values()) == {"one"}
    again = self_training.label_by_teacher(tmp_path / "run/last.pth", phantom_root, names, 2, tmp_path / "again",
                                           patch_size=(16, 16, 8))
    assert 0 <= again <= 1
    with pytest.raises(LasegError, match="again: the given labels would be lost; give another folder"):
        self_training.label_by_teacher(tmp_path / "run/last.pth", tmp_path / "again/cases", names, 2,
                                       tmp_path / "again", patch_size=(16, 16, 8))


OWN = """
from laseg_lib.losses import segmentation_loss
def louder(student, teacher, image, label, config, iteration, generator):
    n = config.labelled_in_batch
    return 2 * segmentation_loss(student(image)[:n], label[:n])[0], {}
"""


def test_a_method_of_the_readers_is_found_in_a_file(phantom_root, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    settings = dict(root_path=str(phantom_root), labelnum=2, max_samples=4, val_num=0, n_filters=2, device="cpu",
                    patch_size=(16, 16, 8), max_iterations=3, precision="fp32", batch_size=2, labeled_bs=1,
                    snapshot_path=str(tmp_path / "run"), method=f"{tmp_path / 'mine.py'}:louder")
    config = TrainConfig(**settings)
    Trainer(config).run(2, progress=False)
    trainer = Trainer(config, resume=True)
    assert trainer.iteration == 2 and trainer.method.__name__ == "louder"
    for wrong, told in (("gone.py:louder", "gone.py"), (f"{tmp_path / 'mine.py'}:softer", "mine.py defines no")):
        with pytest.raises(LasegError, match=told):
            find(config_of(method=wrong))


def trainer_of(root, method, **settings):
    return Trainer(TrainConfig(root_path=str(root), labelnum=2, max_samples=4, val_num=0, n_filters=1, device="cpu",
                               patch_size=(16, 16, 8), precision="fp32", **settings), method=method)


def on_labels(student, teacher, image, label, config, iteration, generator):
    n = config.labelled_in_batch
    return segmentation_loss(student(image)[:n], label[:n])[0], {"mine": float(iteration)}


class Holds:
    """A method around a network that is no part of it."""

    def __init__(self):
        self.network = nn.Conv3d(1, 2, 1)

    def __call__(self, *args):
        return on_labels(*args)


class Grows(nn.ModuleList):
    """An empty one is false, and its layer is made too late."""

    def forward(self, student, teacher, image, label, config, iteration, generator):
        if not len(self):
            self.append(nn.Conv3d(2, 2, 1))
        n = config.labelled_in_batch
        return segmentation_loss(self[0](student(image))[:n], label[:n])[0], {}


@pytest.mark.parametrize("method, words", [
    (Holds(), "around an nn.Module, whose parameters would be neither trained nor saved"),
    (functools.partial(nn.Conv3d(1, 2, 1), 1), "around an nn.Module"),
    (nn.Conv3d(1, 2, 1).forward, "around an nn.Module"),
    (Grows(), "the parameter 0.weight would not be trained.*make all layers first"),
    (lambda *args: (on_labels(*args)[0].detach(), {}), "a loss without a gradient, so nothing would be trained")])
def test_what_would_not_be_trained_is_told(method, words, phantom_root):
    with pytest.raises(LasegError, match=words):
        trainer_of(phantom_root, method).run(2, progress=False)


def test_a_network_put_into_the_trainer_is_told(phantom_root):
    trainer = trainer_of(phantom_root, on_labels)
    trainer.student, trainer.teacher = (VNet(1, 2, 1) for _ in range(2))
    with pytest.raises(LasegError, match="would not be trained, because it was made, put there"):
        trainer.step()


def test_the_parts_of_a_method_are_written_and_read_again(phantom_root, tmp_path):
    settings = {"snapshot_path": str(tmp_path / "run"), "max_iterations": 4}
    first = trainer_of(phantom_root, on_labels, **settings)
    first.run(2, progress=False)
    history = Trainer(first.config, method=on_labels, resume=True).run(progress=False)
    assert [row["mine"] for row in history] == [0, 1, 2, 3]
    assert "mine" in (tmp_path / "run/history.csv").read_text().splitlines()[0].split(",")
    curves = EventAccumulator(str(tmp_path / "run/log")).Reload()
    assert [event.value for event in curves.Scalars("train/mine")] == [0, 1, 2, 3]


def test_a_part_that_comes_later_is_told_once(phantom_root, tmp_path, capsys):
    def late(*args):
        loss, parts = on_labels(*args)
        return loss, parts if args[-2] == 0 else {**parts, "new": 1.0}

    trainer_of(phantom_root, late, snapshot_path=str(tmp_path / "run"), max_iterations=4).run(progress=False)
    assert capsys.readouterr().err.count("was begun without new of the method's parts") == 1


class Fixed:
    """A method with a module that has nothing to train."""

    def __init__(self):
        self.loss, self.features = nn.CrossEntropyLoss(), nn.Conv3d(1, 2, 1).requires_grad_(False)

    def __call__(self, *args):
        return on_labels(*args)


def test_modules_with_nothing_to_train_may_stand_in_a_method(phantom_root):
    trainer_of(phantom_root, Fixed()).run(1, progress=False)


def test_a_training_with_a_schedule_of_its_own_goes_on(phantom_root, tmp_path):
    settings = {"snapshot_path": str(tmp_path / "run"), "max_iterations": 3}
    trainer = trainer_of(phantom_root, on_labels, **settings)
    torch.optim.lr_scheduler.StepLR(trainer.optimizer, 1)
    trainer.run(2, progress=False)
    assert len(Trainer(trainer.config, method=on_labels, resume=True).run(progress=False)) == 3


def test_a_checkpoint_before_the_first_step_goes_on(phantom_root, tmp_path, capsys):
    trainer = trainer_of(phantom_root, on_labels, snapshot_path=str(tmp_path / "run"), max_iterations=2)
    trainer.save()
    assert len(Trainer(trainer.config, method=on_labels, resume=True).run(progress=False)) == 2
    assert "was edited" not in capsys.readouterr().err


def test_a_training_that_another_optimiser_began_is_told(phantom_root, tmp_path):
    settings = {"snapshot_path": str(tmp_path / "run"), "max_iterations": 4}
    trainer = trainer_of(phantom_root, on_labels, **settings)
    trainer.optimizer = torch.optim.AdamW(trainer.student.parameters())
    trainer.run(2, progress=False)
    with pytest.raises(LasegError, match="made with another optimiser than SGD"):
        Trainer(trainer.config, method=on_labels, resume=True)
