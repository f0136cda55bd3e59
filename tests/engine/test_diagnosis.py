"""Metrics that look wrong are reported, others are not."""

import pytest

from facexfer.backbones import create_backbone
from facexfer.engine.diagnosis import (
    Diagnosis,
    check_batchnorm,
    compare_with_untouched,
    warn_of_idle_batchnorm,
    warn_of_idle_head,
    warn_of_small_batches,
)
from facexfer.errors import InputError
from facexfer.recipe import read_recipe
from facexfer.transfer.methods import create


def warnings_of(*losses: tuple[float, float], stage: str = "ast", part: str = "spatial") -> list[str]:
    diagnosis = Diagnosis(255)
    said = []
    for classification, alignment in losses:
        said += diagnosis.see({"stage": stage, "losses": {"classification": classification, part: alignment}})
    return said + diagnosis.end_stage()


def test_a_run_that_goes_well_is_left_in_peace() -> None:
    assert warnings_of((8.0, 0.02), (3.0, 0.2), (0.1, 0.4)) == []


def test_an_exploding_alignment_is_said_once_with_its_cure() -> None:
    (said,) = warnings_of((2.0, 3.0), (0.5, 80.0), (0.4, 130.0))
    assert "'spatial' has grown from 3 to 80 in stage 'ast'" in said
    assert "alpha" in said
    assert "learning_rate" in said


def test_an_alignment_that_grows_under_a_larger_classification_is_no_explosion() -> None:
    assert warnings_of((20.0, 0.01), (12.0, 0.9)) == []


def test_a_head_that_does_not_learn_is_said_at_the_end_of_the_stage() -> None:
    (said,) = warnings_of((20.0, 0.1), (19.9, 0.1))
    assert "the head does not learn" in said
    assert "from 20 to 19.9" in said


def test_a_single_record_does_not_tell_whether_a_head_learns() -> None:
    assert warnings_of((20.0, 0.1)) == []
    diagnosis = Diagnosis(255)
    for stage in ("ast", "act"):
        assert diagnosis.see({"stage": stage, "losses": {"classification": 9.0}}) == []
    assert diagnosis.end_stage() == []


def test_a_loss_on_test_images_is_lost_only_far_beyond_a_guess() -> None:
    diagnosis = Diagnosis(2)
    diagnosis.see({"stage": "fine_tune", "losses": {"classification": 0.7}})
    lost = [diagnosis.is_lost_on_test_images(loss) for loss in (None, 0.3, 2.5, 6.9e8, float("nan"))]
    assert lost == [False, False, False, True, True]


def test_a_classification_that_has_not_fallen_is_no_lower_than_the_runs_first() -> None:
    diagnosis = Diagnosis(6)
    states = []
    for loss in (30.7, 45.9, 30.6, 40.7):
        diagnosis.see({"stage": "fine_tune", "losses": {"classification": loss}})
        states.append(diagnosis.classification_has_not_fallen)
    assert states == [True, True, False, True]
    without = Diagnosis(6)
    without.see({"stage": "distil", "losses": {"companion": 3.0}})
    assert not without.classification_has_not_fallen


def test_the_next_stage_starts_afresh() -> None:
    diagnosis = Diagnosis(255)
    for _ in range(2):
        assert diagnosis.see({"stage": "ast", "losses": {"classification": 9.0}}) == []
    assert diagnosis.see({"step": 3, "figures": {}}) == []
    assert len(diagnosis.see({"stage": "act", "losses": {"classification": 9.0, "channel": 50.0}})) == 1
    assert diagnosis.see({"stage": "act", "losses": {"classification": 1.0, "channel": 60.0}}) == []


def test_a_run_is_wrong_for_as_long_as_a_part_outweighs_the_classification() -> None:
    diagnosis = Diagnosis(255)
    states = []
    for channel in (1.4, 697.0, 900.0, 2.0):
        diagnosis.see({"stage": "act", "losses": {"classification": 0.3, "channel": channel}})
        states.append(diagnosis.is_wrong)
    assert states == [False, True, True, False]
    assert diagnosis.symptoms() == "the loss part 'channel' has grown from 1.4 to 900 in stage 'act'"


def test_a_bounded_part_is_wrong_at_chance_and_not_where_runs_start() -> None:
    """CSD's distance to the companion cannot grow tenfold: it starts at 0.3 to 0.6 of its weight and ends at 2."""
    diagnosis = Diagnosis(255, create("csd"))
    states = []
    for companion, maps in ((12.0, 50.0), (18.5, 150.0), (19.9, 40.0), (8.0, 195.0), (7.0, 30.0)):
        assert diagnosis.see({"stage": "distil", "losses": {"companion": companion, "maps": maps}}) == []
        states.append(diagnosis.is_wrong)
    assert states == [False, False, True, True, False]
    diagnosis.see({"stage": "distil", "losses": {"companion": 19.9, "maps": 30.0}})
    assert diagnosis.symptoms() == "the loss part 'companion' is 19.9, no better than chance"


