"""Legends of well-known land-cover products: class values, names and colours as their makers publish them.

One line per class: value, colour, name. Names are made unique where a product uses one twice.

Sources: ESA WorldCover product user manual v2.0; Dynamic World (Brown et al. 2022, table 1, and the dataset's palette);
MRLC's legend of the National Land Cover Database (the classes of 2001 to 2021, Alaska's included); CORINE Land Cover
nomenclature with the colours of the European Environment Agency (grid codes 1 to 44 of its rasters, and the three-digit
codes of the nomenclature itself); USDA NASS Cropland Data Layer.
"""

from collections.abc import Mapping
from functools import cache

from geoseg.errors import ParameterError, printable
from geoseg.legend import NODATA, Legend, LegendClass

__all__ = ["WELL_KNOWN", "other_numbers", "recognised", "well_known"]

_WORLDCOVER = """
10 006400 Tree cover
20 ffbb22 Shrubland
30 ffff4c Grassland
40 f096ff Cropland
50 fa0000 Built-up
60 b4b4b4 Bare / sparse vegetation
70 f0f0f0 Snow and ice
80 0064c8 Permanent water bodies
90 0096a0 Herbaceous wetland
95 00cf75 Mangroves
100 fae6a0 Moss and lichen
"""

_DYNAMIC_WORLD = """
0 419bdf Water
1 397d49 Trees
2 88b053 Grass
3 7a87c6 Flooded vegetation
4 e49635 Crops
5 dfc35a Shrub and scrub
6 c4281b Built
7 a59b8f Bare
8 b39fe1 Snow and ice
"""

_NLCD = """
11 466b9f Open Water
12 d1def8 Perennial Ice/Snow
21 dec5c5 Developed, Open Space
22 d99282 Developed, Low Intensity
23 eb0000 Developed, Medium Intensity
24 ab0000 Developed, High Intensity
31 b3ac9f Barren Land
41 68ab5f Deciduous Forest
42 1c5f2c Evergreen Forest
43 b5c58f Mixed Forest
51 af963c Dwarf Scrub
52 ccb879 Shrub/Scrub
71 dfdfc2 Grassland/Herbaceous
72 d1d182 Sedge/Herbaceous
73 a3cc51 Lichens
74 82ba9e Moss
81 dcd939 Pasture/Hay
82 ab6c28 Cultivated Crops
90 b8d9eb Woody Wetlands
95 6c9fb8 Emergent Herbaceous Wetlands
"""

_CORINE = """
1 e6004d Continuous urban fabric
2 ff0000 Discontinuous urban fabric
3 cc4df2 Industrial or commercial units
4 cc0000 Road and rail networks and associated land
5 e6cccc Port areas
6 e6cce6 Airports
7 a600cc Mineral extraction sites
8 a64d00 Dump sites
9 ff4dff Construction sites
10 ffa6ff Green urban areas
11 ffe6ff Sport and leisure facilities
12 ffffa8 Non-irrigated arable land
13 ffff00 Permanently irrigated land
14 e6e600 Rice fields
15 e68000 Vineyards
16 f2a64d Fruit trees and berry plantations
17 e6a600 Olive groves
18 e6e64d Pastures
19 ffe6a6 Annual crops associated with permanent crops
20 ffe64d Complex cultivation patterns
21 e6cc4d Land principally occupied by agriculture, with significant areas of natural vegetation
22 f2cca6 Agro-forestry areas
23 80ff00 Broad-leaved forest
24 00a600 Coniferous forest
25 4dff00 Mixed forest
26 ccf24d Natural grasslands
27 a6ff80 Moors and heathland
28 a6e64d Sclerophyllous vegetation
29 a6f200 Transitional woodland-shrub
30 e6e6e6 Beaches, dunes, sands
31 cccccc Bare rocks
32 ccffcc Sparsely vegetated areas
33 000000 Burnt areas
34 a6e6cc Glaciers and perpetual snow
35 a6a6ff Inland marshes
36 4d4dff Peat bogs
37 ccccff Salt marshes
38 e6e6ff Salines
39 a6a6e6 Intertidal flats
40 00ccf2 Water courses
41 80f2e6 Water bodies
42 00ffa6 Coastal lagoons
43 a6ffe6 Estuaries
44 e6f2ff Sea and ocean
"""

