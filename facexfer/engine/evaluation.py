"""When a run's network is measured, what is kept of it, and the result."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from safetensors.torch import load_file

from facexfer.backbones.parts.info import BackboneModule
from facexfer.engine.run_log import RunLog
from facexfer.engine.setup import Setup
from facexfer.engine.stage import start_from_class_means
from facexfer.engine.verdict import TEST_LOSS, AccuracyFigure, SourceFigure, Start
from facexfer.heads import Head
from facexfer.runs.folder import load_backbone_file
from facexfer.runtime import describe_environment
from facexfer.transfer.stages import classifies


class Evaluation:
    """Measures a run's networks and writes down what comes of it.

    Args:
        setup: The run.
        steps: Of the whole run.
        log: Where metrics go.
    """

    def __init__(self, setup: Setup, steps: int, log: RunLog) -> None:
        self._setup, self._log, self._steps = setup, log, steps
        every = setup.recipe.evaluation.every_epochs * setup.batches.steps_per_epoch
        self._every = max(1, round(every))
        self._compare_with([])
        self.is_behind = False

    def _compare_with(self, starts: Sequence[Start]) -> None:
        task = self._setup.task
        self._source = SourceFigure(self._setup.recipe.evaluation, starts)
        self._accuracy = AccuracyFigure(len(task.classes), len(task.test_set) if task.test_set else 0, starts)

    def start_from(self, untouched: BackboneModule | None, measured: dict[str, float | None], start_head: Head) -> None:
        """Say what the run starts from, which its networks are compared with.

        Args:
            untouched: The source as it came, where its BatchNorm statistics were measured again before training.
            measured: The untouched source's figures; empty, they are measured once they are needed.
            start_head: The head as it starts.
        """
        setup = self._setup
        kept = copy.deepcopy(start_head) if setup.task.is_closed else None

        def of(network: BackboneModule) -> dict[str, float | None]:
            if kept is not None and setup.recipe.head.start == "class_means":
                start_from_class_means(kept, network, setup.task)
            return setup.task.evaluate(network, kept, setup.recipe.evaluation.pairs[:1])

        starts = [Start("the network that it started from", lambda: of(setup.source))]
        if untouched is not None:
            as_it_came = Start("the untouched source", lambda: measured or of(untouched))
            # Without steps the source is what is measured.
            starts = [*starts, as_it_came] if setup.stages else [as_it_came]
        self._compare_with(starts)

    def is_due(self, step: int) -> bool:
        """Whether the network is measured after a step; it always is after the last one."""
        return step % self._every == 0 and step != self._steps

    def of_untouched(self) -> dict[str, float | None]:
        """Measure the source as it is, where the recipe asks for it."""
        setup = self._setup
        if not setup.recipe.evaluation.untouched:
            return {}
        self._log.say("measuring the untouched source")
        figures = setup.task.evaluate(setup.source, None, setup.recipe.evaluation.pairs)
        self._log.figures(0, figures)
        return figures

    def on_the_way(self, step: int, backbone: BackboneModule, head: Head) -> None:
        """Measure what is trained, and keep it if it is the best so far."""
        setup = self._setup
        self._fit_head(head, backbone)
        figures = setup.task.evaluate(backbone, head, setup.recipe.evaluation.pairs[:1])
        self._log.figures(step, figures)
        self.is_behind = self._shortfall(figures) != "" or self._is_lost(figures)
        if setup.best.see(step, figures) and setup.fabric.is_global_zero:
            setup.run.save_best(backbone, head, setup.recipe, setup.task.classes)

    def finish(
        self, step: int, trained_steps: int, chosen: BackboneModule, head: Head, untouched: dict[str, float | None]
    ) -> dict[str, Any]:
        """Measure the trained network, or the best one on the way, and save it with the result.

        Args:
            step: The last.
            trained_steps: Steps without those that patience has skipped.
            chosen: The network at the end.
            head: Its head; the best network's weights go into it.
            untouched: Figures of the untouched source.

        Returns:
            The result, as in ``result.json``; ``failure`` says why the run failed, if it did.
        """
        setup, log, best = self._setup, self._log, self._setup.best
        pairs = setup.recipe.evaluation.pairs
        log.say("measuring the trained network")
        self._fit_head(head, chosen)
        figures = setup.task.evaluate(chosen, head, pairs)
        log.figures(step, figures)
        if best.name and not best.see(step, figures) and 0 < best.step < step:
            log.say(f"the best network by {best.name} is that of step {best.step}; measuring that")
            chosen = load_backbone_file(setup.run.best_file).to(setup.fabric.device)
            head.load_state_dict(load_file(setup.run.best_head_file))
            figures = setup.task.evaluate(chosen, head, pairs)
            log.figures(best.step, figures)
        failure = self._failure(figures)
        log.end(step, figures, untouched)
        result = {
            "method": setup.recipe.method.name,
            "seed": setup.recipe.seed,
            "steps": trained_steps,
            "failure": failure,
            "figures": figures,
            "untouched": untouched,
            **({"best": best.state()} if best.name else {}),
            "details": setup.task.details(chosen, head) if setup.task.details else {},
            "data": setup.task.fingerprints,
            "environment": describe_environment(chosen),
        }
        if setup.fabric.is_global_zero:
            setup.run.save_model(chosen, setup.recipe)
            setup.run.save_head(head, setup.recipe, setup.task.classes)
            if failure is not None:
                setup.run.save_failure(failure)
            setup.run.save_result(result)
        setup.fabric.barrier()
        return result

    def _fit_head(self, head: Head, backbone: BackboneModule) -> None:
        """Where nothing trains the head of a classifier, let it classify by the class means of the network measured.

        Its start is that of the source, whose embeddings training has left; companions are where it has led to.
        """
        setup = self._setup
        if setup.task.is_closed and setup.recipe.head.start == "class_means" and not classifies(setup.stages):
            start_from_class_means(head, backbone, setup.task)

    def _shortfall(self, figures: Mapping[str, float | None]) -> str:
        """How a network is far below one that the run started from, in TAR or, of a classifier, in accuracy."""
        return self._source.shortfall(figures) or self._accuracy.shortfall(figures)

    def _is_lost(self, figures: Mapping[str, float | None]) -> bool:
        """Whether a classifier does far worse than a guess: on its training images, on others, or by its accuracy."""
        log = self._log
        return self._setup.task.is_closed and (
            log.classification_is_lost(figures.get(TEST_LOSS))
            or (log.classification_has_not_fallen and self._accuracy.is_lost(figures))
        )

    def _failure(self, figures: dict[str, float | None]) -> str | None:
        """Why the run failed, or None: a figure far below the source's, or a loss far above that of guessing."""
        shortfall = self._shortfall(figures)
        if not shortfall and not self._is_lost(figures):
            return None
        test_loss = figures.get(TEST_LOSS)
        on_test = "" if test_loss is None else f"the classification loss on test images is {test_loss:.3g}"
        symptoms = "; ".join(filter(None, (shortfall, self._log.symptoms() or on_test)))
        if not self._setup.stages:
            return (
                f"the new BatchNorm statistics broke the network: {symptoms}; check the training images, raise "
                "source.variance_floor, or take a method that trains"
            )
        return (
            f"training broke the network: {symptoms}; lower optimizer.learning_rate, change the method's alpha or set "
            "optimizer.clip_norm"
        )
