"""Export the encoder as ONNX, quantise it to int8, and write the model folder that serving reads.

Weights are int8, activations are not: onnxruntime's dynamic quantisation takes the scale of the activations from the
whole batch, so that a text's verdict would depend on what is judged beside it, and its static one moved probabilities
by up to .05 and was no faster at this size.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from analyzers.bert.canonical import CANONICAL_VERSION, FEATURES, SOURCES
from analyzers.bert.manifest import FORMAT, MANIFEST, Manifest, stamped
from analyzers.learning.encoder import Encoder
from analyzers.learning.texts import LABELS
from analyzers.learning.tokens import CLS, PAD, SEP, STRIDE, WINDOW

#: Operator set of ONNX.
OPSET: Final = 17
INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids", "features")


class Calibration(msgspec.Struct, frozen=True):
    """What turns logits into probabilities, a label each: see ``analyzers.bert.manifest.Manifest``."""

    temperatures: tuple[float, ...] = (1.0,) * len(LABELS)
    biases: tuple[float, ...] = (0.0,) * len(LABELS)
    length_calibration: tuple[float, ...] = (0.0,) * len(LABELS)
    thresholds: tuple[float, ...] = (0.5,) * len(LABELS)
    alert: tuple[float, ...] = ()
    screen_weights: tuple[float, ...] = ()


def to_onnx(encoder: Encoder, path: Path) -> None:
    """Write the encoder as ONNX in full precision."""
    shape = encoder.shape
    ids = torch.ones(2, 9, dtype=torch.long)
    example = (ids, ids, torch.zeros_like(ids), torch.zeros(2, shape.features))
    axes = {name: {0: "batch"} | ({1: "length"} if name != "features" else {}) for name in INPUTS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            encoder.cpu().eval(),
            example,
            str(path),
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_axes={**axes, "logits": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def quantise(full: Path, small: Path) -> None:
    """Write a model with its weights as int8, one scale a channel; what is computed with them stays floating-point."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(full))
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[Any] = []
    replaced: set[str] = set()

    def int8(name: str, axis: int) -> tuple[str, str]:
        """Add the int8 form of a weight and its scales along an axis; return their names."""
        if name not in replaced:
            values = numpy_helper.to_array(weights[name])
            scale = np.maximum(np.abs(values).max(axis=1 - axis), 1e-12) / 127
            whole = np.rint(values / (scale[None, :] if axis else scale[:, None])).astype(np.int8)
            graph.initializer.append(numpy_helper.from_array(whole, f"{name}_int8"))
            graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"))
            replaced.add(name)
        return f"{name}_int8", f"{name}_scale"

    for node in graph.node:
        name = node.input[0 if node.op_type == "Gather" else 1] if len(node.input) > 1 else ""
        if node.op_type in ("MatMul", "Gemm") and name in weights:
            axis = 0 if any(one.name == "transB" and one.i for one in node.attribute) else 1
            whole, scale = int8(name, axis)
            nodes.append(helper.make_node("DequantizeLinear", [whole, scale], [f"{name}_float"], axis=axis))
            node.input[1] = f"{name}_float"
            nodes.append(node)
        elif node.op_type == "Gather" and name in weights and len(weights[name].dims) == 2:
            whole, scale = int8(name, 0)
            (out,) = node.output
            nodes.append(helper.make_node("Gather", [whole, node.input[1]], [f"{out}_int8"]))
            nodes.append(helper.make_node("Cast", [f"{out}_int8"], [f"{out}_whole"], to=onnx.TensorProto.FLOAT))
            nodes.append(helper.make_node("Gather", [scale, node.input[1]], [f"{out}_scale"]))
            last = numpy_helper.from_array(np.array([-1], np.int64), f"{out}_axis")
            graph.initializer.append(last)
            nodes.append(helper.make_node("Unsqueeze", [f"{out}_scale", last.name], [f"{out}_scales"]))
            nodes.append(helper.make_node("Mul", [f"{out}_whole", f"{out}_scales"], [out]))
        else:
            nodes.append(node)
    kept = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    for field, values in ((graph.node, nodes), (graph.initializer, kept)):
        copies = [type(value).FromString(value.SerializeToString()) for value in values]
        del field[:]
        field.extend(copies)
    onnx.checker.check_model(model)
    onnx.save(model, str(small))


def write_folder(folder: Path, tokenizer: Tokenizer, calibration: Calibration, others: dict[str, bytes]) -> str:
    """Write tokenizer, other files and manifest beside ``model.onnx``; return the model's version."""
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    for name, content in others.items():
        (folder / name).write_bytes(content)
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    manifest = stamped(
        Manifest(
            format=FORMAT,
            version="",
            labels=LABELS,
            sources=SOURCES,
            features=FEATURES,
            canonical_version=CANONICAL_VERSION,
            max_tokens=WINDOW,
            stride=STRIDE,
            cls=CLS,
            sep=SEP,
            pad=PAD,
            temperatures=calibration.temperatures,
            thresholds=calibration.thresholds,
            sha256=digests,
            biases=calibration.biases,
            length_calibration=calibration.length_calibration,
            alert=calibration.alert,
            commands=True,
            screen_weights=calibration.screen_weights,
        )
    )
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / MANIFEST).write_bytes(encoded + b"\n")
    return manifest.version


def softened(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sigmoid."""
    out: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(values.astype(np.float64), -60, 60)))
    return out