# 63 to 65 and 81 to 87 are found in maps up to 2007 only
_CDL = """
1 ffd400 Corn
2 ff2626 Cotton
3 00a9e6 Rice
4 ff9e0f Sorghum
5 267300 Soybeans
6 ffff00 Sunflower
10 70a800 Peanuts
11 00af4d Tobacco
12 e0a60f Sweet Corn
13 e0a60f Pop or Orn Corn
14 80d4ff Mint
21 e2007f Barley
22 8a6453 Durum Wheat
23 d9b56c Spring Wheat
24 a87000 Winter Wheat
25 d69dbc Other Small Grains
26 737300 Dbl Crop WinWht/Soybeans
27 ae017e Rye
28 a15889 Oats
29 73004c Millet
30 d69dbc Speltz
31 d1ff00 Canola
32 8099ff Flaxseed
33 d6d600 Safflower
34 d1ff00 Rape Seed
35 00af4d Mustard
36 ffa8e3 Alfalfa
37 a5f58d Other Hay/Non Alfalfa
38 00af4d Camelina
39 d69dbc Buckwheat
41 a900e6 Sugarbeets
42 a80000 Dry Beans
43 732600 Potatoes
44 00af4d Other Crops
45 b380ff Sugarcane
46 732600 Sweet Potatoes
47 ff6666 Misc Vegs & Fruits
48 ff6666 Watermelons
49 ffcc66 Onions
50 ff6666 Cucumbers
51 00af4d Chick Peas
52 00deb0 Lentils
53 55ff00 Peas
54 f5a27a Tomatoes
55 ff6666 Caneberries
56 00af4d Hops
57 80d4ff Herbs
58 e8beff Clover/Wildflowers
59 b2ffde Sod/Grass Seed
60 00af4d Switchgrass
61 bfbf7a Fallow/Idle Cropland
63 95ce93 Forest (to 2007)
64 c7d79e Shrubland (to 2007)
65 ccbfa3 Barren (to 2007)
66 ff00ff Cherries
67 ff91ab Peaches
68 b90050 Apples
69 704489 Grapes
70 007878 Christmas Trees
71 b39c70 Other Tree Crops
72 ffff80 Citrus
74 b6705c Pecans
75 00a884 Almonds
76 ebd6b0 Walnuts
77 b39c70 Pears
81 f7f7f7 Clouds/No Data
82 9c9c9c Developed (to 2007)
83 4d70a3 Water (to 2007)
87 80b3b3 Wetlands (to 2007)
88 e9ffbe Nonag/Undefined
92 00ffff Aquaculture
111 4d70a3 Open Water
112 d4e3fc Perennial Ice/Snow
121 9c9c9c Developed/Open Space
122 9c9c9c Developed/Low Intensity
123 9c9c9c Developed/Med Intensity
124 9c9c9c Developed/High Intensity
131 ccbfa3 Barren
141 95ce93 Deciduous Forest
142 95ce93 Evergreen Forest
143 95ce93 Mixed Forest
152 c7d79e Shrubland
176 e9ffbe Grass/Pasture
190 80b3b3 Woody Wetlands
195 80b3b3 Herbaceous Wetlands
204 00ff8c Pistachios
205 d69dbc Triticale
206 ff6666 Carrots
207 ff6666 Asparagus
208 ff6666 Garlic
209 ff6666 Cantaloupes
210 ff91ab Prunes
211 344a34 Olives
212 e67525 Oranges
213 ff6666 Honeydew Melons
214 ff6666 Broccoli
215 66994d Avocados
216 ff6666 Peppers
217 b39c70 Pomegranates
218 ff91ab Nectarines
219 ff6666 Greens
220 ff91ab Plums
221 ff6666 Strawberries
222 ff6666 Squash
223 ff91ab Apricots
224 00af4d Vetch
225 ffd400 Dbl Crop WinWht/Corn
226 ffd400 Dbl Crop Oats/Corn
227 ff6666 Lettuce
228 ffd400 Dbl Crop Triticale/Corn
229 ff6666 Pumpkins
230 8a6453 Dbl Crop Lettuce/Durum Wht
231 ff6666 Dbl Crop Lettuce/Cantaloupe
232 ff2626 Dbl Crop Lettuce/Cotton
233 e2007f Dbl Crop Lettuce/Barley
234 ff9e0f Dbl Crop Durum Wht/Sorghum
235 ff9e0f Dbl Crop Barley/Sorghum
236 a87000 Dbl Crop WinWht/Sorghum
237 ffd400 Dbl Crop Barley/Corn
238 a87000 Dbl Crop WinWht/Cotton
239 267300 Dbl Crop Soybeans/Cotton
240 267300 Dbl Crop Soybeans/Oats
241 ffd400 Dbl Crop Corn/Soybeans
242 000099 Blueberries
243 ff6666 Cabbage
244 ff6666 Cauliflower
245 ff6666 Celery
246 ff6666 Radishes
247 ff6666 Turnips
248 ff6666 Eggplants
249 ff6666 Gourds
250 ff6666 Cranberries
254 267300 Dbl Crop Barley/Soybeans
"""

