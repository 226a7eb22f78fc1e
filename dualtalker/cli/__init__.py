"""The `dualtalker` command."""
