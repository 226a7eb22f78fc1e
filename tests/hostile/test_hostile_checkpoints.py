"""Checkpoints whose JSON says anything: they load or are refused, and no hub is asked."""

from __future__ import annotations

import contextlib
import copy
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from tiny_training import TINY_NETWORK, TINY_WAV2VEC2
from training.configs import NetworkConfig, TrainConfig, to_plain
from training.learning import CheckpointError, describe_network, load_network
from training.learning.checkpoints import save_checkpoint
from training.network import DualTalker, HeadPlan


def write(folder: Path, config: NetworkConfig, heads: list[HeadPlan]) -> Path:
    network = DualTalker(config, [True] * 52, ["rules", "set:a"], ["sil", "AA"], heads)
    meta = {
        "description": describe_network(network),
        "config": to_plain(TrainConfig(network=config)),
        "data": [{"folder": "made", "digest": "0" * 64}],
        "hours": 0.1,
        "step": 3,
        "early_stop": {"patience": 0, "best": None, "best_step": 0, "waited": 0},
    }
    path = folder / "step_0000003.safetensors"
    save_checkpoint(path, {"ema": dict(network.state_dict())}, meta)
    return path


@pytest.fixture(scope="module")
def streaming(tmp_path_factory):
    heads = [HeadPlan("set", rank=3, vertices=10, lips=4, styles=1)]
    return write(tmp_path_factory.mktemp("streaming"), TINY_NETWORK, heads)


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory):
    pytest.importorskip("transformers")
    import dataclasses

    config = dataclasses.replace(TINY_NETWORK, encoder=TINY_WAV2VEC2)
    return write(tmp_path_factory.mktemp("wav2vec2"), config, [])


@pytest.fixture(autouse=True, scope="module")
def no_network():
    """Whoever asks the network for a name or a connection has failed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("getaddrinfo", "create_connection"):
            patch.setattr(socket, name, lambda *_, **__: pytest.fail("the network is asked"))
        yield


@contextlib.contextmanager
def changed(path: Path, change):
    """The checkpoint with a changed JSON, for a while."""
    file = path.with_suffix(".json")
    before = file.read_text()
    record = json.loads(before)
    change(record)
    file.write_text(json.dumps(record))
    try:
        yield path
    finally:
        file.write_text(before)


def test_whole_checkpoints_load(streaming, wav2vec2):
    for path in (streaming, wav2vec2):
        load_network(path)


@pytest.mark.parametrize("pretrained", ["facebook/wav2vec2-base", "http://192.0.2.1/w"])
def test_no_encoder_is_fetched_for_a_checkpoint(wav2vec2, pretrained):
    def change(record):
        record["description"].pop("architecture")
        record["description"]["network"]["encoder"]["pretrained"] = pretrained

    with changed(wav2vec2, change), pytest.raises(CheckpointError, match="architecture"):
        load_network(wav2vec2)


def test_a_streaming_checkpoint_that_turns_wav2vec2_is_refused(streaming):
    def change(record):
        encoder = record["description"]["network"]["encoder"]
        encoder |= {"kind": "wav2vec2", "pretrained": "facebook/wav2vec2-base"}

    with changed(streaming, change), pytest.raises(CheckpointError, match="architecture"):
        load_network(streaming)


JSON = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2, 3, 7, 255, 10**6, 10**9, 10**400, 0.5, -0.5, 1e300, 1e-320]),
    st.sampled_from(["", "x", "wav2vec2", "a.b", "\0", "../x", "rules"]),
    st.lists(st.integers(-1, 10**10), max_size=3),
    st.dictionaries(st.sampled_from(["name", "rank", "x"]), st.integers(-1, 9), max_size=2),
)


def places(record: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values in a JSON record."""
    items: Any = ()
    if isinstance(record, dict):
        items = record.items()
    elif isinstance(record, list):
        items = enumerate(record)
    return [path, *(found for key, value in items for found in places(value, (*path, key)))]


def put(record: Any, path: tuple, value: Any) -> Any:
    """A copy with another value at a path; ... deletes what was there."""
    if not path:
        return {} if value is ... else value
    record = copy.deepcopy(record)
    holder = record
    for key in path[:-1]:
        holder = holder[key]
    if value is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return record


def check_any_value(path: Path, data: Any) -> None:
    file = path.with_suffix(".json")
    before = file.read_text()
    record = json.loads(before)
    inside = [p for p in places(record) if p[:1] in ((), ("description",)) or len(p) == 1]
    place = data.draw(st.sampled_from(inside))
    file.write_text(json.dumps(put(record, place, data.draw(st.just(...) | JSON))))
    try:
        with contextlib.suppress(CheckpointError):
            load_network(path)
    finally:
        file.write_text(before)


@settings(max_examples=250, deadline=4000)
@given(data=st.data())
def test_any_value_in_any_place_loads_or_is_refused(streaming, data):
    check_any_value(streaming, data)


@settings(max_examples=80, deadline=4000)
@given(data=st.data())
def test_any_value_in_an_architecture_loads_or_is_refused(wav2vec2, data):
    check_any_value(wav2vec2, data)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 100_000, '{"step": NaN}', '{"a": 1, "a": 2}', "9" * 5000]
)
def test_what_is_no_strict_json_is_refused(streaming, text):
    file = streaming.with_suffix(".json")
    before = file.read_text()
    try:
        file.write_text(text)
        with pytest.raises(CheckpointError, match="JSON"):
            load_network(streaming)
    finally:
        file.write_text(before)


@pytest.mark.parametrize("name", ["channels", "motion_channels", "joint_channels", "units"])
def test_sizes_beyond_the_file_make_nothing(streaming, name):
    def change(record):
        record["description"]["network"][name] = 8192

    with changed(streaming, change), pytest.raises(CheckpointError, match=r"is \[.*expected \["):
        load_network(streaming)
