"""From a sample to a tomogram: tilts, optics, detector, reconstruction."""
