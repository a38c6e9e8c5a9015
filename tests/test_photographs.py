"""Photographs cut into tiles: what is asked of them, how it is counted, and what a two-way bootstrap says of it."""

import re
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.special import ndtri
from test_own import folder as folder_of

from data_pipeline.command import UserError
from data_pipeline.encoding import VOID
from data_pipeline.files import read_json
from data_pipeline.source import Source
from docs import why, why_photographs
from study.__main__ import Plan as PlanFlags
from study.__main__ import main
from study.cells import result_of, run_cells
from study.contrasts import SUPERVISIONS, cells_of_photographs
from study.effects import NO, UNSETTLED, YES
from study.films import MIOU, PRIMARIES, Question, centre_score, difference, miou_score, presence_score, redraws
from study.photographs import CENTRE, PRESENCE, cut, prepare, some_pixels, tiles_of
from study.plan import PLANS, PRESETS, plan_from

STUDIES = 400
BOUND = 0.05 + 2 * np.sqrt(0.05 * 0.95 / STUDIES)  # what a share of 5% may look like in so many
FILMS = r"film\d"


def frame(film: int, i: int) -> np.ndarray:
    """(48, 64) of a ground 0, a patch of 1 that moves, below it a patch of 2, and a little void."""
    mask = np.zeros((48, 64), np.uint8)
    mask[2:14, (5 * i + film) % 50 :][:, :12] = 1
    mask[18:40, (3 * i) % 40 :][:, :20] = 2
    mask[46:, 60:] = VOID
    return mask[::-1] if film else mask


def films(path, counts=(30, 30)):
    names = [f"film{film}_{i:03}" for film, count in enumerate(counts) for i in range(count)]
    masks = [frame(film, i) for film, count in enumerate(counts) for i in range(count)]
    return Source(data=folder_of(path, masks, names=names), group_by=FILMS)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    out = tmp_path_factory.mktemp("photographs")
    return prepare(films(out / "data"), out, 16), out


def test_frames_are_cut_row_by_row():
    frames = np.arange(2 * 6 * 8 * 3).reshape(2, 6, 8, 3)
    tiles = cut(frames)
    assert tiles.shape == (24, 2, 2, 3)
    assert np.array_equal(tiles[5], frames[0, 2:4, 2:4]) and np.array_equal(tiles[12], frames[1, :2, :2])


def test_a_film_is_left_out_and_fewer_frames_are_among_more(read):
    reading, out = read
    photographs = reading.photographs
    assert photographs.films == 2 and reading.films == {"film0": 30, "film1": 30} and photographs.num_classes == 3
    test, few, many = (
        tiles_of(out, photographs, 3, testing, frames) for testing, frames in ((True, 0), (False, 8), (False, 20))
    )
    assert len(test.images) == 30 * 12 and np.bincount(test.clips).tolist() == [120, 120, 120]
    assert np.array_equal(few.images, many.images[: 8 * 12]) and np.array_equal(few.places, np.tile(np.arange(12), 8))
    assert not any(np.array_equal(many.images[0], each) for each in test.images)
    other = tiles_of(out, photographs, 1, testing=False, frames=8)  # the same film, another draw
    assert not np.array_equal(other.images, few.images)
    assert np.array_equal(test.centre, test.masks[:, 8, 8])
    assert np.array_equal(test.presence, np.stack([(test.masks == k).mean((1, 2)) >= 0.02 for k in range(3)], 1))
    with pytest.raises(ValueError, match="31 frames are wanted, 30 are there"):
        tiles_of(out, photographs, 0, testing=False, frames=31)


def test_films_that_are_too_few_or_hold_other_classes_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"of 30 frames each are wanted; there are, with frames: film0 30, film1 29"):
        prepare(films(tmp_path / "short", (30, 29)), tmp_path, 16)
    source = films(tmp_path / "one")
    with pytest.raises(UserError, match="there are, with frames: no name 60"):
        prepare(replace(source, group_by=None), tmp_path, 16)
    for path in (tmp_path / "one" / "masks").iterdir():  # film 1 holds the ground alone
        if path.name.startswith("film1"):
            cv2.imwrite(str(path), np.zeros((48, 64), np.uint8))
    with pytest.raises(UserError, match=r"two classes are wanted .* there are 1"):
        prepare(source, tmp_path, 16)


def test_a_user_who_names_no_films_or_brings_weights_is_told(tmp_path):
    with pytest.raises(UserError, match="name the folder of frames and masks with --data"):
        main(PlanFlags(preset="photographs", out=tmp_path))
    with pytest.raises(UserError, match="nothing begins with a file"):
        main(PlanFlags(preset="photographs", data=tmp_path, weights=tmp_path / "w.h5", out=tmp_path))


