"""One file to pixels, against NumPy and against Pillow called here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cortex_datasets.pictures import decode as decoding
from cortex_datasets.pictures.decode import Form, Unreadable, decode
from tests.datasets.pictures.made import noise, save

RGB, GREY = Form(None, 3, "stretch"), Form(None, 1, "stretch")


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.ppm", "a.tiff", "A.PNG"])
def test_pixels_that_a_format_keeps(tmp_path: Path, name: str) -> None:
    pixels = save(tmp_path / name, noise())
    np.testing.assert_array_equal(decode(tmp_path / name, RGB), pixels, strict=True)


def test_grey_becomes_rgb_and_rgb_becomes_luma(tmp_path: Path) -> None:
    grey = save(tmp_path / "grey.png", noise(channels=1))
    np.testing.assert_array_equal(decode(tmp_path / "grey.png", GREY), grey)
    np.testing.assert_array_equal(decode(tmp_path / "grey.png", RGB), np.repeat(grey, 3, axis=2))
    pixels = save(tmp_path / "rgb.png", noise())
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode(tmp_path / "rgb.png", GREY)[..., 0] - luma).max() <= 1
    save(tmp_path / "one.png", noise(channels=1) // 128 * 255)
    with Image.open(tmp_path / "one.png") as image:
        image.convert("1").save(tmp_path / "one.png")
        np.testing.assert_array_equal(decode(tmp_path / "one.png", GREY)[..., 0], np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_s_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    turns = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, -1),
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
        8: lambda x: np.rot90(x),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = save(tmp_path / "a.png", noise(), exif=exif)
    np.testing.assert_array_equal(decode(tmp_path / "a.png", RGB), turns[orientation](pixels))


def test_a_palette(tmp_path: Path) -> None:
    colours, index = noise(1, 7)[0], np.arange(42).reshape(6, 7) % 7
    image = Image.new("P", (7, 6))
    image.putdata(index.ravel().tolist())
    image.putpalette(colours.ravel().tolist())
    for name in ("a.png", "a.gif"):
        image.save(tmp_path / name)
        np.testing.assert_array_equal(decode(tmp_path / name, RGB), colours[index])


def test_transparent_pixels_show_white(tmp_path: Path) -> None:
    pixels = noise(channels=4)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 255
    save(tmp_path / "a.png", pixels)
    made = decode(tmp_path / "a.png", RGB)
    alpha = pixels[..., 3:] / 255
    assert np.abs(made - (pixels[..., :3] * alpha + 255 * (1 - alpha))).max() <= 1
    assert (made[0] == 255).all()
    np.testing.assert_array_equal(made[1], pixels[1, :, :3])
    hole = Image.new("P", (4, 4))
    hole.putpalette([9, 9, 9, 200, 0, 0])
    hole.putpixel((1, 2), 1)
    hole.save(tmp_path / "hole.gif", transparency=0)
    expected = np.full((4, 4, 3), 255)
    expected[2, 1] = 200, 0, 0
    np.testing.assert_array_equal(decode(tmp_path / "hole.gif", RGB), expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_rounded_to_8(tmp_path: Path, suffix: str) -> None:
    levels = np.array([[0, 128, 129, 257], [1000, 32768, 65406, 65535]], np.uint16)
    Image.fromarray(levels).save(tmp_path / f"a.{suffix}")
    expected = np.rint(levels / 257.0)[..., None]
    np.testing.assert_array_equal(decode(tmp_path / f"a.{suffix}", GREY), expected)
    np.testing.assert_array_equal(decode(tmp_path / f"a.{suffix}", RGB), np.repeat(expected, 3, axis=2))


def test_16_bit_pgm(tmp_path: Path) -> None:
    levels = np.array([[0, 129, 257], [1000, 32768, 65535]], ">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 3 2 65535\n" + levels.tobytes())
    np.testing.assert_array_equal(decode(tmp_path / "a.pgm", GREY), np.rint(levels / 257.0)[..., None])


def test_other_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((3, 3), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(Unreadable, match="floating-point pixels"):
        decode(tmp_path / "f.tif", GREY)
    for value in (1 << 20, 252, 0):  # which of them are 8 bits, and which 16, nobody can say
        Image.fromarray(np.full((3, 3), value, np.int32)).save(tmp_path / "i.tif")
        with pytest.raises(Unreadable, match="more than 16 bits"):
            decode(tmp_path / "i.tif", GREY)


def test_cmyk(tmp_path: Path) -> None:
    with Image.fromarray(noise(8, 8)).convert("CMYK") as image:
        image.save(tmp_path / "a.tif")
        np.testing.assert_array_equal(decode(tmp_path / "a.tif", RGB), np.asarray(image.convert("RGB")))


def test_fits(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 90, 150, 210  # the middle third
    save(tmp_path / "a.png", pixels)
    middle = np.full((10, 10, 3), (90, 150, 210))
    np.testing.assert_array_equal(decode(tmp_path / "a.png", Form((10, 10), 3, "crop")), middle)
    padded = decode(tmp_path / "a.png", Form((30, 30), 3, "pad"))
    np.testing.assert_array_equal(padded, np.pad(pixels, [(10, 10), (0, 0), (0, 0)]))
    stretched = decode(tmp_path / "a.png", Form((5, 3), 3, "stretch"))
    assert stretched.shape == (5, 3, 3)
    assert (stretched[:, 1].astype(int) > stretched[:, 0]).all()
    assert (stretched == stretched[:, ::-1]).all()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_sizes_as_pillow_makes_them(tmp_path: Path, fit: str) -> None:
    image = Image.fromarray(save(tmp_path / "a.png", noise(40, 23)))
    made = {
        "stretch": lambda: image.resize((9, 12), Image.Resampling.BILINEAR),
        "crop": lambda: ImageOps.fit(image, (9, 12), Image.Resampling.BILINEAR),
        "pad": lambda: ImageOps.pad(image, (9, 12), Image.Resampling.BILINEAR, color=0),
    }[fit]()
    np.testing.assert_array_equal(decode(tmp_path / "a.png", Form((12, 9), 3, fit)), np.asarray(made))


@pytest.mark.parametrize(
    ("size", "decoded"), [((8, 20), (80, 120)), ((50, 10), (160, 240)), ((200, 50), (640, 960))]
)
def test_a_large_jpeg_is_decoded_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], decoded: tuple[int, int]
) -> None:
    seen = []
    real = decoding._plain
    monkeypatch.setattr(decoding, "_plain", lambda image, n: seen.append(image.size[::-1]) or real(image, n))
    rows, columns = np.mgrid[:640, :960]
    pixels = np.stack([rows / 640, columns / 960, (rows + columns) / 1600], axis=-1) * 255
    save(tmp_path / "a.jpg", pixels.astype(np.uint8), quality=95)
    whole = Image.fromarray(pixels.astype(np.uint8)).resize(size[::-1], Image.Resampling.BILINEAR)
    made = decode(tmp_path / "a.jpg", Form(size, 3, "stretch"))
    assert seen == [decoded]
    assert np.abs(made.astype(int) - np.asarray(whole)).max() <= 3


def test_damaged_files(tmp_path: Path) -> None:
    whole = tmp_path / "a.png"
    save(whole, noise(40, 40))
    content = whole.read_bytes()
    save(tmp_path / "a.jpg", noise(64, 64))
    jpeg = (tmp_path / "a.jpg").read_bytes()
    cases = {
        "short.png": (content[: len(content) // 2], "cannot be read: .*truncated"),
        "short.jpg": (jpeg[: len(jpeg) // 2], "cannot be read: .*truncated"),
        "empty.png": (b"", "is empty"),
        "text.png": (b"not a picture\n" * 9, "is no picture, or its beginning is damaged"),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no picture"),
        "flipped.png": (content[:50] + bytes([content[50] ^ 255]) + content[51:], "cannot be read"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Unreadable, match=message):
            decode(tmp_path / name, RGB)
    with pytest.raises(Unreadable, match="No such file"):
        decode(tmp_path / "nowhere.png", RGB)


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (20_000, 10_000)).save(tmp_path / "bomb.png")  # 25 KB of file
    with pytest.raises(Unreadable, match=r"cannot be read: Image size \(200000000 pixels\) exceeds limit"):
        decode(tmp_path / "bomb.png", RGB)
    save(tmp_path / "a.png", noise(6, 8))
    monkeypatch.setattr(decoding, "LARGEST", 48)
    assert decode(tmp_path / "a.png", RGB).shape == (6, 8, 3)
    monkeypatch.setattr(decoding, "LARGEST", 47)
    with pytest.raises(Unreadable, match="has 8 x 6 pixels, more than the 47 that are read"):
        decode(tmp_path / "a.png", RGB)
