"""A PyTorch training script with its import line changed, and what it prints with either library.

    python -m tapegrad.examples.from_pytorch [--backend tapegrad | torch] [--epochs 20] [--save PATH]

Below the import line stands PyTorch code: a Module, a DataLoader, an optimizer, a schedule, devices, a state_dict saved
and loaded. `--backend torch` runs this same file with PyTorch's import line. One seed gives the same data, initial
weights and batches in both, so the losses agree to float32 rounding. (The net is smooth: at a ReLU's kink rounding may
switch a unit, from where two runs drift apart.)
"""

import argparse
import tempfile
from pathlib import Path
from types import ModuleType

import tapegrad as torch

nn, F = torch.nn, torch.nn.functional
DataLoader, TensorDataset = torch.utils.data.DataLoader, torch.utils.data.TensorDataset

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.fc1 = nn.Linear(2, 64)
        self.fc2 = nn.Linear(64, 64)
        self.fc3 = nn.Linear(64, classes)

    def forward(self, x):
        x = F.silu(self.fc1(x))
        x = F.silu(self.fc2(x))
        return self.fc3(x)


def spirals(points, classes=3):
    """Arms of a spiral, one for each class; (points * classes, 2) and (points * classes,)."""
    radius = torch.linspace(0.05, 1, points).repeat(classes)
    label = torch.arange(classes).repeat_interleave(points)
    angle = 4 * radius + label * (2 * torch.pi / classes) + 0.15 * torch.randn(points * classes)
    return torch.stack([radius * torch.sin(angle), radius * torch.cos(angle)], dim=1), label


def train(model, loader, criterion, optimizer):
    model.train()
    running_loss = 0.0
    for inputs, labels in loader:
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        running_loss += loss.item() * inputs.size(0)
    return running_loss / len(loader.dataset)


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    correct = 0
    for inputs, labels in loader:
        outputs = model(inputs.to(device))
        _, predicted = torch.max(outputs, 1)
        correct += (predicted == labels.to(device)).sum().item()
    return correct / len(loader.dataset)


def run(epochs, path, points=500):
    """Trains, saves to `path` and prints; (the losses by epoch, the accuracy of the model loaded from there)."""
    torch.manual_seed(0)
    train_data, test_data = TensorDataset(*spirals(points)), TensorDataset(*spirals(points // 2))
    train_loader = DataLoader(train_data, batch_size=64, shuffle=True, drop_last=True)
    test_loader = DataLoader(test_data, batch_size=256)

    model = Net().to(device)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)

    losses = []
    for epoch in range(epochs):
        loss = train(model, train_loader, criterion, optimizer)
        scheduler.step()
        losses.append(loss)
        print(f"epoch {epoch + 1:2d}  loss {loss:.6f}  lr {scheduler.get_last_lr()[0]:.5f}")
    torch.save(model.state_dict(), path)

    restored = Net().to(device)
    restored.load_state_dict(torch.load(path))
    score = accuracy(restored, test_loader)
    print(f"test accuracy {score:.3f}")
    return losses, score


# Here the PyTorch script ends; what follows runs it with either import line.


def script(backend: str) -> ModuleType:
    """This file as a module of its own, with the import line of `backend`: "tapegrad" or "torch"."""
    source = Path(__file__).read_text(encoding="utf-8")
    if backend == "torch":
        source = source.replace("\nimport tapegrad as torch\n", "\nimport torch\n")
    module = ModuleType(f"script_{backend}")
    exec(compile(source, __file__, "exec"), vars(module))
    return module


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["tapegrad", "torch"], default="tapegrad", help="default: tapegrad")
    parser.add_argument("--epochs", type=int, default=20, help="default: 20")
    parser.add_argument("--save", metavar="PATH", help="keep the trained weights in this file")
    options = parser.parse_args(argv)
    try:
        program = script(options.backend)
    except ModuleNotFoundError as error:
        parser.error(f"--backend torch needs PyTorch: pip install torch ({error})")
    with tempfile.TemporaryDirectory() as folder:
        program.run(options.epochs, options.save or f"{folder}/weights")


if __name__ == "__main__":
    main()
