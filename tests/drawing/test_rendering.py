"""The software renderer: what it draws, where, and that it draws the same twice."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.drawing import Renderer
from dualtalker.drawing.inner_mouth import find_inner_mouth
from dualtalker.errors import RigError
from dualtalker.rig import Rig, build_rig
from dualtalker.rig.robot_head import build_head
from tiny_rig import tiny_rig


@pytest.fixture(scope="module")
def renderer():
    return Renderer(build_head(), 160, 160)


def weights_of(name: str, value: float = 1.0) -> np.ndarray:
    weights = np.zeros(52, dtype=np.float32)
    weights[ARKIT_INDEX[name]] = value
    return weights


def test_pictures_have_the_asked_size_and_are_repeatable(renderer):
    weights = np.random.default_rng(0).random(52).astype(np.float32) * 0.5
    picture = renderer.render(weights)
    assert picture.shape == (160, 160, 3)
    assert picture.dtype == np.uint8
    renderer.render(np.ones(52))
    np.testing.assert_array_equal(renderer.render(weights), picture)
    again = Renderer(build_head(), 160, 160).render(weights)
    np.testing.assert_array_equal(again, picture)


def dark_red(picture: np.ndarray) -> int:
    """Pixels of the inside of the mouth."""
    red, green, blue = picture.astype(int).transpose(2, 0, 1)
    return int(((red < 90) & (red > green + 8) & (red > blue)).sum())


def test_an_open_mouth_shows_its_inside(renderer):
    areas = [dark_red(renderer.render(weights_of("jawOpen", share))) for share in (0, 0.3, 0.6, 1)]
    assert areas == sorted(areas)
    assert areas[-1] > areas[0] + 80


def test_a_neutral_face_is_symmetric_but_for_the_light():
    picture = Renderer(build_head(), 161, 160).render(np.zeros(52))
    shape = np.abs(picture.astype(int) - picture[:, ::-1]).max(axis=2) > 90
    assert shape.mean() < 0.01


def test_only_what_a_shape_moves_changes(renderer):
    neutral = renderer.render(np.zeros(52)).astype(int)
    blink = renderer.render(weights_of("eyeBlinkLeft")).astype(int)
    changed = np.abs(neutral - blink).max(axis=2) > 8
    columns = np.flatnonzero(changed.any(axis=0))
    rows = np.flatnonzero(changed.any(axis=1))
    assert columns.min() > 80  # the head's left is on the viewer's right
    assert rows.max() < 100


def square_rig(z: float, color: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    corners = np.array([[-1, -1, z], [1, -1, z], [1, 1, z], [-1, 1, z]]) * 0.1
    return corners, np.array([[0, 1, 2], [0, 2, 3]]), np.tile(np.array(color, np.uint8), (4, 1))


def plain_rig(*squares, moves: float = 0.01) -> Rig:
    vertices = np.concatenate([square[0] for square in squares]).astype(np.float32)
    triangles = np.concatenate([s[1] + 4 * i for i, s in enumerate(squares)]).astype(np.int32)
    deltas = np.zeros((1, len(vertices), 3), dtype=np.float32)
    deltas[0, :, 2] = moves
    some = np.zeros(1, dtype=np.int32)
    return Rig(
        name="squares",
        neutral=vertices,
        triangles=triangles,
        names=("jawForward",),
        deltas=deltas,
        colors=np.concatenate([square[2] for square in squares]),
        lip_upper=some,
        lip_lower=some,
        lip_vertices=some,
        upper_face_vertices=some,
    )


RED, BLUE = (220, 30, 30), (30, 30, 220)


@pytest.mark.parametrize("moves", [0.0, 0.01])
def test_the_nearer_surface_hides_the_farther(moves):
    near_red = plain_rig(square_rig(0.5, RED), square_rig(0.0, BLUE), moves=moves)
    near_blue = plain_rig(square_rig(0.0, RED), square_rig(0.5, BLUE), moves=moves)
    red = Renderer(near_red, 32, 32, pitch_deg=0).render(np.zeros(52))[16, 16]
    blue = Renderer(near_blue, 32, 32, pitch_deg=0).render(np.zeros(52))[16, 16]
    assert red[0] > 2 * red[2]
    assert blue[2] > 2 * blue[0]


def test_a_square_covers_its_exact_area():
    rig = plain_rig(square_rig(0.0, RED))
    picture = Renderer(rig, 108, 108, pitch_deg=0).render(np.zeros(52)).astype(int)
    # The square is 1 / 1.08 of the picture's width: 100 x 100 pixels, without holes or seams.
    inside = picture[..., 0] > picture[..., 2] + 60
    assert inside.sum() == pytest.approx(100 * 100, abs=120)
    assert inside[6:102, 6:102].all()


def test_surfaces_seen_from_behind_are_not_drawn():
    rig = plain_rig(square_rig(0.0, RED))
    rig.triangles[:] = rig.triangles[:, ::-1]
    picture = Renderer(rig, 32, 32, pitch_deg=0).render(np.zeros(52)).astype(int)
    assert (np.abs(picture[..., 0] - picture[..., 2]) < 60).all()


def test_a_rig_without_colors_is_drawn():
    head = build_head()
    plain = Rig(**{**{k: getattr(head, k) for k in head.__dataclass_fields__}, "colors": None})
    picture = Renderer(plain, 64, 64).render(weights_of("jawOpen"))
    assert picture.std() > 10


def test_extreme_weights_stay_in_the_picture(renderer):
    for value in (-3.0, 5.0):
        assert renderer.render(np.full(52, value)).shape == (160, 160, 3)


def test_a_close_up_enlarges_the_face(renderer):
    close = Renderer(build_head(), 160, 160, close_up=True)
    opened = weights_of("jawOpen")
    assert dark_red(close.render(opened)) > 1.3 * dark_red(renderer.render(opened))


def test_wide_and_tall_pictures_keep_the_face_round():
    for width, height in ((200, 100), (100, 200), (101, 77)):
        assert Renderer(build_head(), width, height).render(np.zeros(52)).shape == (
            height,
            width,
            3,
        )


def test_wrong_input_is_refused(renderer):
    with pytest.raises(RigError, match="16 to 4096"):
        Renderer(build_head(), 8, 480)
    with pytest.raises(RigError, match="52"):
        renderer.render(np.zeros(51))
    with pytest.raises(RigError, match="vertices have shape"):
        renderer.render_vertices(np.zeros((5, 3)))
    with pytest.raises(RigError, match="NaN"):
        renderer.render(np.full(52, np.nan))


def uncolored(rig: Rig, neutral: np.ndarray | None = None) -> Rig:
    """A rig without colors, perhaps with its vertices elsewhere."""
    places = rig.neutral if neutral is None else neutral
    lips = (rig.lip_upper, rig.lip_lower, rig.lip_vertices)
    return build_rig("plain", places, rig.triangles, rig.names, rig.deltas, None, *lips)


def test_the_inside_of_a_mouth_is_what_shut_lips_hide():
    """Our head says by its colors what is inside: lining, teeth and tongue."""
    head = build_head()
    inside = find_inner_mouth(uncolored(head))
    for color, share in (((26, 8, 13), 1.0), ((226, 112, 122), 1.0), ((252, 252, 248), 0.95)):
        part = (head.colors == color).all(axis=1)
        assert part.sum() > 100
        assert inside[part].mean() >= share
    assert not inside[(head.colors == (236, 240, 245)).all(axis=1)].any()  # the skin


def recede(head: Rig) -> np.ndarray:
    """What is below the mouth goes back by up to 5 cm."""
    neutral = head.neutral.copy()
    below = neutral[head.lip_lower, 1].min() - neutral[:, 1]
    neutral[:, 2] -= 0.05 * np.clip(below / 0.02, 0, 1) * (neutral[:, 2] > 0)
    return neutral


def flatten(head: Rig) -> np.ndarray:
    """A screen for a face: the depth is a third."""
    return head.neutral * [1, 1, 0.3]


def narrow(head: Rig) -> np.ndarray:
    """A thin face around the same mouth, whose cheeks begin beside it."""
    x = head.neutral[:, 0]
    wide = float(np.abs(head.neutral[head.lip_upper, 0]).max())
    neutral = head.neutral.copy()
    neutral[:, 0] -= np.sign(x) * 0.75 * np.maximum(np.abs(x) - wide, 0)
    return neutral


@pytest.mark.parametrize("change", [None, recede, flatten, narrow])
@pytest.mark.parametrize(("yaw", "pitch"), [(0, 4), (40, 0), (-40, 20), (0, -30)])
def test_no_skin_is_drawn_as_the_inside_of_a_mouth(monkeypatch, change, yaw, pitch):
    """Other people's chins and cheeks lie where the mouth of a usual face is."""
    head = build_head()
    rig = uncolored(head, None if change is None else change(head))
    drawn = Renderer(rig, 200, 200, yaw, pitch, close_up=True)
    nothing = np.zeros(len(rig.neutral), dtype=bool)
    monkeypatch.setattr("dualtalker.drawing.renderer.find_inner_mouth", lambda rig: nothing)
    clay = Renderer(rig, 200, 200, yaw, pitch, close_up=True)

    def dark(weights):
        return (clay.render(weights).astype(int) - drawn.render(weights)).max(axis=2) > 20

    rows, columns = np.nonzero(dark(np.zeros(52)))  # no more than the seam of the lips
    _, seen = drawn._project(rig.neutral[rig.lip_vertices])
    low, high = 0.5 * seen[:, :2].min(axis=0) - 4, 0.5 * seen[:, :2].max(axis=0) + 4
    assert ((low[0] < columns) & (columns < high[0])).all()
    assert ((low[1] < rows) & (rows < high[1])).all()
    assert len(rows) < 150
    assert dark(weights_of("jawOpen")).sum() > 4 * len(rows) + 300


def test_a_face_without_an_inside_has_none():
    assert not find_inner_mouth(tiny_rig(colored=False)).any()