def test_the_kept_plan_is_the_one_that_its_settings_make():
    path = PLANS / "photographs.json"
    plan = plan_from(read_json(path), path)  # refuses another hash
    assert plan.settings.rates == PRESETS["photographs"].base.rates and plan.inferential
    assert plan.seeds == PRESETS["photographs"].usual_seeds and plan.told()["contrasts"]["premise"][:2] == [
        PRESENCE,
        0.03,
    ]


def test_one_pixel_is_the_middle_one_and_is_among_sixteen(read):
    reading, out = read
    tiles = tiles_of(out, reading.photographs, 0, testing=False, frames=4)
    tiles.masks[0, 8, 8] = VOID  # teaches nothing
    one, few = (some_pixels(tiles, count, seed=5) for count in (1, 16))
    assert np.array_equal(one[:, 8, 8], tiles.masks[:, 8, 8]) and (one != VOID).sum() == len(one) - 1
    assert ((few != VOID).sum((1, 2))[1:] == 16).all() and np.array_equal(few[one != VOID], one[one != VOID])
    assert np.array_equal(few[few != VOID], tiles.masks[few != VOID])
    assert np.array_equal(few, some_pixels(tiles, 16, seed=5)) and not np.array_equal(few, some_pixels(tiles, 16, 6))


def counted(right, of, places):
    return {CENTRE: {"right": right, "of": of, "places": places}}


def test_scores_by_hand():
    """Two places: of the first both classes are told, half and all; of the second one of two."""
    counts = counted([[1, 2, 3, 0], [0, 2, 0, 0]], [[1, 2, 3, 1], [1, 2, 0, 1]], [0, 0, 4, 4])
    assert centre_score(counts, None) == pytest.approx([(0.75 + 0.5) / 2])
    assert centre_score(counts, np.array([[2.0, 0.0], [0.0, 1.0]])) == pytest.approx([0.75, (0.5 + 0) / 2])
    ranks = {PRESENCE: {"won": [[[2, 1], [0, 2]], [[0, 0], [0, 0]]], "of": [[[1, 1], [1, 1]], [[0, 0], [0, 0]]]}}
    assert presence_score(ranks, None) == pytest.approx([5 / 8])  # the second class has nothing to rank
    assert presence_score(ranks, np.array([[1.0, 0.0]])) == pytest.approx([1.0])
    pixels = {"pixels": [[[3, 1, 0], [0, 2, 0], [0, 0, 0]], [[1, 0, 0], [0, 0, 0], [0, 0, 0]]]}
    assert miou_score(pixels, None) == pytest.approx([(4 / 5 + 2 / 3) / 2])  # no pixel is of the third class


def test_what_is_counted_is_what_a_score_of_all_tiles_says(read):
    """The area under the curve within places, against every couple of tiles; balanced accuracy, against its words."""
    from study.tiles import count_centre, count_presence

    reading, out = read
    tiles, rng = tiles_of(out, reading.photographs, 0, testing=True), np.random.default_rng(0)
    shares = np.round(rng.random(tiles.presence.shape), 1)  # with ties
    made, areas = count_presence(shares, tiles), []
    for k in range(3):
        points = couples = 0
        for place in range(12):
            here, held = tiles.places == place, tiles.presence[:, k]
            if min((here & held).sum(), (here & ~held).sum()) >= 5:
                for with_it in shares[here & held, k]:
                    without = shares[here & ~held, k]
                    points += (with_it > without).sum() + (with_it == without).sum() / 2
                    couples += len(without)
        areas += [points / couples] if couples else []
    assert presence_score({PRESENCE: made}, None) == pytest.approx([np.mean(areas)])
    answers, by_place = rng.integers(0, 3, len(tiles.centre)), []
    for place in range(12):
        here = tiles.places == place
        kinds = [k for k in range(3) if (tiles.centre[here] == k).sum() >= 5]
        if len(kinds) > 1:
            by_place.append(np.mean([(answers[here & (tiles.centre == k)] == k).mean() for k in kinds]))
    assert centre_score({CENTRE: count_centre(answers, tiles)}, None) == pytest.approx([np.mean(by_place)])


def test_one_supervision_is_trained_and_kept_clip_by_clip(read):
    reading, out = read
    settings = replace(PRESETS["photographs"].base, knobs=reading.photographs, count=4, steps=2, width=2)
    spec = cells_of_photographs(settings, 0)["classifier, centre"]
    run_cells(out, [spec])
    found = result_of(out, spec)
    assert set(found["counts"]) == {CENTRE} and len(found["counts"][CENTRE]["right"]) == 3
    scores = found["tests"]["independent"]
    assert scores["accuracy"] == scores[CENTRE] == pytest.approx(centre_score(found["counts"], None)[0])


