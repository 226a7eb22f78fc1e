"""Readers of data sets as they are distributed, and the storage they are turned into."""
