"""The errors that onnxruntime raises for a file that it cannot read or run."""


def onnx_refusals() -> tuple[type[Exception], ...]:
    """All of onnxruntime's exceptions, which have no base but `Exception`, and what its binding raises itself."""
    # Imported when something fails: a process that looks with YuNet needs no onnxruntime.
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    found = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    return (*found, RuntimeError, ValueError, TypeError)
