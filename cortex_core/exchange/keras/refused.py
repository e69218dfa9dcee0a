"""What is said of classes of Keras that are not imported: why, and what to do."""

from __future__ import annotations

_TEXT = (
    "it works on text or looks words up, which descriptions do not; give the network what it makes of them"
)
_ALONE = "it is only a part of another layer"
_FOREIGN = "it holds a function or a module of another library, whose code is not in the file"
_SOUND = "transforms of sounds are not supported; give the network what it makes of them"
_NUMBERS = "it makes classes of numbers, which descriptions do not; give the network what it makes of them"

REFUSED = {
    **dict.fromkeys(("StringLookup", "IntegerLookup", "TextVectorization"), _TEXT),
    **dict.fromkeys(("Hashing", "HashedCrossing", "CategoryCrossing", "DenseFeatures"), _TEXT),
    **dict.fromkeys(("CategoryEncoding", "Discretization"), _NUMBERS),
    **dict.fromkeys(("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"), _ALONE),
    **dict.fromkeys(("FlaxLayer", "JaxLayer", "TorchModuleWrapper", "TFSMLayer"), _FOREIGN),
    **dict.fromkeys(("MelSpectrogram", "STFTSpectrogram"), _SOUND),
    **dict.fromkeys(
        ("ConvLSTM1D", "ConvLSTM3D"), "of the recurrent layers with convolutions ConvLSTM2D is supported"
    ),
    "SReLU": "rectifiers whose thresholds are learnt are not supported",
    "Pipeline": "its layers are supported if they stand in the model one by one",
}
"""By the class.  A block may stand in the place of any, see `custom`."""
