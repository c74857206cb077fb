"""Template matching: where a known density lies in a tomogram, and how it is turned; the classical way, in numpy."""
