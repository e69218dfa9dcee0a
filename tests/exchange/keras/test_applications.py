"""The families of `keras.applications`: every layer of every model."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.exchange.keras.support import check_model


class Family(NamedTuple):
    """The smallest pictures that it takes, how large their numbers are, its models, the smallest first.

    ``batch``: norms over few numbers magnify what is rounding, and some models end in pictures of one place.
    """

    size: int
    scale: float
    models: tuple[str, ...]
    batch: int = 8


def _numbered(name: str, *numbers: object) -> tuple[str, ...]:
    return tuple(f"{name}{number}" for number in numbers)


FAMILIES = {
    "vgg": Family(32, 1, ("VGG16", "VGG19")),
    "resnet": Family(32, 1, ("ResNet50", "ResNet101", "ResNet152")),
    "resnet_v2": Family(32, 1, ("ResNet50V2", "ResNet101V2", "ResNet152V2")),
    "inception": Family(75, 1, ("InceptionV3",), batch=32),
    "inception_resnet": Family(75, 1, ("InceptionResNetV2",)),
    "xception": Family(71, 1, ("Xception",)),
    "mobilenet": Family(32, 1, ("MobileNet",)),
    "mobilenet_v2": Family(32, 1, ("MobileNetV2",)),
    "mobilenet_v3": Family(32, 100, ("MobileNetV3Small", "MobileNetV3Large")),
    "densenet": Family(32, 1, ("DenseNet121", "DenseNet169", "DenseNet201")),
    "nasnet": Family(32, 1, ("NASNetMobile", "NASNetLarge")),
    "efficientnet": Family(32, 100, _numbered("EfficientNetB", *range(8))),
    "efficientnet_v2": Family(32, 100, _numbered("EfficientNetV2", "B0", "B1", "B2", "B3", "S", "M", "L")),
    "convnext": Family(32, 100, _numbered("ConvNeXt", "Tiny", "Small", "Base", "Large", "XLarge")),
}
SMALLEST = [(family.models[0], family) for family in FAMILIES.values()]
OTHERS = [(name, family) for family in FAMILIES.values() for name in family.models[1:]]


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """JAX keeps what it compiles: gigabytes after some of these models, of no use to the next."""
    yield
    pytest.importorskip("jax").clear_caches()
    gc.collect()


@pytest.mark.peers
@pytest.mark.parametrize(("name", "family"), SMALLEST, ids=[name for name, _ in SMALLEST])
def test_the_smallest_of_each_family(name: str, family: Family) -> None:
    _check(name, family)


@pytest.mark.keras_all
@pytest.mark.parametrize(("name", "family"), OTHERS, ids=[name for name, _ in OTHERS])
def test_the_others(name: str, family: Family) -> None:
    _check(name, family)


def _check(name: str, family: Family) -> None:
    import keras

    shape = (family.size, family.size, 3)
    model: Any = getattr(keras.applications, name)(weights=None, input_shape=shape, classes=10)
    check_model(model, batch=family.batch, scale=family.scale)


@pytest.mark.keras_all
@pytest.mark.parametrize("name", ["VGG16", "ResNet50", "MobileNetV2"])
def test_channels_first(name: str) -> None:
    import keras

    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        model: Any = getattr(keras.applications, name)(weights=None, input_shape=(3, 32, 32), classes=10)
    finally:
        keras.config.set_image_data_format(before)
    check_model(model, batch=8)


@pytest.mark.peers
def test_every_application_of_keras_is_of_a_family() -> None:
    import keras

    known = {name for family in FAMILIES.values() for name in family.models}
    assert known == {name for name in dir(keras.applications) if name[0].isupper()}
