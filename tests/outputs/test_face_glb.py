"""`--format glb`: the face moves as the weights say, and Khronos's validator finds no fault."""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import RigError
from dualtalker.outputs import write_face_glb
from dualtalker.rig import load_rig, save_rig
from dualtalker.rig.robot_head import build_head
from made_glb import edit_glb, read_container
from named_rigs import mesh_of, write_meshes
from tiny_rig import tiny_rig

FPS = 60.0
OFFLINE = ("ENOTFOUND", "ECONNREFUSED", "EAI_AGAIN", "ETIMEDOUT", "ECONNRESET", "E404", "E403")


def make_weights(frames=40):
    return np.random.default_rng(0).random((frames, 52), np.float32)


def read_animation(path, which=-1):
    """The animation, its times [frames], and the weights [frames, targets] by node."""
    document, binary = read_container(path)
    animation = document["animations"][which]

    def read(index):
        accessor = document["accessors"][index]
        view = document["bufferViews"][accessor["bufferView"]]
        return np.frombuffer(binary, "<f4", accessor["count"], view["byteOffset"])

    found = {}
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        times_s = read(sampler["input"])
        found[channel["target"]["node"]] = read(sampler["output"]).reshape(len(times_s), -1)
    return animation, times_s, found


def test_the_robot_head_says_it(tmp_path):
    weights, head = make_weights(), build_head()
    write_face_glb(tmp_path / "talk.glb", weights, FPS, head, sound="hello.wav")
    animation, times_s, found = read_animation(tmp_path / "talk.glb")
    assert animation["extras"] == {"sound": "hello.wav", "fps": FPS}
    assert animation["name"] == "hello"
    np.testing.assert_allclose(times_s, np.arange(40) / FPS, atol=1e-6)
    [moved] = found.values()
    for k, name in enumerate(head.names):
        np.testing.assert_array_equal(moved[:, k], weights[:, ARKIT_INDEX[name]])
    again = load_rig(tmp_path / "talk.glb")  # it is a rig still
    np.testing.assert_allclose(again.pose(weights), head.pose(weights), atol=1e-6)


def test_a_face_of_others_keeps_what_it_has(tmp_path):
    rig = build_head()
    names = [name.replace("Left", "_L").replace("Right", "_R") for name in rig.names]
    other = mesh_of(tiny_rig(), ["x1", "x2", "x3", "x4", "x5"])
    meshes = [mesh_of(rig, names, name="Head"), other]
    source = write_meshes(tmp_path / "theirs.glb", meshes)

    def decorate(document):
        document["materials"] = [{"name": "skin"}]
        document["meshes"][0]["primitives"][0]["material"] = 0
        document["meshes"][0]["weights"] = [0.0] * 52
        document["extras"] = {"artist": "somebody"}
        times = len(document["accessors"])
        view = {"buffer": 0, "byteOffset": 0, "byteLength": 8}
        document["bufferViews"].append(view)
        place = len(document["bufferViews"]) - 1
        document["accessors"].append(
            {"bufferView": place, "componentType": 5126, "count": 2, "type": "SCALAR"}
        )
        document["animations"] = [
            {
                "name": "wave",
                "channels": [{"sampler": 0, "target": {"node": 0, "path": "weights"}}],
                "samplers": [{"input": times, "output": times}],
            }
        ]

    edit_glb(source, decorate)
    before, content = read_container(source)
    weights = make_weights(7)
    write_face_glb(tmp_path / "talk.glb", weights, FPS, load_rig(source), source)
    after, longer = read_container(tmp_path / "talk.glb")
    for key in ("materials", "meshes", "nodes", "extras", "scenes"):
        assert after[key] == before[key]
    assert longer.startswith(content.rstrip(b"\0")) and after["animations"][0]["name"] == "wave"
    _, _, found = read_animation(tmp_path / "talk.glb")
    assert list(found) == [0]  # the other mesh has nothing that ARKit knows
    rest = rig.neutral + np.einsum("fk,kvx->fvx", found[0], rig.deltas)
    np.testing.assert_allclose(rest, load_rig(source).pose(weights), atol=1e-6)


