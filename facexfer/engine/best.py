"""Which network of a run is the best by a validation metric, and when to stop looking for a better one."""

import re
from collections.abc import Mapping
from typing import Any

from facexfer.errors import InputError
from facexfer.recipe import Recipe


class BestMetric:
    """Watch TAR at one FAR of the recipe's first pairs, on the validation identities.

    Args:
        recipe: The run; without ``evaluation.best_far`` nothing is watched.

    Raises:
        InputError: If the FAR is not measured, nothing is watched that patience could wait for, what is watched is not
            what the run ends with, or the validation split is a test split: a network that was chosen by its test
            metrics has none.
    """

    def __init__(self, recipe: Recipe) -> None:
        settings = recipe.evaluation
        if settings.patience is not None and settings.best_far is None:
            raise InputError("evaluation.patience: expected evaluation.best_far with it, got none; say what to watch")
        if settings.best_far is not None and settings.best_far not in settings.fars:
            raise InputError(
                f"evaluation.best_far: expected one of evaluation.fars {list(settings.fars)}, got "
                f"{settings.best_far:g}; add it there"
            )
        # Wherever it stands in the name, but for the two words that end alike.
        named_test = re.search(r"(?<!la)(?<!con)test", recipe.data.val_split.lower())
        is_test = recipe.data.folds is None and named_test is not None
        if settings.best_far is not None and recipe.data.search_identities == 0 and is_test:
            raise InputError(
                f"evaluation.best_far: expected a validation split to choose by, got data.val_split = "
                f"'{recipe.data.val_split}'; name another split, or hold out training identities with "
                "data.search_identities"
            )
        at_the_end = {
            "optimizer.source_share": recipe.optimizer.source_share > 0,
            "optimizer.final_batchnorm": recipe.optimizer.final_batchnorm,
        }
        if settings.best_far is not None and any(at_the_end.values()):
            raise InputError(
                "evaluation.best_far: expected networks on the way that are like the last one, got "
                f"{' and '.join(key for key, is_set in at_the_end.items() if is_set)}, which changes that one alone; "
                "leave one of the two out"
            )
        self.name = None if settings.best_far is None else f"{settings.pairs[0].name}/tar@{settings.best_far:g}"
        self._patience = settings.patience
        self._value: float | None = None
        self._step = 0
        self._worse = 0

    @property
    def step(self) -> int:
        """The step whose network is the best so far."""
        return self._step

    @property
    def is_exhausted(self) -> bool:
        """Whether there were as many evaluations without a rise as the recipe waits for."""
        return self._patience is not None and self._worse >= self._patience

    def start_stage(self) -> None:
        """Reset the patience."""
        self._worse = 0

    def see(self, step: int, figures: Mapping[str, float | None]) -> bool:
        """Look at an evaluation.

        Args:
            step: The run's step.
            figures: By name.

        Returns:
            Whether it is better than all before; of equal ones the first stays.
        """
        figure = None if self.name is None else figures.get(self.name)
        if figure is None:
            return False
        if self._value is not None and figure <= self._value:
            self._worse += 1
            return False
        self._value, self._step, self._worse = figure, step, 0
        return True

    def state(self) -> dict[str, Any]:
        """What a checkpoint and the result hold."""
        return {"figure": self.name, "value": self._value, "step": self._step, "worse": self._worse}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self._value, self._step, self._worse = state["value"], state["step"], state["worse"]
