"""Names that are imported when first asked for: they are there, listed, and cost nothing until then."""

import pytest

import tapegrad as tg
from graphs import run_apart

LATER = {
    tg: "accelerator backends cuda datasets expr func linalg profiler random tables summary LongTensor load save vmap",
    tg.autograd: "Function detect_anomaly function functional gradcheck",
    tg.nn: "parameter",
    tg.nn.utils: "parametrizations parametrize remove_weight_norm weight_norm",
    tg.optim: "lr_scheduler optimizer swa_utils",
    tg.utils: "checkpoint dlpack",
    tg.utils.data: "dataloader dataset sampler",
}


@pytest.mark.parametrize("package", LATER, ids=lambda package: package.__name__)
def test_names_imported_later_are_found_listed_and_kept(package):
    for name in LATER[package].split():
        assert name in dir(package)
        assert getattr(package, name) is getattr(package, name) is vars(package)[name]
    assert set(getattr(package, "__all__", ())) <= set(dir(package))


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'tapegrad.optim' has no attribute 'Adma'"):
        _ = tg.optim.Adma


def test_importing_and_training_leave_alone_what_they_do_not_need():
    program = """
import sys
before = set(sys.modules)
import tapegrad as tg
model = tg.nn.Sequential(tg.nn.Linear(2, 3), tg.nn.ReLU(), tg.nn.Linear(3, 1))
optimizer = tg.optim.Adam(model.parameters())
tg.nn.MSELoss()(model(tg.ones(4, 2)), tg.ones(4, 1)).backward()
optimizer.step()
print(*sorted(set(sys.modules) - before))
"""
    loaded = run_apart(program).split()
    unneeded = "autograd._function checkpoint expr func linalg optim.lr_scheduler profiler _summary nn._hook_calls"
    assert not {f"tapegrad.{name}" for name in unneeded.split()} & set(loaded)
