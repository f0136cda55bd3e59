"""Teach another network what a trained one knows: ``python distil.py TEACHER PUPIL STEPS OUT.safetensors MANIFEST...``.

TEACHER is a run, a bundle or an ONNX file, PUPIL a network's name, such as ``mbf``. The pupil learns the teacher's
embeddings of all pictures but those of val and test; labels are not read. OUT goes where weights go.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

import facexfer
from facexfer.backbones import create_backbone
from facexfer.backbones.parts.normalize import Normalize
from facexfer.data.augmentation import training_transform
from facexfer.data.crops import CropDataset
from facexfer.data.manifest import read_manifest
from facexfer.deploy.doctor import processor_features
from facexfer.measure.embedder import embed_images
from facexfer.runtime import best_device, prepare_cpu

teacher, name, steps, out, *manifests = sys.argv[1:] if len(sys.argv) > 5 else sys.exit(__doc__)
prepare_cpu()
torch.manual_seed(0)
device, batch = best_device(), 16
pupil = create_backbone(name).to(device).to(memory_format=torch.channels_last).train()
read = (row for manifest in manifests for row in read_manifest(Path(manifest)).images)
rows = [row for row in read if row.split not in ("val", "test")]
pictures = CropDataset(rows, [0] * len(rows), pupil.info.input_size, training_transform("flip", 0))
known = torch.from_numpy(embed_images(facexfer.load(teacher), [row.path for row in rows]))
# Into the pupil's space by a rotation, which keeps cosines where there is room for it.
known = F.normalize(known @ torch.nn.init.orthogonal_(torch.empty(pupil.info.embedding_size, known.shape[1])).T)
optimizer = torch.optim.AdamW(pupil.parameters(), lr=1e-3, weight_decay=0.01)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=int(steps), pct_start=0.1)
half = bool(processor_features() & {"avx512_bf16", "amx_bf16"})
for step in range(int(steps)):
    pictures.set_epoch(step)
    chosen = torch.randint(len(rows), (batch,))
    images = torch.stack([pictures[index][0] for index in chosen.tolist()]).to(device)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = pupil(Normalize(pupil.info).to(device)(images).contiguous(memory_format=torch.channels_last))
    loss = 1 - F.cosine_similarity(found.float(), known[chosen].to(device)).mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    schedule.step()
    print(f"step {step + 1}: mean cosine {1 - loss.item():.3f}", flush=True)
save_file({key: value.contiguous() for key, value in pupil.cpu().state_dict().items()}, out)