_DATA = {
    "worldcover": (_WORLDCOVER, 0),
    "dynamic-world": (_DYNAMIC_WORLD, NODATA),
    "nlcd": (_NLCD, 0),  # 0 is "unclassified", outside the mapped area
    "corine": (_CORINE, NODATA),
    "cdl": (_CDL, 0),  # 0 is "background", outside the mapped area
}

# Of the classes in their order: rasters made from CORINE's polygons have these.
_OTHER_NUMBERS = {
    "corine": (
        111, 112, 121, 122, 123, 124, 131, 132, 133, 141, 142, 211, 212, 213, 221, 222, 223, 231, 241, 242, 243, 244,
        311, 312, 313, 321, 322, 323, 324, 331, 332, 333, 334, 335, 411, 412, 421, 422, 423, 511, 512, 521, 522, 523,
    ),
}  # fmt: skip

WELL_KNOWN = tuple(_DATA)
"""Names of the legends that `well_known` gives."""

# A product's palette differs by a few levels between its years and makers, and now and then in a class.
_COLOR_TOLERANCE = 8
_LEAST_AGREEMENT = 0.9
_LEAST_CLASSES = 8


@cache
def well_known(name: str) -> Legend:
    """A published legend by its name.

    Args:
        name: One of `WELL_KNOWN`, in any case of letters.

    Raises:
        ParameterError: If there is none of this name.

    Example:
        >>> well_known("worldcover").names[:2]
        ('Tree cover', 'Shrubland')
    """
    key = name.strip().lower().replace("_", "-")
    if key not in _DATA:
        raise ParameterError(f"no legend is called {printable(name)!r}: choose one of {', '.join(WELL_KNOWN)}")
    text, nodata = _DATA[key]
    rows = (line.split(maxsplit=2) for line in text.strip().splitlines())
    classes = tuple(LegendClass(value=int(value), name=label, color=f"#{color}") for value, color, label in rows)
    return Legend(classes=classes, nodata=nodata)


def other_numbers(name: str) -> dict[int, int]:
    """The numbers that a well-known legend's classes have in some other rasters, by value; none for most legends.

    Example:
        >>> other_numbers("corine")[23]
        311
    """
    name = name.strip().lower().replace("_", "-")
    numbers = _OTHER_NUMBERS.get(name)
    return {} if numbers is None else dict(zip(well_known(name).values, numbers, strict=True))


def recognised(palette: Mapping[int, tuple[int, int, int]]) -> str | None:
    """The name of the well-known legend that has this palette; None where there is none.

    A legend is recognised by at least eight classes of visible colours, nine tenths of them its own, within 8 levels of
    255. Colours of other values must be absent: black (how formats fill a table up), or white.

    Args:
        palette: Class value to red, green and blue, 0 to 255.

    Example:
        >>> recognised({c.value: c.rgb for c in well_known("nlcd")})
        'nlcd'
    """
    filling = {(0, 0, 0), (255, 255, 255)}
    visible = {value: rgb for value, rgb in palette.items() if rgb not in filling}
    for name, numbers in [(n, {}) for n in WELL_KNOWN] + [(n, other_numbers(n)) for n in _OTHER_NUMBERS]:
        known = {numbers.get(c.value, c.value): c.rgb for c in well_known(name)}
        if len(visible) < _LEAST_CLASSES or not visible.keys() <= known.keys():
            continue
        agree = sum(
            all(abs(a - b) <= _COLOR_TOLERANCE for a, b in zip(rgb, known[value], strict=True))
            for value, rgb in visible.items()
        )
        if agree >= _LEAST_AGREEMENT * len(visible):
            return name
    return None
