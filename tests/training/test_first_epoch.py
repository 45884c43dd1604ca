"""The first epoch is served in the order of the signal, whichever way the loader reads the sampler."""

import numpy as np
import pytest
from torch.utils.data import DataLoader

from gainrl.training import PromptDataModule
from tests.training.rig import FollowSignal, fit, module_of, refresh_of, sums, template_of

SIGNAL = np.array([3, 9, 1, 8, 2, 7, 0, 6, 4, 5, 10, 15, 11, 14, 12, 13], np.float64)
BY_SIGNAL = [11, 13, 15, 14, 12, 10, 1, 3]


class OneWorker(PromptDataModule):
    def train_dataloader(self):
        rows = list(range(len(self.problems)))
        return DataLoader(rows, batch_sampler=self.sampler, collate_fn=self.batch, num_workers=1)


def rows_by_step(loader, tmp_path, refresh, *, steps):
    curriculum = FollowSignal()
    module = module_of()
    data = loader(
        splits=sums(),
        template=template_of(module.policy),
        curriculum=curriculum,
        prompts_per_step=4,
        steps_per_epoch=2,
        total_steps=steps,
        group_size=4,
        runtime=module.runtime,
    )
    fit(module, data, [refresh(tmp_path)])
    return curriculum.seen


@pytest.mark.parametrize("loader", [PromptDataModule, OneWorker])
def test_the_first_epoch_follows_the_signal(loader, tmp_path):
    seen = rows_by_step(loader, tmp_path, lambda folder: refresh_of(folder, SIGNAL), steps=2)
    assert seen == [BY_SIGNAL[:4], BY_SIGNAL[4:]]


def test_an_epoch_follows_the_signal_measured_at_the_end_of_the_one_before(tmp_path):
    def refresh(folder):
        return refresh_of(folder, SIGNAL, -SIGNAL, every_epochs=1)

    seen = rows_by_step(PromptDataModule, tmp_path, refresh, steps=4)
    assert seen == [BY_SIGNAL[:4], BY_SIGNAL[4:], [6, 2, 4, 0], [8, 9, 7, 5]]
