"""The name that was meant: the same but for case, another house's word for it, or nearly the same."""

from __future__ import annotations

from collections.abc import Iterable

SYNONYMS = {
    "affine": "dense",
    "fc": "dense",
    "fullyconnected": "dense",
    "batchnormalization": "batch_norm",
    "batchnorm1d": "batch_norm",
    "batchnorm2d": "batch_norm",
    "bn": "batch_norm",
    "layernormalization": "layer_norm",
    "maxpool": "max_pool2d",
    "maxpooling1d": "max_pool1d",
    "maxpooling2d": "max_pool2d",
    "averagepooling1d": "avg_pool1d",
    "averagepooling2d": "avg_pool2d",
    "globalaveragepooling1d": "global_avg_pool1d",
    "globalaveragepooling2d": "global_avg_pool2d",
    "globalmaxpooling1d": "global_max_pool1d",
    "globalmaxpooling2d": "global_max_pool2d",
    "conv": "conv2d",
    "convolution": "conv2d",
    "convolution2d": "conv2d",
    "concat": "concatenate",
    "swish": "silu",
    "hardswish": "hard_swish",
    "identity": "linear",
    "transpose": "permute",
    "crossentropy": "softmax_cross_entropy",
    "crossentropyloss": "softmax_cross_entropy",
    "categoricalcrossentropy": "softmax_cross_entropy",
    "sparsecategoricalcrossentropy": "softmax_cross_entropy",
    "bce": "binary_cross_entropy",
    "bcewithlogits": "binary_cross_entropy",
    "meansquarederror": "mse",
    "l2loss": "mse",
    "meanabsoluteerror": "mae",
    "l1loss": "mae",
    "xaviernormal": "glorot_normal",
    "xavieruniform": "glorot_uniform",
    "kaimingnormal": "he_normal",
    "kaiminguniform": "he_uniform",
    "neurons": "units",
    "nodes": "units",
    "outfeatures": "units",
    "outputdim": "units",
    "embeddingdim": "units",
    "numembeddings": "tokens",
    "inputdim": "tokens",
    "vocabulary": "tokens",
    "vocabsize": "tokens",
    "channels": "filters",
    "outchannels": "filters",
    "kernelsize": "kernel",
    "poolsize": "size",
    "p": "rate",
    "prob": "rate",
    "bias": "use_bias",
    "eps": "epsilon",
    "lr": "learning_rate",
    "name": "id",
    "source": "from",
    "sources": "from",
    "input": "from",
    "inputs": "from",
    "regularizer": "penalty",
    "kernelregularizer": "penalty",
    "l1": "penalty",
    "l2": "penalty",
    "freeze": "trainable",
    "frozen": "trainable",
    "times": "repeat",
    "labels": "target",
    "label": "target",
    "y": "target",
    "batch": "batch_size",
    "numepochs": "epochs",
    "dataset": "data",
    "gradientclip": "clip_norm",
    "model": "layers",
    "network": "layers",
    "version": "cortex",
    "none": "linear",
    "float": "float32",
    "fp32": "float32",
    "double": "float64",
    "fp64": "float64",
    "half": "float16",
    "fp16": "float16",
    "bf16": "bfloat16",
    "int": "int64",
    "long": "int64",
    "acc": "accuracy",
    "categoricalaccuracy": "accuracy",
    "sparsecategoricalaccuracy": "accuracy",
    "binaryaccuracy": "accuracy",
    "f1score": "f1",
    "rsquared": "r2",
    "r2score": "r2",
    "gamma": "factor",
    "stepsize": "every",
}


def nearest(name: str, names: Iterable[str]) -> str:
    """``Did you mean 'filters'?`` for the name among ``names`` that was meant, or nothing."""
    known = list(names)
    folded = {_fold(n): n for n in known}
    meant = folded.get(_fold(name)) or SYNONYMS.get(_fold(name))
    if meant not in known:
        import difflib

        lowered = {n.lower(): n for n in known}
        close = difflib.get_close_matches(name[:100].lower(), lowered, n=1, cutoff=0.65)
        meant = lowered[close[0]] if close else None
    return f"Did you mean '{meant}'?" if meant else ""


def _fold(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
