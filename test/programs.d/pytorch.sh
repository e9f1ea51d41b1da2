# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: GPL-2.0-or-later
# A training loop on two threads, its data from two processes.
packages=python3-torch
version='python3 -c "import torch; print(\"torch\", torch.__version__)"'

prepare() {
	cat >train.py <<'EOF'
import torch
from torch import nn


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 4096

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        x = torch.randn(1, 16, 16, generator=g)
        return x, (x.mean(0)[:8].sum() > 0).long()


torch.manual_seed(1)
torch.set_num_threads(2)
torch.use_deterministic_algorithms(True)
model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Dropout(0.1),
                      nn.Flatten(), nn.Linear(32 * 144, 64), nn.ReLU(), nn.Linear(64, 2))
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
loader = torch.utils.data.DataLoader(Data(), 64, shuffle=True, num_workers=2, persistent_workers=True)
for epoch in range(6):
    for n, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        print(epoch, n, loss.item(), flush=True)
torch.save([p.tolist() for p in model.parameters()], "parameters")
EOF
}

work() { python3 ../train.py; }
