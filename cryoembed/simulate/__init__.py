"""Tomograms with full truth: templates (phantoms, structures), packing, imaging, and whole data sets of them."""