def test_what_cannot_be_animated_is_refused(tmp_path):
    source = save_rig(tiny_rig(), tmp_path / "face.glb")
    rig = load_rig(source)
    edit_glb(source, lambda document: document["buffers"][0].update(uri="face.bin"))
    with pytest.raises(RigError, match=r"face\.glb: its buffer is another file"):
        write_face_glb(tmp_path / "talk.glb", make_weights(), FPS, rig, source)
    with pytest.raises(RigError, match="cannot be read"):
        write_face_glb(tmp_path / "talk.glb", make_weights(), FPS, rig, tmp_path / "none.glb")
    assert not (tmp_path / "talk.glb").exists()


@pytest.fixture(scope="module")
def run_node(tmp_path_factory):
    """Run a program beside Khronos's validator and three.js; skips where they cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("no node and npm here")
    folder = tmp_path_factory.mktemp("validator")
    wanted = ("gltf-validator@2.0.0-dev.3.10", "three@0.187.0")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefer-offline", *wanted]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=170)
    if done.returncode and any(sign in done.stderr for sign in OFFLINE):
        pytest.skip("no package registry for gltf-validator here")
    assert done.returncode == 0, done.stderr

    def run(program, path):
        (folder / "program.mjs").write_text(program)
        command = [node, "program.mjs", str(path)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


VALIDATE = """
import {readFileSync} from 'fs';
import validator from 'gltf-validator';
const bytes = new Uint8Array(readFileSync(process.argv[2]));
console.log(JSON.stringify(await validator.validateBytes(bytes)));
"""
PLAY = """
import {readFileSync} from 'fs';
import {AnimationMixer} from 'three';
import {GLTFLoader} from 'three/addons/loaders/GLTFLoader.js';
const bytes = readFileSync(process.argv[2]);
const content = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
const {scene, animations} = await new GLTFLoader().parseAsync(content, '');
const mixer = new AnimationMixer(scene);
mixer.clipAction(animations[0]).play();
let mesh;
scene.traverse((one) => { if (one.morphTargetDictionary) mesh = one; });
const seen = [0, 0.25, 0.5].map((time_s) => {
  mixer.setTime(time_s);
  const shapes = Object.entries(mesh.morphTargetDictionary);
  return Object.fromEntries(shapes.map(([name, k]) => [name, mesh.morphTargetInfluences[k]]));
});
console.log(JSON.stringify({seen, about: animations[0].userData}));
"""


@pytest.mark.slow
@pytest.mark.parametrize("face", ["head", "npz", "glb"])
def test_the_validator_finds_no_fault(tmp_path, run_node, face):
    rig = build_head() if face == "head" else tiny_rig()
    source = None if face == "head" else save_rig(rig, tmp_path / f"rig.{face}")
    weights = make_weights()
    write_face_glb(tmp_path / "talk.glb", weights, FPS, rig, source, "a.wav")
    report = run_node(VALIDATE, tmp_path / "talk.glb")
    issues = report["issues"]
    assert issues["numErrors"] == issues["numWarnings"] == 0, issues["messages"][:5]
    assert report["info"]["animationCount"] == 1 and report["info"]["hasMorphTargets"]
    broken = tmp_path / "broken.glb"
    shutil.copy(tmp_path / "talk.glb", broken)
    edit_glb(broken, lambda d: d["animations"][0]["channels"][0]["target"].update(node=99))
    assert run_node(VALIDATE, broken)["issues"]["numErrors"] > 0  # it looks at animations


@pytest.mark.slow
def test_three_js_plays_it(tmp_path, run_node):
    weights = make_weights()
    write_face_glb(tmp_path / "talk.glb", weights, FPS, build_head(), sound="a.wav")
    played = run_node(PLAY, tmp_path / "talk.glb")
    assert played["about"] == {"sound": "a.wav", "fps": FPS}
    for frame, shapes in zip((0, 15, 30), played["seen"], strict=True):
        found = [shapes[name] for name in ARKIT_NAMES]
        np.testing.assert_allclose(found, weights[frame], atol=1e-4)


def test_names_of_all_shapes_arrive(tmp_path):
    write_face_glb(tmp_path / "talk.glb", make_weights(2), FPS, build_head())
    document, _ = read_container(tmp_path / "talk.glb")
    assert set(document["meshes"][0]["extras"]["targetNames"]) == set(ARKIT_NAMES)
