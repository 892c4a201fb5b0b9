"""Source `synthetic`: drawn cats and dogs, as large and as heavy as the photos of Kaggle's set.

Both classes share poses, colours, backgrounds, light and texture. What tells them apart is shape alone: pricked
triangular ears, slit pupils and whiskers, or hanging ears, a long muzzle with a big nose and now and then a tongue.
"""

import dataclasses
import math
import random
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from jobs.dogs_cats.sources import layout
from jobs.dogs_cats.sources.photos import Fetched
from jobs.dogs_cats.sources.progress import in_parallel

DRAWING_VERSION = 1  # raise it with any change to what is drawn: photos that are there are then drawn anew

# Sizes of the real ones: none is longer than 500 pixels, a third is of full width, the rest is spread below.
FULL_SIZES = ((500, 375), (500, 375), (499, 375), (500, 333), (375, 500), (374, 499), (500, 500), (500, 440))
SHARE_OF_FULL_SIZE = 0.55
JPEG_QUALITY = 70  # the real ones' quantisation tables

FURS = ("#3b2f2a", "#6b4a32", "#9a6b3f", "#c58f55", "#d9b98a", "#e8dcc8", "#8a8580", "#55524f", "#b5a99a", "#2a2727")
GROUNDS = ("#7a8b5a", "#93836b", "#a8a29a", "#5d6f7d", "#b39b7d", "#6e5a4b", "#c9c2b3", "#4f5b47", "#8d6f76", "#83959f")
EYES = ("#b9a437", "#7f9c4b", "#8a5a2b", "#5e4024", "#97a6ab")
PINK, DARK, LIGHT = "#c98583", "#1d1816", "#efe8dd"

Point = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Synthetic:
    """Draws `counts` photos of each split, half cats and half dogs; an odd one is a cat."""

    counts: dict[str, int]
    seed: int
    classes: tuple[str, ...] = layout.CLASSES

    def identity(self) -> str:
        """Return amounts, seed and version of the drawing."""
        return f"{self._name()} drawing {DRAWING_VERSION}"

    def fetch(self, destination: Path) -> Fetched:
        """Draw the photos."""
        for folder in layout.FOLDERS:
            (destination / folder).mkdir(parents=True)
        in_parallel(lambda path: draw(destination / path, f"{self.seed}/{path}"), self._paths(), "drawing photos")
        return Fetched(self._name())

    def _name(self) -> str:
        amounts = " and ".join(f"{count} {split}" for split, count in self.counts.items())
        return f"synthetic {amounts} photos, seed {self.seed}"

    def _paths(self) -> list[str]:
        """Yield the paths, numbered through both splits as in the real set, so that every file name is there once."""
        paths, number = [], 0
        for split, count in self.counts.items():
            for index in range(count):
                label = layout.CLASSES[index % 2]
                paths.append(f"{split}/{label}/{label[:-1]}.{number}.jpg")
                number += index % 2
            number += count % 2
        return paths


