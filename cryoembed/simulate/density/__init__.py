"""Species as density: atomic models, maps and phantoms, calibrated to their mass."""
