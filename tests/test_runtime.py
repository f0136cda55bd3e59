"""Device, precision and ranks: what a machine does not have is one line."""

import pytest

from facexfer import runtime
from facexfer.errors import InputError
from facexfer.recipe import RuntimeSection
from facexfer.runtime import MisconfigurationException, make_fabric


@pytest.mark.parametrize("devices", [0, -1, "abc", "0,1", ""])
def test_devices_that_a_cpu_has_not_are_one_line(devices: int | str) -> None:
    with pytest.raises(InputError, match=f"^expected runtime settings that this machine has, .*devices={devices}, .*$"):
        make_fabric(RuntimeSection(accelerator="cpu", devices=devices))


def test_gpus_that_are_not_there_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise MisconfigurationException("You requested gpu: [0, 7]\n But your machine only has: [0]")

    monkeypatch.setattr(runtime, "Fabric", refuse)
    with pytest.raises(InputError, match=r"devices=0,7, .*: You requested gpu: \[0, 7\] But your machine only has: "):
        make_fabric(RuntimeSection(accelerator="cpu", devices="0,7"))