@pytest.mark.slow
def test_each_supervision_is_trained_and_scored_in_what_it_answers(read):
    reading, out = read
    settings = replace(PRESETS["photographs"].base, knobs=reading.photographs, count=4, steps=2, width=4)
    cells = cells_of_photographs(settings, 0)
    assert run_cells(out, cells.values()) == len(SUPERVISIONS)
    found = {name: result_of(out, spec) for name, spec in cells.items()}
    answers = {name: set(result["tests"]["independent"]) - {"accuracy"} for name, result in found.items()}
    assert all(answers[name] == {CENTRE, PRESENCE, MIOU} for name in ("masks", "16 pixels", "1 pixel"))
    assert all(
        answers[f"{network}, {what}"] == {what} for network in ("U-Net", "classifier") for what in (CENTRE, PRESENCE)
    )
    assert (
        found["masks"]["parameters"] == found["U-Net, centre"]["parameters"] > found["classifier, centre"]["parameters"]
    )
    assert run_cells(out, cells.values()) == 0


def test_what_a_difference_says_of_films_by_hand():
    """Three films with one clip's worth of difference each, no noise: as sure as it gets; one film against: not."""
    ask = Question("", "", CENTRE, (("a", 1.0), ("b", -1.0)))

    def film(gain, clips=6):
        made = {"a": counted([[5 + gain, 5 + gain]] * clips, [[10, 10]] * clips, [0, 0])}
        return [made | {"b": counted([[5, 5]] * clips, [[10, 10]] * clips, [0, 0])}] * 2

    sure = difference(ask, [film(2), film(1), film(3)], draws=50)
    assert (sure.value, sure.low, sure.high) == pytest.approx((0.2, 0.2, 0.2)) and sure.word == YES
    assert sure.films == pytest.approx((0.2, 0.1, 0.3))
    assert difference(ask, [film(3), film(3), film(-1)], draws=50).word == UNSETTLED  # one film says otherwise
    assert difference(ask, [film(0), film(0), film(1)], draws=50).word == NO


def test_a_redraw_has_the_mean_and_the_variance_of_the_mean():
    """Rao and Wu: of n numbers the mean over redraws varies by s² / n, also for n = 2."""
    rng = np.random.default_rng(0)
    for numbers in (np.array([1.0, 4.0]), np.array([0.0, 1.0, 5.0, 2.0])):
        weights = redraws(rng, len(numbers), 20_000)
        means = weights @ numbers / len(numbers)
        assert means.mean() == pytest.approx(numbers.mean(), abs=0.03)
        assert means.var() == pytest.approx(numbers.var(ddof=1) / len(numbers), rel=0.05)


def drawn_centre(rng, clips, trainings, levels):
    """Right answers of a film, with what clips and trainings have in common; levels: accuracy by cell."""
    of = rng.integers(2, 6, (clips, 6))
    shared, places = rng.normal(0, 0.08, (clips, 1)), [0, 0, 0, 1, 1, 1]
    return [
        {
            name: counted(rng.binomial(of, np.clip(level + shared + noise, 0, 1)).tolist(), of.tolist(), places)
            for name, level in levels.items()
            for noise in [rng.normal(0, 0.03) + rng.normal(0, 0.05, (clips, 1))]
        }
        for _ in range(trainings)
    ]


def drawn_presence(rng, clips, trainings, levels):
    """Ranks of a film's tiles with and without a class, of two classes; levels: area under the curve by cell."""
    member, film = np.eye(clips, dtype=int)[np.repeat(np.arange(clips), 10)], []
    held = rng.random((2, len(member))) < 0.5
    for _ in range(trainings):
        film.append({})
        for name, level in levels.items():
            signal, won, of = 2**0.5 * ndtri(level) + rng.normal(0, 0.08), [], []
            for k in range(2):
                noise = 0.5 * (member @ rng.standard_normal(clips)) + 0.75**0.5 * rng.standard_normal(len(member))
                ranks = signal * held[k] + noise
                with_it, without = member[held[k]], member[~held[k]]
                won.append((with_it.T @ (2 * (ranks[held[k]][:, None] > ranks[~held[k]])) @ without).tolist())
                of.append(np.outer(with_it.sum(0), without.sum(0)).tolist())
            film[-1][name] = {PRESENCE: {"won": won, "of": of}}
    return film


def drawn_results(rng, clips, levels):
    """One training of a film, with all that the page reads; levels: by cell."""
    film = drawn_centre(rng, clips, 1, levels)[0]
    ranks = drawn_presence(rng, clips, 1, {name: level for name, level in levels.items() if "centre" not in name})[0]
    pixels = {"pixels": np.tile(np.array([[6, 2], [2, 6]]), (clips, 1, 1)).tolist()}
    return {
        name: {"counts": film[name] | ranks.get(name, {}) | (pixels if "pixel" in name or name == "masks" else {})}
        for name in levels
    }


