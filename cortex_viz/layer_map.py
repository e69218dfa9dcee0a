"""Examples as a layer sees them, laid out on a plane: a picture, and a page where each shows what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Literal, get_args

import numpy as np

from cortex_compute.errors import ArgumentError, DataError, SpecError
from cortex_core.network import Network
from cortex_core.probe import activations, expect_layer, last_hidden
from cortex_core.training.files import write_atomically
from cortex_core.training.source import Source
from cortex_viz import charts, embed
from cortex_viz.embed import Array
from cortex_viz.figure import COLOURS, figure, literal
from cortex_viz.page import facts, page, text
from cortex_viz.report.outcome import Classes, outcome_of
from cortex_viz.report.pictures import captions
from cortex_viz.report.shown import Shown
from cortex_viz.sprite import Sprite

COUNT = 10_000  # examples, where nobody says how many
LARGEST = 1e9  # bytes of the layer's output; finding components takes as much again, trust twice as much
PIXELS = 12e6  # bytes of all pictures of a page, before they are packed
LONGEST = 64  # pixels of a picture's longer edge
MARKERS = "os^D"  # as charts draws the colours when they come round again
LETTERS = 24  # of a class in a picture
NAMED = 30  # classes
ENOUGH, AROUND = 20, 6  # points of a class that has its name among them, in all and near its median
ABOUT = "Trustworthiness says how far neighbours here are neighbours in the layer, too; 1 is best."

Method = Literal["tsne", "pca"]


@dataclass(frozen=True)
class LayerMap:
    """Where examples lie in the output of a layer, ``points`` (n, 2), and what they are.

    ``rows`` (n,): which examples of the source; ``groups`` (n,): the class of each, an index into ``names``,
    or None where they have no class; ``method`` in words; ``trust``: see `embed.trustworthiness`;
    ``explained``: of principal components the share of the variance that each has; ``seconds`` of each part
    of the work.
    """

    network: str
    layer: str
    width: int
    method: str
    points: Array
    rows: Array
    groups: Array | None
    names: tuple[str, ...]
    captions: Sequence[str]
    pictures: Array | None
    axes: tuple[str, str]
    trust: float
    explained: tuple[float, ...]
    seconds: dict[str, float]

    @property
    def title(self) -> str:
        """``lenet: 'dense' by t-SNE``"""
        return f"{self.network}: {self.layer!r} by {self.method}"

    def __repr__(self) -> str:
        return (
            f"<LayerMap of {self.layer!r}: {len(self.points):,} examples, trustworthiness {self.trust:.2f}>"
        )

    def _repr_png_(self) -> bytes:
        with TemporaryDirectory() as folder:
            path = Path(folder, "map.png")
            self._draw(path, dpi=72)
            return path.read_bytes()

    def save(self, path: str | Path) -> list[Path]:
        """Writes the picture, ``path`` with .png at its end, and the page, with .html; returns both.

        A path may have one of these at its end already.  Raises ImportError where matplotlib is absent.
        """
        stem = Path(path)
        stem = stem.with_suffix("") if stem.suffix.lower() in (".png", ".html") else stem
        picture, html = (stem.with_name(stem.name + suffix) for suffix in (".png", ".html"))
        self._draw(picture)
        write_atomically(html, self.html().encode("utf-8", "replace"))
        return [picture, html]

    def html(self) -> str:
        """The page: one file that fetches nothing."""
        sprite = None if self.pictures is None else Sprite(self.pictures)
        told = {
            "layer": text(self.layer),
            "numbers of an example": f"{self.width:,}",
            "examples": f"{len(self.points):,}",
            "trustworthiness": f"{self.trust:.4f}",
        }
        chart = charts.scatter(
            self.points,
            None if self.groups is None else self.groups.tolist(),
            self.names,
            sprite,
            self.captions,
            *self.axes,
        )
        body = [facts(told), f'<p class="soft">Laid out by {text(self.method)}. {ABOUT}</p>']
        body += [chart] if sprite is None else [sprite.html(), chart]
        return page(f"{self.network}: how {self.layer} sees its examples", body, scripts=[charts.SCRIPT])

    def _draw(self, path: Path, dpi: int = 120) -> None:
        groups = np.zeros(len(self.points), np.intp) if self.groups is None else self.groups
        size = 200 / np.sqrt(len(self.points)) + 2
        with figure(path, 8.4, 6.6, dpi) as made:
            axes = made.subplots()
            axes.set_title(literal(self.title))
            axes.set(xlabel=self.axes[0], ylabel=self.axes[1])
            if not any(self.axes):
                axes.set(xticks=[], yticks=[])
                axes.set_aspect("equal", adjustable="datalim")
                axes.spines[:].set_visible(False)
            drawn = {
                int(g): axes.scatter(
                    *self.points[groups == g].T,
                    s=size,
                    color=COLOURS[g % len(COLOURS)],
                    marker=MARKERS[g // len(COLOURS) % len(MARKERS)],
                    alpha=0.7,
                    linewidths=0,
                )
                for g in np.unique(groups)
            }
            if self.groups is not None and len(drawn) <= NAMED:
                _legend(axes, [(drawn[g], self.names[g]) for g in drawn])
                if not any(self.axes):
                    _name(axes, self.points, groups, self.names)


def layer_map(
    network: Network,
    source: Source | Shown,
    layer: str | None = None,
    method: Method = "tsne",
    count: int = COUNT,
    perplexity: float | None = None,
    seed: int = 0,
    backend: str = "auto",
) -> LayerMap:
    """Lays out ``count`` examples, evenly chosen, by the output of a layer, by default the last
    hidden one; an input may be named, too.

    Raises `SpecError` for a layer that does not exist, `DataError` for an output that is too large or not
    finite, `ArgumentError` for a perplexity that so few examples do not have and for other choices that there
    are not, ImportError where scikit-learn is absent.
    """
    _expect_choices(method, count, seed)
    layer = _layer(network, layer)
    shown = source if isinstance(source, Shown) else Shown(network, source)
    whole = len(shown.source)
    rows = np.unique(np.linspace(0, whole - 1, min(count, whole)).astype(np.intp))
    width = prod(network.types[layer].shape[1:])
    _expect_room(layer, width, len(rows))
    if method == "tsne":
        embed.perplexity_of(perplexity, len(rows))
    clock = [perf_counter()]
    losses = _losses(network, shown)
    looked = dict.fromkeys([layer, *(node.of for node in losses)])
    raw = activations(network, shown.source.select(rows), list(looked), backend=backend)
    classes, told = _answers(network, shown, rows, raw if losses else None)
    groups, names = _groups(classes, len(rows))
    features = raw[layer]
    clock.append(perf_counter())
    if method == "tsne":
        points, shares, axes = embed.tsne(features, perplexity, seed), (), ("", "")
        words = f"t-SNE ({embed.library()})"
    else:
        points = embed.pca(features, 2, seed)
        shares = tuple(embed.explained(features, points).tolist())
        axes = _components(shares)
        words = "principal components"
    clock.append(perf_counter())
    trust = embed.trustworthiness(features, points, min(5, (len(rows) - 1) // 2))
    clock.append(perf_counter())
    seconds = dict(zip(("layer", "points", "trust"), np.diff(clock).tolist()))
    return LayerMap(
        network=network.name,
        layer=layer,
        width=width,
        method=words,
        points=points,
        rows=rows,
        groups=groups,
        names=names,
        captions=told,
        pictures=shown.pictures(rows, _edge(len(rows), shown.channels)),
        axes=axes,
        trust=trust,
        explained=shares,
        seconds=seconds,
    )


def _components(shares: Sequence[float]) -> tuple[str, str]:
    """What the axes of principal components are called."""
    first, second = (f"{share:.1%} of the variance" for share in shares)
    return f"first component, {first}", f"second component, {second}"


def _expect_choices(method: str, count: int, seed: int) -> None:
    if method not in get_args(Method):
        raise ArgumentError(f"method is {method!r}: expected {' or '.join(map(repr, get_args(Method)))}")
    if count < embed.FEWEST:
        raise ArgumentError(f"count is {count}: at least {embed.FEWEST} examples make a map")
    if not 0 <= seed < 2**32:
        raise ArgumentError(f"seed is {seed}: expected 0 to {2**32 - 1}")


def _layer(network: Network, layer: str | None) -> str:
    if layer is not None:
        expect_layer(network, layer)
        return layer
    hidden = last_hidden(network)
    if hidden is None:
        inputs = ", ".join(repr(x.name) for x in network.description.inputs)
        raise SpecError(
            f"{network.name} has no hidden layer: its output layer reads an input. "
            f"Name what to look at: the input {inputs}, or a layer"
        )
    return hidden


def _expect_room(layer: str, width: int, count: int) -> None:
    """Raises `DataError` where the output of a layer would be too large."""
    needed = 4.0 * width * count
    if needed > LARGEST:
        raise DataError(
            f"{layer!r} gives {width:,} numbers for each example, {needed / 1e9:.1f} GB for {count:,}; "
            f"take {int(LARGEST / (4 * width)):,} examples, or a layer behind it, such as a pooling"
        )


def _losses(network: Network, shown: Shown) -> Sequence[Any]:
    """The losses, or none of them where the examples have no answers."""
    nodes: Sequence[Any] = network.description.compared
    return nodes if all(node.target in shown.source.streams for node in nodes) else ()


def _answers(
    network: Network, shown: Shown, rows: Array, raw: Mapping[str, Array] | None
) -> tuple[Classes | None, list[str]]:
    """What the examples are, by their labels where they have any, and in words.

    ``raw``: what the network gave for these rows; None where they have no answers.
    """
    if raw is not None:
        outcome = outcome_of(network, shown.source, "", shown, rows, raw=raw)
        classes, words = outcome.classes, captions(outcome, np.arange(len(rows)))
    else:
        classes, words = None, shown.words(rows)
    return classes, [
        f"{told} · example {row}" if told else f"example {row}" for told, row in zip(words, rows)
    ]


def _groups(classes: Classes | None, count: int) -> tuple[Array | None, tuple[str, ...]]:
    if classes is None:
        return None, ()
    groups = np.full(count, len(classes.names))
    groups[classes.rows] = classes.labels
    return groups, (*classes.names, "no label") if len(classes.rows) < count else classes.names


def _edge(count: int, channels: int) -> int:
    """The longer edge of so many pictures, in pixels."""
    return max(8, min(LONGEST, isqrt(int(PIXELS / (count * max(1, channels))))))


def _legend(axes: Any, drawn: Sequence[tuple[Any, str]]) -> None:
    # matplotlib leaves out names that begin with _.
    handles, labels = [h for h, _ in drawn], [" " + literal(name, LETTERS) for _, name in drawn]
    made = axes.legend(handles, labels, loc="center left", bbox_to_anchor=(1, 0.5), scatterpoints=1)
    for handle in made.legend_handles:
        handle.set(sizes=[36], alpha=1)


def _name(axes: Any, points: Array, groups: Array, names: Sequence[str]) -> None:
    """The names of classes, each on the point of the class that is nearest to its median.

    A name is left to the legend where its class is too small to lie behind it, where it has few points around
    its median or others the most, and where it would cover another name.
    """
    from matplotlib.patheffects import withStroke

    low, high = np.array(axes.get_xlim()), np.array(axes.get_ylim())
    height = 0.035 * np.ptp(high)
    put: list[Array] = []
    for group in np.unique(groups):
        name, own = literal(names[group], LETTERS), points[groups == group]
        place = own[((own - np.median(own, axis=0)) ** 2).sum(axis=1).argmin()]
        extent = np.array([0.012 * np.ptp(low) * (len(name) + 1), height])
        around = groups[(abs(points - place) <= 2 * extent).all(axis=1)] == group
        if len(own) < ENOUGH or around.sum() < AROUND or around.mean() <= 0.5:
            continue
        if all((abs(place - other[0]) > (extent + other[1]) / 2).any() for other in put):
            put.append(np.stack([place, extent]))
            halo = [withStroke(linewidth=3, foreground="white")]
            style = {"fontsize": 12, "fontweight": "bold", "color": "#222222", "path_effects": halo}
            axes.text(*place, name, ha="center", va="center", **style)
