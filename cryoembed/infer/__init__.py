"""Networks on whole tomograms and on boxes: `voxels` for dense maps, `vectors` for one vector per box."""