@pytest.mark.parametrize("name", ["csd", "dsbn", "pdt", "caim", "xedgeface"])
def test_every_term_of_one_minus_a_cosine_has_its_level_of_chance(name: str) -> None:
    options = {"weight": 20.0} if name == "dsbn" else {}
    for stage in create(name, **options):
        for term in stage.terms:
            diagnosis = Diagnosis(255, [stage])
            for loss, is_wrong in ((0.6, False), (1.0, True)):
                diagnosis.see({"stage": stage.name, "losses": {term.name: loss * term.alpha}})
                assert diagnosis.is_wrong == is_wrong


def test_a_classification_far_above_a_guess_is_lost_and_one_that_only_rises_is_not() -> None:
    diagnosis = Diagnosis(255)
    states = []
    for loss in (0.2, 6.0, 8.4, 1.0):
        diagnosis.see({"stage": "", "losses": {"classification": loss}})
        states.append(diagnosis.classification_is_lost)
    assert states == [False, False, True, False]


def test_figures_behind_the_source_are_listed() -> None:
    untouched = {"nir/tar@0.01": 0.9, "vis/tar@0.01": 0.99, "nir/tar@1e-06": None}
    (said,) = compare_with_untouched({"nir/tar@0.01": 0.95, "vis/tar@0.01": 0.95, "nir/tar@1e-06": None}, untouched)
    assert "vis/tar@0.01 95.0 % (untouched 99.0 %)" in said
    assert "nir" not in said
    assert compare_with_untouched({"nir/tar@0.01": 0.896}, untouched) == []
    assert compare_with_untouched({"nir/tar@0.01": 0.1}, {}) == []


def test_settings_of_a_head_that_classifies_nothing_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_DEMO", ".")
    recipe = read_recipe("demo-csd", ["head.margin=0.3", "head.scale=32"])
    (said,) = warn_of_idle_head(recipe, create("csd"))
    assert said == "csd has no classification loss here, so that head.scale and head.margin can change nothing"
    (said,) = warn_of_idle_head(recipe, create("csd"), is_closed=True)
    assert said.endswith("so that head.margin can change nothing")
    assert warn_of_idle_head(recipe, create("csd", identity_weight=1.0)) == []
    other = read_recipe("demo-csd", ["head.name=cosface", "head.start=companions"])
    (said,) = warn_of_idle_head(other, create("csd"))
    assert said == "csd has no classification loss here, so that head.name and head.start can change nothing"
    assert warn_of_idle_head(read_recipe("demo-csd"), create("csd")) == []


def test_settings_of_batchnorm_are_idle_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEXFER_SHARED", "shared")
    settings = read_recipe("nirsim-csd-unlabelled").optimizer
    (line,) = warn_of_idle_batchnorm(create_backbone("edgeface_xxs"), settings)
    assert line == "edgeface_xxs has no BatchNorm, so that optimizer.final_batchnorm can change nothing"
    assert warn_of_idle_batchnorm(create_backbone("mobilefacenet_slim"), settings) == []
    assert warn_of_idle_batchnorm(create_backbone("edgeface_xxs"), read_recipe("nirsim-csd-pairs").optimizer) == []


@pytest.mark.parametrize(
    ("method", "name", "learns"),
    [
        ("l2", "mobilefacenet_slim", True),
        ("xedgeface", "mobilefacenet_slim", True),
        ("l2_fe", "mobilefacenet_slim", False),
        ("adabn", "mobilefacenet_slim", False),
        ("pdt", "pdt:mobilefacenet_slim", False),
        ("caim", "caim:mobilefacenet_slim", False),
    ],
)
def test_small_batches_matter_only_to_batchnorm_that_learns_from_them(
    method: str, name: str, learns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEXFER_SHARED", "shared")
    settings, stages = read_recipe("nirsim-l2").optimizer, create(method)
    network = create_backbone(name)
    modes = [module.training for module in network.modules()]
    assert len(warn_of_small_batches(network, settings, stages, 8)) == learns
    assert warn_of_small_batches(network, settings, stages, 16) == []
    synced = settings.model_copy(update={"sync_batchnorm": True})
    said = [warn_of_small_batches(network, synced, stages, 8, ranks) for ranks in (1, 2)]
    assert [len(each) for each in said] == [learns, 0]
    if learns:
        with pytest.raises(InputError, match="expected at least two images at a time for a network with BatchNorm"):
            check_batchnorm(network, settings, stages, 1, 1)
    else:
        check_batchnorm(network, settings, stages, 1, 1)
    assert [module.training for module in network.modules()] == modes
