"""What is in a sample and where: particles, membranes, filaments, and the truth of it all."""
