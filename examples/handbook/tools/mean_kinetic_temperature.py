#!/usr/bin/env python3
"""Mean kinetic temperature of a series of readings.

A plain average hides a hot afternoon. The mean kinetic temperature is the one constant temperature at which a medicine would have
aged as much as it did under the readings it really had. It is always a little above the average, and more so the wilder the readings.

Used for the Steady lane only. Do not use it to excuse a Chill parcel: what is frozen or cooked there is not put right by a cool week.

Readings come from standard input, one number in degrees Celsius a line, taken at equal intervals:

    firnctl puck 0047118 --readings --last 720h | mean_kinetic_temperature.py
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

# What inspectors expect when nothing better is known about the product. Some tablets come with a value of their own; ask Dr Halloran.
ACTIVATION_ENERGY = 83_144.0  # joules per mole
GAS_CONSTANT = 8.3144  # joules per mole and kelvin
ZERO_CELSIUS = 273.15
FEWEST_READINGS = 24


def mean_kinetic_temperature(celsius: Sequence[float]) -> float:
    """The temperature in degrees Celsius that would have aged the goods as much as `celsius` did.

    It refuses fewer than 24 readings: half a day says nothing about a month, and somebody once tried.
    """
    if len(celsius) < FEWEST_READINGS:
        raise ValueError(f"{len(celsius)} readings are too few; at least {FEWEST_READINGS} are needed.")
    ratio = ACTIVATION_ENERGY / GAS_CONSTANT
    decay = [math.exp(-ratio / (value + ZERO_CELSIUS)) for value in celsius]
    return ratio / -math.log(math.fsum(decay) / len(decay)) - ZERO_CELSIUS


def main() -> None:
    """Print the result with one decimal, as it goes into the release form."""
    readings = [float(line) for line in sys.stdin if line.strip()]
    print(f"{mean_kinetic_temperature(readings):.1f}")


if __name__ == "__main__":
    main()
