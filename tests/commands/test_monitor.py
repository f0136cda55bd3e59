"""A bundle of generated faces, and logs of other people at the same camera and at a worse one."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import run, status_of

import facexfer
from facexfer.commands.generated_faces import copy_source
from facexfer.data.generated.demo_set import draw_shots, write_demo_set
from facexfer.deploy.contract import read_contract
from facexfer.deploy.matching import Threshold
from facexfer.deploy.monitor import Monitored
from facexfer.deploy.monitor_json import monitored_to_json
from facexfer.errors import InputError
from facexfer.eval.intervals import identity_interval
from facexfer.eval.shift import shares_by_group
from facexfer.reports.monitor_page import write_monitor_page

PEOPLE, SHOTS = 24, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a network with the statistics of NIR pictures, its bundle, and logs."""
    folder = tmp_path_factory.mktemp("monitor")
    manifest = write_demo_set(folder / "data", train=4, val=20, images=SHOTS, seed=0, modalities=("nir",))
    copy_source(folder / "source.safetensors")
    recipe = {
        "source": {
            "backbone": "mobilefacenet_slim", "weights": str(folder / "source.safetensors"),
            "recalibrate_batchnorm": True,
        },
        "data": {"manifest": str(manifest), "augmentation": "none"},
        "method": {"name": "adabn"},
        "optimizer": {"epochs": 0},
        "evaluation": {"fars": [0.1, 0.01], "untouched": False},
        "runtime": {"accelerator": "cpu"},
    }  # fmt: skip
    facexfer.train(recipe, folder / "run")
    run("export", folder / "run", "--out", folder / "bundle", "--opset", "17", "--max-loss", "1", "--far", "0.1")
    model = facexfer.load(folder / "bundle" / "model.onnx")
    shots = [shot["nir"] for number in range(PEOPLE) for shot in draw_shots(1, number, SHOTS, ("nir",))]
    write_log(folder / "fine.csv", model.embed(np.stack(shots)))
    write_log(folder / "blurred.csv", model.embed(np.stack([cv2.GaussianBlur(shot, (0, 0), 4) // 3 for shot in shots])),
              model.embed(np.stack(shots)))  # fmt: skip
    return folder


def write_log(path: Path, probes, enrolled=None) -> None:
    """Write the scores of every two shots of a person, the first as it was enrolled."""
    enrolled = probes if enrolled is None else enrolled
    threshold = read_contract(path.parent / "bundle").thresholds[0.1]
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (enrolled, probes)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "user", "score", "accepted"])
        for number, (user, first, second) in enumerate(
            (user, SHOTS * user + i, SHOTS * user + j) for i in range(SHOTS) for j in range(i) for user in range(PEOPLE)
        ):
            score = float(unit[0][first] @ unit[1][second])
            writer.writerow([3600 * number, f"u{user}", f"{score:.6f}", int(score > threshold)])


@pytest.mark.slow
def test_the_same_camera_is_no_alarm(folder: Path) -> None:
    said = run("monitor", folder / "fine.csv", "--bundle", folder / "bundle", "--json", folder / "fine.json",
               "--report", folder / "page")  # fmt: skip
    assert said.splitlines()[-1] == "no alarm"
    assert "with at most 1 % impostors" in said
    found = json.loads((folder / "fine.json").read_text())
    assert (found["alarm"], found["users"], found["attempts"]) == (False, PEOPLE, PEOPLE * SHOTS * (SHOTS - 1) // 2)
    assert found == json.loads((folder / "page" / "report.json").read_text())
    assert len(found["windows"]) == found["attempts"] // 30
    assert sum(window["attempts"] for window in found["windows"]) == found["attempts"]
    page = (folder / "page" / "report.html").read_text()
    for words in ("Nothing has moved beyond what chance explains", "accept rate", "Over time", "Bonferroni"):
        assert words in page
    assert page.count("<svg") == 2


def draw_people(generator: np.random.Generator, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw 20 scores of each of many people, who differ."""
    means = generator.normal(0.62, 0.06, people)
    return np.repeat(np.arange(people), 20), (means[:, None] + generator.normal(0, 0.07, (people, 20))).ravel()


def write_measured(folder: Path, users: np.ndarray, scores: np.ndarray, threshold: float = 0.4511) -> None:
    """Write what `monitor` reads of a bundle."""
    hits = scores > threshold
    cuts = np.quantile(scores[hits], np.linspace(0.1, 0.9, 9))
    above, covariance, identities = shares_by_group(scores[hits][:, None] > cuts, users[hits])
    bounds = identity_interval(np.bincount(users, weights=hits), np.bincount(users).astype(float))
    rates = {"genuine_rate": float(hits.mean()), "genuine_ci95": list(bounds), "impostor_rate": 1e-3}
    shape = {"scores": cuts.tolist(), "above": above.tolist(), "covariance": covariance.tolist()}
    point = {"far": 1e-3, "threshold": threshold, **rates, **shape, "identities": identities}
    known = {"far": 1e-3, "threshold": threshold, "tar": float(hits.mean()), "supported": True}
    content = {"evaluation": {"operating_points": [known]}, "operating_point": known, "scores": {"points": [point]}}
    (folder / "model.json").write_text(json.dumps(content))


def test_rounding_is_no_alarm(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    write_measured(tmp_path, *draw_people(generator, 1500))
    users, scores = draw_people(generator, 1500)

    def logged(decimals: int) -> Monitored:
        rows = [f"{user},{score:.{decimals}f}\n" for user, score in zip(users, scores.clip(-1, 1), strict=True)]
        (tmp_path / "log.csv").write_text("user,score\n" + "".join(rows))
        return facexfer.monitor(tmp_path / "log.csv", tmp_path)

    fine, rounded, coarse = logged(6), logged(2), logged(1)
    assert [found.alarm for found in (fine, rounded, coarse)] == [False] * 3
    assert rounded.accept_rate.observed == pytest.approx(fine.accept_rate.observed, abs=2e-3)
    low, high = rounded.accept_rate.observed_ci95
    assert low < fine.accept_rate.observed_ci95[0] < fine.accept_rate.observed_ci95[1] < high
    assert fine.undecided < rounded.undecided < coarse.undecided
    assert rounded.shape.distance == pytest.approx(fine.shape.distance, abs=2e-3)
    assert (coarse.accept_rate.p_value, coarse.shape) == (1, None)
    assert "rounded too far" in coarse.remarks[0]
    assert f"{coarse.undecided:,} of 30,000 scores cannot be told from the threshold" in coarse.remarks[1]


def monitored(folder: Path, written: str | list[str], users: int = 30, heading: str = "user,score") -> Monitored:
    """Monitor a log of six attempts by each user, with one score or with these in turns."""
    scores = [written] if isinstance(written, str) else written
    rows = [f"{number % users},{scores[number % len(scores)]}\n" for number in range(6 * users)]
    (folder / "log.csv").write_text(f"{heading}\n" + "".join(rows))
    return facexfer.monitor(folder / "log.csv", folder)


@pytest.mark.parametrize("written", ["0", "-0", "0.0", "-0.5", "0.00", "0.0000", "0.4", "0.45", "1.0", "0.62"])
def test_a_device_that_logs_one_score_is_an_alarm(written: str, tmp_path: Path) -> None:
    write_measured(tmp_path, *draw_people(np.random.default_rng(5), 300))
    found = monitored(tmp_path, written)
    assert found.reasons[0].startswith(f"180 of 180 scores are {float(written):zg}: the device is stuck")
    # One attempt of twenty may differ.
    assert monitored(tmp_path, [written] * 29 + ["0.7"]).alarm
    assert not any("stuck" in reason for reason in monitored(tmp_path, [written] * 9 + ["0.7"]).reasons)


def test_one_score_that_a_working_device_writes_too_is_neither_an_alarm_nor_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_measured(tmp_path, *draw_people(np.random.default_rng(5), 300))
    with pytest.raises(InputError, match="expected scores that differ, got 1 in nearly all of 180 attempts, which a"):
        monitored(tmp_path, "1")
    assert status_of(monkeypatch, ["monitor", tmp_path / "log.csv", "--bundle", tmp_path]) == 2
    assert "no alarm" not in capsys.readouterr().out
    with_zeros = monitored(tmp_path, ["1"] * 9 + ["0"])
    assert (with_zeros.alarm, with_zeros.accept_rate.p_value) == (False, 1)


@pytest.mark.parametrize("written", ["0.0", "-0.5"])
def test_certain_rejects_are_an_alarm_whatever_the_digits(written: str, tmp_path: Path) -> None:
    write_measured(tmp_path, *draw_people(np.random.default_rng(5), 300))
    found = monitored(tmp_path, [written, "0.6", "0.2"])
    assert found.reasons[0].startswith("accept rate 33.3 % (95 % CI by user")
    assert (len(found.accepted), found.undecided) == (60, 0)


def test_no_accepted_score_is_made_up(tmp_path: Path) -> None:
    write_measured(tmp_path, *draw_people(np.random.default_rng(5), 300))
    found = monitored(tmp_path, ["0", "1", "0"])
    assert found.accepted.tolist() == [1.0] * 60
    assert found.undecided == 120
    assert found.accept_rate.observed == pytest.approx(2 / 3)
    assert found.accept_rate.observed_ci95[1] == 1
    shown = " ".join(found.remarks)
    assert "rounded too far" in shown
    assert "the accept rate is from 33.3 to 100.0 %; log four decimals" in shown
    assert monitored_to_json(found)["undecided"] == 120
    timed = [f"{hour},{hour % 30},{hour % 3 % 2}\n" for hour in range(180)]
    (tmp_path / "log.csv").write_text("time,user,score\n" + "".join(timed))
    for window in facexfer.monitor(tmp_path / "log.csv", tmp_path).windows:
        assert window.accept_rate == pytest.approx(2 / 3)
        assert window.accept_rate_ci95[0] < 1 / 3
        assert (window.accept_rate_ci95[1], window.mean_accepted) == (1, 1)


def test_what_is_missing_is_counted_in_grammar_and_rounding_is_told_beside_it(tmp_path: Path) -> None:
    write_measured(tmp_path, *draw_people(np.random.default_rng(5), 300))
    one = monitored(tmp_path, ["0.1", "0.8"], users=1).remarks
    assert one[0] == "1 user is too few to test anything; wait for 20"
    assert "rounded too far" in one[1]
    few = monitored(tmp_path, ["0.2000"] * 179 + ["0.8000"])
    assert few.remarks == ("1 accepted score is too few to compare; wait for 20",)
    assert not any("wait" in remark for remark in monitored(tmp_path, ["0.0", "0.2"]).remarks)
    (tmp_path / "log.csv").write_text("user,score,accepted\n1,0.8,0\n")
    found = facexfer.monitor(tmp_path / "log.csv", tmp_path)
    assert found.reasons[0].startswith("1 of 1 decisions is not that of the threshold 0.4511")
    write_monitor_page(tmp_path / "page", found)
    assert "1 attempt by 1 user against" in (tmp_path / "page" / "report.html").read_text()


@pytest.mark.slow
def test_another_camera_is_an_alarm_with_a_reason_and_status_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(monkeypatch, ["monitor", folder / "blurred.csv", "--bundle", folder / "bundle"]) == 1
    said = capsys.readouterr().out
    assert "ALARM: accept" in said
    found = facexfer.monitor(folder / "blurred.csv", folder / "bundle", impostor_share=0)
    assert found.alarm
    assert found.accept_rate.observed < found.accept_rate.expected[0]
    write_monitor_page(folder / "alarm", found)
    assert "Alarm: accept" in (folder / "alarm" / "report.html").read_text()


@pytest.mark.slow
def test_a_score_that_cannot_be_told_from_the_threshold_may_be_rejected(folder: Path, tmp_path: Path) -> None:
    threshold = read_contract(folder / "bundle").thresholds[0.1]
    line = Threshold(threshold, 0.1)
    scores = [threshold, threshold + 7e-7, threshold + 3e-6, threshold - 3e-6]
    decided = [line.accepts(score) for score in scores]
    assert decided == [False, False, True, False]
    rows = [f"{score:.9f},{int(said)}\n" for score, said in zip(scores, decided, strict=True)]
    (tmp_path / "log.csv").write_text("score,accepted\n" + "".join(rows))
    assert facexfer.monitor(tmp_path / "log.csv", folder / "bundle").reasons == ()
    (tmp_path / "log.csv").write_text("score,accepted\n" + rows[0] + rows[2].replace(",1", ",0"))
    assert "1 of 2 decisions" in facexfer.monitor(tmp_path / "log.csv", folder / "bundle").reasons[0]


@pytest.mark.slow
def test_a_log_that_says_less(folder: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader((folder / "fine.csv").read_text().splitlines()))
    (tmp_path / "scores.csv").write_text("score\n" + "".join(f"{row['score']}\n" for row in rows))
    alone = facexfer.monitor(tmp_path / "scores.csv", folder / "bundle")
    assert (alone.users, alone.trend, alone.windows) == (None, None, ())
    assert "no column user" in alone.remarks[0]
    (tmp_path / "low.csv").write_text("score\n" + "0.01\n" * 400)
    low = facexfer.monitor(tmp_path / "low.csv", folder / "bundle")
    assert "400 of 400 scores are 0.01" in low.reasons[0]
    assert "95 % CI by attempt" in low.reasons[1]
    (tmp_path / "short.csv").write_text("score\n0.5\n0.6\n")
    assert "2 attempts are too few" in facexfer.monitor(tmp_path / "short.csv", folder / "bundle").remarks[1]
    few = [row for row in rows if row["user"] in {"u0", "u1"}]
    (tmp_path / "few.csv").write_text("score,user\n" + "".join(f"{row['score']},{row['user']}\n" for row in few))
    said = run("monitor", tmp_path / "few.csv", "--bundle", folder / "bundle")
    assert "2 users are too few to test anything" in said
    found = facexfer.monitor(tmp_path / "few.csv", folder / "bundle")
    assert (found.accept_rate, found.shape, found.alarm) == (None, None, False)


@pytest.mark.slow
def test_a_device_that_decides_otherwise_is_found(folder: Path) -> None:
    found = facexfer.monitor(folder / "fine.csv", folder / "bundle", far=0.01)
    assert "decisions are not those of the threshold" in found.reasons[0]


@pytest.mark.slow
def test_bad_input_is_one_line_and_status_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["monitor", folder / "fine.csv", "--bundle"]
    content = json.loads((folder / "bundle" / "model.json").read_text())
    del content["scores"]
    (tmp_path / "model.json").write_text(json.dumps(content))
    for changed, message in (
        ([*words, tmp_path], "comes from an older version and has none; export its run again"),
        ([*words, folder / "bundle", "--far", "0.3"], "expected a FAR that the bundle has a threshold for (0.1, 0.01)"),
        ([*words, folder / "bundle", "--impostor-share", "2"], "expected an impostor share from 0 to below 1, got 2"),
        ([*words, folder / "bundle", "--json", tmp_path / "a/b.json"], "expected an existing folder"),
        ([*words, folder / "bundle", "--report", folder / "fine.csv"], "expected a folder after --report, got a file"),
        (["monitor", tmp_path / "absent.csv", "--bundle", folder / "bundle"], "expected a readable log"),
    ):
        assert status_of(monkeypatch, changed) == 2
        assert message in capsys.readouterr().err.splitlines()[-1]
    content["scores"] = {"points": [{"far": 0.1}]}
    (tmp_path / "model.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"damaged one: scores\.points\[0\]\.threshold: expected a value, got none"):
        facexfer.monitor(folder / "fine.csv", tmp_path)


@pytest.mark.slow
def test_a_bundle_is_neither_changed_nor_guessed_at(folder: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(folder / "bundle", bundle)
    words = ["monitor", folder / "fine.csv", "--bundle", bundle]
    for option, place in (("--json", bundle / "model.onnx"), ("--report", bundle / "report"), ("--report", bundle)):
        with pytest.raises(InputError, match=f"expected a new place after {option}, got a part of the bundle"):
            run(*words, option, place)
    with pytest.raises(InputError, match="expected a new place after --json"):
        run("evaluate", "--model", bundle, "--manifest", "images.csv", "--json", bundle / "README.md")
    content = json.loads((bundle / "model.json").read_text())
    del content["recipe"], content["pairs"]
    (bundle / "model.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"expected a bundle with model\.json, got one without recipe, pairs"):
        run("verify-bundle", bundle)
    shutil.copyfile(folder / "bundle" / "model.json", bundle / "model.json")
    (bundle / "model.onnx").unlink()
    with pytest.raises(InputError, match=r"expected a bundle with model\.onnx, found none; copy it again"):
        run("verify-bundle", bundle)


@pytest.mark.slow
def test_the_summary_is_that_of_the_pairs_and_the_bundle_is_verified(folder: Path) -> None:
    content = read_contract(folder / "bundle").content
    assert [point["far"] for point in content["scores"]["points"]] == [0.1, 0.01]
    for point, known in zip(content["scores"]["points"], content["evaluation"]["operating_points"], strict=True):
        assert point["threshold"] == known["threshold"]
        assert point["genuine_rate"] == known["tar"]
        assert min(point["scores"]) >= point["threshold"]
        assert point["above"] == pytest.approx(np.linspace(0.9, 0.1, 9), abs=0.02)
        assert np.linalg.eigvalsh(np.array(point["covariance"])).min() > -1e-12
    assert "as it was measured" in run("verify-bundle", folder / "bundle")
