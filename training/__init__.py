"""The offline trainer: data, network, losses and the training loop. Never installed, never run on a robot."""
