"""Sets of defaults under a name, a file each: what it is, where it is from, its command, and what came out.

Where a paper is silent, the default of this program stands.
"""

from . import blog, default, tiramisu, unet2015

RECIPES = {
    "default": default.SETTINGS,
    "blog": blog.SETTINGS,
    "unet2015": unet2015.SETTINGS,
    "tiramisu": tiramisu.SETTINGS,
}
