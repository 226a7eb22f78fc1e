"""The spectrum of the exported graph is a DFT, in products that are small."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from training.configs import NetworkConfig
from training.network import LogMel
from training.network.spectrum import ShortSpectrum


@pytest.mark.parametrize(
    ("window", "hop", "fft_size"),
    [(400, 160, 512), (512, 128, 512), (320, 80, 512), (48, 8, 64), (16, 16, 16), (21, 6, 32)],
)
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_power_is_that_of_a_dft(window: int, hop: int, fft_size: int, frames: int) -> None:
    rng = np.random.default_rng(window)
    taper = rng.uniform(0.1, 1.0, window).astype(np.float32)
    short = ShortSpectrum(torch.from_numpy(taper), hop, fft_size, frames)
    count = -(-(window + (frames - 1) * hop) // short.width) * short.width
    samples = rng.standard_normal((1, count)).astype(np.float32)
    found = short(torch.from_numpy(samples)).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(samples[0], window)[::hop][:frames]
    expected = np.abs(np.fft.rfft(windows.astype(np.float64) * taper, fft_size)) ** 2
    bins = short.bins.numpy()
    assert set(bins) == set(range(fft_size // 2 + 1))
    np.testing.assert_allclose(found, expected[:, bins], rtol=0, atol=1e-5 * expected.max())
    # Each bin is heard once, however many columns are its own.
    filters = torch.from_numpy(rng.uniform(0.0, 1.0, (fft_size // 2 + 1, 3)).astype(np.float32))
    heard = found @ short.fold(filters).numpy()
    np.testing.assert_allclose(heard, expected @ filters.numpy(), rtol=1e-5)


def test_a_hop_of_the_shipped_size_reads_a_tenth_of_one_matrix() -> None:
    mel = LogMel(NetworkConfig())
    short = ShortSpectrum(mel.taper, mel.hop, mel.fft_size, 2)
    parts = (short.taper, short.across, short.turns, short.to_real, short.to_imaginary)
    assert sum(part.numel() for part in parts) < mel.window * (mel.fft_size + 2) / 10
