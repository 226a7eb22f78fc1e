"""The offline trainer: data, network, losses, training loop. Not installed, not for robots."""
