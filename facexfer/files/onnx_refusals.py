"""What onnxruntime raises where it will not read or run a file."""


def onnx_refusals() -> tuple[type[Exception], ...]:
    """Give onnxruntime's exceptions about a file; they have no base but `Exception`."""
    # Imported when something fails: a process that looks with YuNet needs no onnxruntime.
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    return (
        errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf, errors.NoSuchFile,
        errors.NotImplemented, errors.RuntimeException,
    )  # fmt: skip