@dataclasses.dataclass(frozen=True)
class Pose:
    """Where an animal sits: its own coordinates have the head's centre at 0, its radius as 1, and y downwards."""

    draw: ImageDraw.ImageDraw
    centre: Point  # pixels
    unit: float  # pixels
    turn: float  # radians
    mirror: int  # 1 or -1

    def at(self, x: float, y: float) -> Point:
        """Return a point of the animal, in pixels."""
        x *= self.mirror
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        return self.centre[0] + self.unit * (x * cos - y * sin), self.centre[1] + self.unit * (x * sin + y * cos)

    def shape(self, points: list[Point], colour: str) -> None:
        """Draw a polygon."""
        self.draw.polygon([self.at(x, y) for x, y in points], fill=colour)

    def oval(self, x: float, y: float, width: float, height: float, colour: str, tilt: float = 0.0) -> None:
        """Draw an ellipse by its centre and its half axes, tilted by radians."""
        cos, sin = math.cos(tilt), math.sin(tilt)
        around = [(width * math.cos(angle), height * math.sin(angle)) for angle in ANGLES]
        self.shape([(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in around], colour)

    def line(self, points: list[Point], colour: str, width: float) -> None:
        """Draw a line through the points."""
        pixels = max(1, round(width * self.unit))
        self.draw.line([self.at(x, y) for x, y in points], fill=colour, width=pixels, joint="curve")


ANGLES = [math.tau * step / 28 for step in range(28)]


def draw(path: Path, seed: str) -> None:
    """Draw one photo, a cat or a dog as its folder says; the same seed gives the same bytes with the same Pillow."""
    rng = random.Random(seed)  # noqa: S311 - a drawing, not a secret
    image = _background(rng, _size(rng))
    pen = ImageDraw.Draw(image)
    width, height = image.size
    unit = min(image.size) * rng.uniform(0.14, 0.24)
    centre = (width * rng.uniform(0.3, 0.7), height * rng.uniform(0.28, 0.55))
    pose = Pose(pen, centre, unit, rng.uniform(-0.4, 0.4), rng.choice((1, -1)))
    fur, patch = rng.sample(FURS, 2)
    _body(pose, rng, fur, patch)
    (_cat if path.parent.name == "cats" else _dog)(pose, rng, fur, patch)
    if rng.random() < 0.3:
        _blob(pen, rng, image.size, rng.choice(GROUNDS))  # something in front
    _photograph(image, rng).save(path, "JPEG", quality=JPEG_QUALITY)


def _size(rng: random.Random) -> tuple[int, int]:
    width, height = rng.choice(FULL_SIZES)
    scale = 1.0 if rng.random() < SHARE_OF_FULL_SIZE else rng.uniform(0.35, 1.0)
    return round(width * scale), round(height * scale)


def _background(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    near, far = (Image.new("RGB", size, colour) for colour in rng.sample(GROUNDS, 2))
    slope = Image.linear_gradient("L").rotate(rng.choice((0, 90, 180))).resize(size)
    image = Image.composite(near, far, slope)
    pen = ImageDraw.Draw(image)
    for _ in range(rng.randint(3, 9)):
        _blob(pen, rng, size, rng.choice(GROUNDS + FURS))
    return image.filter(ImageFilter.BoxBlur(rng.uniform(1.0, 6.0)))


def _blob(pen: ImageDraw.ImageDraw, rng: random.Random, size: tuple[int, int], colour: str) -> None:
    width, height = size
    centre = (rng.uniform(0, width), rng.uniform(0, height))
    pose = Pose(pen, centre, min(size) * rng.uniform(0.05, 0.25), rng.uniform(0, math.pi), 1)
    if rng.random() < 0.5:
        pose.oval(0, 0, 1, rng.uniform(0.3, 1), colour)
    else:
        pose.shape([(-1, -0.5), (rng.uniform(-1, 1), -1), (1, rng.uniform(-0.5, 0.5)), (0.5, 1), (-0.8, 0.7)], colour)


def _body(pose: Pose, rng: random.Random, fur: str, patch: str) -> None:
    """Draw what is the same for both: nothing of it tells them apart."""
    reach = rng.uniform(1.6, 2.4)
    pose.line([(1.0, 3.0), (reach, 2.6), (reach + 0.3, rng.uniform(0.8, 2.4))], fur, rng.uniform(0.2, 0.4))
    pose.oval(rng.uniform(-0.3, 0.3), 2.2, rng.uniform(1.1, 1.5), rng.uniform(1.5, 1.9), fur)
    pose.oval(rng.uniform(-0.5, 0.5), rng.uniform(1.5, 2.6), 0.6, rng.uniform(0.4, 0.9), rng.choice((fur, patch)))
    for side in (-1, 1):
        pose.oval(side * 0.55, 3.5, 0.3, 0.6, fur)


def _cat(pose: Pose, rng: random.Random, fur: str, patch: str) -> None:
    height, out = rng.uniform(1.35, 1.65), rng.uniform(0.75, 1.0)
    for side in (-1, 1):
        ear = [(side * 0.95, -0.25), (side * out, -height), (side * 0.15, -0.8)]
        pose.shape(ear, fur)
        pose.shape([(0.65 * x + side * 0.22, 0.65 * y - 0.2) for x, y in ear], PINK)
    pose.oval(0, 0, rng.uniform(0.95, 1.1), rng.uniform(0.8, 0.9), fur)
    pose.oval(rng.uniform(-0.5, 0.5), -0.5, 0.3, 0.25, rng.choice((fur, patch)))
    eye = rng.choice(EYES)
    for side in (-1, 1):
        pose.oval(side * 0.42, -0.1, 0.22, 0.18, eye)
        pose.oval(side * 0.42, -0.1, rng.uniform(0.04, 0.09), 0.16, DARK)
        pose.oval(side * 0.17, 0.38, 0.24, 0.19, rng.choice((LIGHT, patch)))
    pose.shape([(-0.12, 0.2), (0.12, 0.2), (0, 0.34)], PINK)
    for side in (-1, 1):
        for lift in (-0.15, 0.0, 0.15):
            pose.line([(side * 0.3, 0.38), (side * rng.uniform(1.1, 1.4), 0.35 + 1.6 * lift)], LIGHT, 0.02)


def _dog(pose: Pose, rng: random.Random, fur: str, patch: str) -> None:
    pose.oval(0, 0, rng.uniform(0.8, 0.95), rng.uniform(0.92, 1.05), fur)
    pose.oval(rng.uniform(-0.5, 0.5), -0.55, 0.3, 0.25, rng.choice((fur, patch)))
    hang, length = rng.uniform(0.1, 0.4), rng.uniform(0.65, 0.95)
    ear = rng.choice((patch, fur))
    for side in (-1, 1):
        pose.oval(side * 0.92, hang, rng.uniform(0.26, 0.36), length, ear, tilt=-side * rng.uniform(0.05, 0.35))
    if rng.random() < 0.4:
        pose.oval(0, 1.0, 0.17, rng.uniform(0.25, 0.4), PINK)
    pose.oval(0, 0.5, rng.uniform(0.42, 0.55), rng.uniform(0.45, 0.6), rng.choice((LIGHT, patch)))
    eye = rng.choice(EYES)
    for side in (-1, 1):
        pose.oval(side * 0.36, -0.2, 0.16, 0.16, eye)
        pose.oval(side * 0.36, -0.2, 0.1, 0.1, DARK)
    pose.oval(0, 0.28, rng.uniform(0.2, 0.27), rng.uniform(0.14, 0.19), DARK)
    pose.line([(0, 0.4), (0, 0.68), (0.2, 0.78)], DARK, 0.04)


def _photograph(image: Image.Image, rng: random.Random) -> Image.Image:
    """Fur, grain, light and focus: what makes the file as heavy as a photo."""
    image = image.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 1.3)))
    rough = rng.uniform(0.4, 1.5)
    noise = _noise(rng, image.size, 24)
    for grain, share in ((5, 0.5), (2, 0.4), (1, 0.15)):
        noise = Image.blend(noise, _noise(rng, image.size, grain), share * rough)
    image = Image.blend(image, ImageChops.overlay(image, Image.merge("RGB", (noise,) * 3)), rng.uniform(0.3, 0.8))
    light = rng.uniform(0.75, 1.2)
    return image.point(lambda value: round(value * light))


def _noise(rng: random.Random, size: tuple[int, int], grain: int) -> Image.Image:
    """Grey noise whose spots are about `grain` pixels wide."""
    width, height = (max(2, edge // grain) for edge in size)
    spots = Image.frombytes("L", (width, height), rng.randbytes(width * height))
    return spots.resize(size, Image.Resampling.BILINEAR)
