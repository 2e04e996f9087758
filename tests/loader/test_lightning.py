"""Lightning saves and loads the loader's state with its own, without the batch that it has only fetched."""

from itertools import islice

import pytest
import torch

from tests.loader.interop import library, loss_of, opened

lightning = library("lightning")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),  # Lightning's own
]


class Tiny(lightning.LightningModule):
    """Trains on nothing much; keeps what it saw, and gives losses back."""

    def __init__(self, loader):
        super().__init__()
        self.embedding = torch.nn.Embedding(16_384, 1)
        self.loader, self.seen = [loader], []  # in a list: it is no part of the model

    def training_step(self, batch, number):
        self.seen.append((int(batch["step"]), batch["input_ids"].clone()))
        self.loader[0].feedback(batch["source_id"], loss_of(batch), step=batch["step"])
        return self.embedding(batch["input_ids"]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class SaveAt(lightning.Callback):
    def __init__(self, step, path):
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, module, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def trained(data, num_steps, *, workers=0, callbacks=(), resume=None):
    loader = data.loader(workers, look_ahead=1)
    module = Tiny(loader)
    trainer = lightning.Trainer(
        max_steps=num_steps,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    trainer.fit(module, loader, ckpt_path=resume)
    return module.seen


@pytest.mark.parametrize("mixer", ["natural", "exp3"])
def test_lightning_resumes_on_the_batch_it_had_only_fetched(tmp_path, mixer):
    whole = trained(opened(mixer), 8, callbacks=[SaveAt(3, tmp_path / "three.ckpt")])
    assert [step for step, _ in whole] == list(range(8))
    for (_, tokens), batch in zip(whole, islice(opened(mixer), 2), strict=False):
        assert torch.equal(tokens, batch["input_ids"])
    rest = trained(opened(mixer), 8, workers=2, resume=tmp_path / "three.ckpt")
    assert [step for step, _ in rest] == [3, 4, 5, 6, 7]
    assert all(torch.equal(mine, tokens) for (_, mine), (_, tokens) in zip(rest, whole[3:], strict=True))