@pytest.mark.parametrize(("level", "words"), [(0.9, "yes"), (0.6, "open|no")])
def test_the_page_says_what_was_found_once_all_seeds_are_trained(tmp_path, monkeypatch, level, words):
    """By hand: one pixel 0.9 or 0.6 right, all other arms 0.6; and of a part of the seeds nothing is said."""
    path = PLANS / "photographs.json"
    plan, rng = plan_from(read_json(path), path), np.random.default_rng(0)
    levels = {name: level if name == "1 pixel" else 0.6 for name in SUPERVISIONS}
    results = {str(seed): drawn_results(rng, (6, 10, 20)[seed % 3], levels) for seed in plan.seeds}
    kept = {"plan": read_json(path), "sittings": []}
    monkeypatch.setitem(why.CONTRASTS, "photographs", tmp_path / "photographs.json.gz")
    why.keep(kept | {"results": dict(list(results.items())[:5])}, tmp_path / "photographs.json.gz")
    drawn_scenes = SimpleNamespace(values=lambda *cell: np.array([0.4, 0.5]))
    assert "Planned, and not trained yet" in why_photographs.section(drawn_scenes, None)
    assert "**not tested**" in why_photographs.row() and "Trained so far: 5 of 6" in why_photographs.method()
    why.keep(kept | {"results": results}, tmp_path / "photographs.json.gz")
    text = why_photographs.section(drawn_scenes, drawn_scenes)
    assert re.search(rf"told of the whole tile, the usual classifier \| \*\*({words})\*\* \|", text)
    said = [asked for asked, _, answer, _ in why_photographs.claims() if answer == "**yes**"]
    assert any("the place" in asked for asked in said) == (level == 0.9)
    assert re.search(rf"\*({words})\*+ for [^;]*the place", why_photographs.row())
    assert "Trained so far" not in why_photographs.method()


@pytest.mark.slow
@pytest.mark.parametrize("trainings", [2, 4])
@pytest.mark.parametrize("name", ["premise", "locality", "pixels, class"])
@pytest.mark.parametrize("wrong", [YES, NO])
def test_a_primary_seldom_says_what_is_not_so(name, wrong, trainings):
    """A difference of 0 is not called one, one of the margin is not called smaller, in films of 6, 10 and 20 clips."""
    ask = next(one for one in PRIMARIES if one.name == name)
    truth = ask.margin if wrong == NO else 0.0
    draw = drawn_presence if ask.score == PRESENCE else drawn_centre
    levels = {cell: 0.6 for cell, _ in ask.factors}
    levels[ask.factors[0][0]] += truth / ask.factors[0][1]
    rng, words = np.random.default_rng(0), []
    for study in range(STUDIES):
        made = difference(ask, [draw(rng, clips, trainings, levels) for clips in (6, 10, 20)], draws=200, seed=study)
        words.append(made.word)
    assert words.count(wrong) / STUDIES <= BOUND


@pytest.mark.slow
@pytest.mark.parametrize("name", ["masks", "1 pixel", "classifier, centre", "classifier, presence"])
def test_labels_that_mean_nothing_teach_nothing(read, name):
    """Trained on other tiles' masks, an arm is at chance: area 0.5; balanced accuracy that of one answer a place."""
    from study.films import scores_of
    from study.tiles import counts_on, taught

    reading, out = read
    settings = replace(PRESETS["photographs"].base, knobs=reading.photographs, count=30, steps=150, width=4)
    spec, scores = cells_of_photographs(settings, 0)[name], []
    for seed in range(4):
        tiles = tiles_of(out, reading.photographs, seed, testing=False, frames=30)
        if spec.pixels:
            tiles = tiles._replace(masks=some_pixels(tiles, spec.pixels, seed))
        order = np.random.default_rng(seed).permutation(len(tiles.images))
        muddled = tiles._replace(masks=tiles.masks[order], centre=tiles.centre[order], presence=tiles.presence[order])
        model, _ = taught(replace(spec, seed=seed), muddled)
        counts = counts_on(spec.decision, model, tiles_of(out, reading.photographs, seed, testing=True))
        scores.append({what: score for what, score in scores_of(counts).items() if what != MIOU})
        if CENTRE in counts:
            places = counts[CENTRE]["places"]
            chance = np.mean([1 / places.count(place) for place in set(places)])
            scores[-1][CENTRE] += 0.5 - chance
    assert all(0.4 < np.mean([one[what] for one in scores]) < 0.6 for what in scores[0])
