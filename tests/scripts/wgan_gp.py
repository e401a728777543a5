"""A WGAN-GP on small pictures, written in PyTorch's names: Gulrajani et al. 2017, algorithm 1.

tests/test_scripts.py runs it in PyTorch as it stands, and in minigrad with its imports changed.
"""

import math
import os

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch import autograd
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

FOLDER = os.environ.get("WGAN_GP_FOLDER", ".")
LATENT, WIDTH, BATCH, CRITIC_STEPS, PENALTY, EPOCHS = 8, 8, 16, 2, 10.0, 2

torch.manual_seed(0)
torch.backends.cudnn.benchmark = True
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Discs(Dataset):
    """White discs at places that depend on the index."""

    def __init__(self, count, size=16):
        self.count, self.size = count, size

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        ticks = torch.arange(self.size).float() - self.size / 2
        x, y = 4 * math.cos(index), 4 * math.sin(2.0 * index)
        distance = ((ticks.view(1, -1) - x) ** 2 + (ticks.view(-1, 1) - y) ** 2).sqrt()
        return torch.clamp(3 - distance, -1, 1).unsqueeze(0), index % 2


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(LATENT, 2 * WIDTH, 4, 1, 0, bias=False), nn.BatchNorm2d(2 * WIDTH), nn.ReLU(True),
            nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, 2, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(True),
            nn.ConvTranspose2d(WIDTH, 1, 4, 2, 1), nn.Tanh())

    def forward(self, z):
        return self.main(z.view(z.size(0), LATENT, 1, 1))


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTH, 4, 2, 1)
        self.conv2 = nn.Conv2d(WIDTH, 2 * WIDTH, 4, 2, 1)
        self.norm = nn.InstanceNorm2d(2 * WIDTH, affine=True)
        self.score = nn.Linear(2 * WIDTH * 16, 1)

    def forward(self, x):
        x = F.leaky_relu(self.conv1(x), 0.2, inplace=True)
        x = F.leaky_relu(self.norm(self.conv2(x)), 0.2)
        return self.score(x.view(x.size(0), -1)).squeeze(1)


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        m.weight.data.normal_(0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        nn.init.normal_(m.weight.data, 1.0, 0.02)
        nn.init.constant_(m.bias.data, 0)


def gradient_penalty(critic, real, fake):
    alpha = torch.rand(real.size(0), 1, 1, 1, device=device).expand_as(real)
    mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    score = critic(mixed)
    gradients = autograd.grad(outputs=score, inputs=mixed, grad_outputs=torch.ones_like(score), create_graph=True,
                              retain_graph=True, only_inputs=True)[0]
    gradients = gradients.view(gradients.size(0), -1)
    return PENALTY * ((gradients.norm(2, dim=1) - 1) ** 2).mean()


netG, netD = Generator().to(device), Critic().to(device)
netG.apply(weights_init)
netD.apply(weights_init)
if os.path.isfile(os.path.join(FOLDER, "start.npz")):  # the same beginning in either library
    import numpy as np

    start = np.load(os.path.join(FOLDER, "start.npz"))
    with torch.no_grad():
        for name, p in [*netG.named_parameters(prefix="G"), *netD.named_parameters(prefix="D")]:
            p.copy_(torch.from_numpy(start[name]))
    noise = torch.from_numpy(start["noise"])
    torch.rand = lambda *size, **options: torch.full(size, 0.25)
    torch.randn = lambda *size, **options: noise[:size[0]].clone()

train, held_out = random_split(Discs(80), [64, 16])
if "noise" in globals():
    train = TensorDataset(*(torch.stack([torch.as_tensor(Discs(64)[i][k]) for i in range(64)]) for k in (0, 1)))
loader = DataLoader(train, batch_size=BATCH, shuffle="noise" not in globals(), num_workers=0, pin_memory=False, drop_last=True)
optimizerG = optim.Adam(netG.parameters(), lr=1e-3, betas=(0.0, 0.9))
optimizerD = optim.Adam(netD.parameters(), lr=1e-3, betas=(0.0, 0.9))
scheduler = optim.lr_scheduler.StepLR(optimizerG, step_size=1, gamma=0.5)
fixed_noise = torch.randn(4, LATENT, device=device)
losses = []

for epoch in range(EPOCHS):
    netG.train()
    for i, (real, _) in enumerate(loader):
        real = real.to(device, non_blocking=True)
        for _ in range(CRITIC_STEPS):
            netD.zero_grad()
            fake = netG(torch.randn(real.size(0), LATENT, device=device)).detach()
            errD = netD(fake).mean() - netD(real).mean() + gradient_penalty(netD, real.data, fake.data)
            errD.backward()
            optimizerD.step()
        for p in netD.parameters():
            p.requires_grad = False
        optimizerG.zero_grad(set_to_none=True)
        errG = -netD(netG(torch.randn(real.size(0), LATENT, device=device))).mean()
        errG.backward()
        nn.utils.clip_grad_norm_(netG.parameters(), 10.0)
        optimizerG.step()
        for p in netD.parameters():
            p.requires_grad = True
        losses.append((errD.item(), errG.item()))
        print(f"[{epoch}/{EPOCHS}][{i}/{len(loader)}] Loss_D: {errD.item():.4f} Loss_G: {errG:.4f}")
    scheduler.step()
    netG.eval()
    with torch.no_grad():
        sample = netG(fixed_noise).cpu().numpy()
    torch.save({"epoch": epoch, "netG": netG.state_dict(), "netD": netD.state_dict(), "optimizerG": optimizerG.state_dict(),
                "scheduler": scheduler.state_dict()}, os.path.join(FOLDER, "checkpoint.pth"))

checkpoint = torch.load(os.path.join(FOLDER, "checkpoint.pth"), map_location=device)
again = Generator().to(device)
again.load_state_dict(checkpoint["netG"])
again.eval()
with torch.no_grad():
    assert (again(fixed_noise) - torch.from_numpy(sample)).abs().max().item() < 1e-6
